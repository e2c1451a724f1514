"""Networks to train: a few sizes from scratch, or another prior's to go on from."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel

from restoration.errors import PriorError
from restoration.priors.diffusion import DiffusionPrior

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"block_out_channels": (32, 64, 96, 128), "layers_per_block": 1},
    "small": {"block_out_channels": (48, 96, 128, 192), "layers_per_block": 1},
    "base": {"block_out_channels": (128, 256, 256, 256), "layers_per_block": 2},
}
"""3.7, 7.8 and 35.7 million parameters: two cores, an afternoon of a GPU, a day of one."""
MULTIPLE = 8
"""What a preset's size must be a multiple of: four resolutions, halved three times."""


def from_preset(name: str, size: int, channels: int) -> UNet2DModel:
    """A network with random weights: four resolutions, attention at the lowest, every width divided by 16 groups.

    Raises:
        ValueError: an unknown preset, or a size it cannot take.
    """
    if name not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}: got {name!r}")
    _check_size(size, MULTIPLE)
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=16,
        downsample_padding=1,
        **PRESETS[name],
    )


def from_prior(prior: DiffusionPrior, size: int, channels: int) -> UNet2DModel:
    """Its network, to be trained at `size`: convolutions fit any, and attention has no positions to fit.

    Between colour and grey, the first layer's weights are summed (or spread) over the channels and the last one's
    averaged (or repeated): on a grey picture as colour the first layer answers as before.

    Raises:
        PriorError: a network with classes or a learned variance, which we do not train.
        ValueError: a size it cannot take.
    """
    config = {name: value for name, value in prior.network.config.items() if name != "_name_or_path"}
    if config["out_channels"] != config["in_channels"]:
        raise PriorError(f"{prior.name}: has a learned variance; --init takes a prior without")
    if config["num_class_embeds"] is not None:
        raise PriorError(f"{prior.name}: is class-conditional; --init takes an unconditional prior")
    _check_size(size, 2 ** (len(config["block_out_channels"]) - 1))
    before = config["in_channels"]
    weights = prior.network.state_dict()
    if channels != before:
        if {channels, before} != {1, 3}:
            raise PriorError(f"{prior.name}: takes {before} channels, and these pictures have {channels}")
        weights["conv_in.weight"] = _across(weights["conv_in.weight"], 1, channels, total=True)
        for name in ("conv_out.weight", "conv_out.bias"):
            weights[name] = _across(weights[name], 0, channels, total=False)
    network = type(prior.network).from_config(
        {**config, "sample_size": size, "in_channels": channels, "out_channels": channels}
    )
    network.load_state_dict(weights)
    return network.float().train().requires_grad_(True)


def _across(weights: torch.Tensor, dim: int, channels: int, *, total: bool) -> torch.Tensor:
    """Three channels to one or one to three, keeping the sum over them (`total`) or the mean."""
    if channels == 1:
        return weights.sum(dim, keepdim=True) if total else weights.mean(dim, keepdim=True)
    spread = weights.repeat_interleave(channels, dim)
    return spread / channels if total else spread


def _check_size(size: int, multiple: int) -> None:
    if size < multiple or size % multiple:
        raise ValueError(f"--size must be a multiple of {multiple}: got {size}")
