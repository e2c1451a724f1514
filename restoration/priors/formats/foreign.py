"""Checkpoints of other code bases, understood from their tensors' names and shapes.

Two formats: guided-diffusion's ``UNetModel`` (``guided.py``) and DDPM's ``Model`` (``ddpm.py``). The architecture
is told by the tensors. What they cannot tell comes as settings, named as guided-diffusion names its flags:

| setting | values | format | when it is absent |
|---|---|---|---|
| ``image_size`` | a multiple of 2^(levels − 1) | both | asked for |
| ``num_heads`` | divides every attention's width | guided | asked for, unless ``num_head_channels`` is given |
| ``num_head_channels`` | divides every such width; goes before ``num_heads``; -1: not used | guided | as above |
| ``use_new_attention_order`` | true, false | guided | asked for, unless every attention has one head |
| ``noise_schedule`` | linear, cosine | both | asked for; DDPM: linear |
| ``num_heads_upsample`` | of the way up, with ``num_heads``; -1: the same | guided | ``num_heads`` |
| ``diffusion_steps`` | at least 1 | both | 1000 |
| ``beta_start``, ``beta_end`` | of the linear schedule | both | 0.1 and 20, over ``diffusion_steps`` |
| ``predict_xstart`` | true: the network predicts x₀ | both | false: the noise |
| ``rescale_timesteps`` | true only with 1000 steps, where it changes nothing | guided | false |

So that a checkpoint's published flags can be given as they stand, ``num_channels``, ``channel_mult`` ("1,1,2"),
``num_res_blocks``, ``attention_resolutions`` ("32,16,8"), ``learn_sigma``, ``class_cond``, ``resblock_updown``,
``conv_resample`` and ``use_scale_shift_norm`` are compared with what the tensors say, and ``dropout``,
``use_fp16``, ``use_checkpoint``, ``timestep_respacing``, ``use_kl`` and ``rescale_learned_sigmas`` are taken and
change nothing. Any other key is an error. Values may be text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers import UNet2DModel
from torch import Tensor

from restoration.errors import PriorError
from restoration.priors.diffusion import Prediction
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.guided import GUIDED
from restoration.priors.formats.layout import Format, Shapes, build, check_layout, has
from restoration.priors.formats.renaming import adopt, check_names_and_shapes, constant_weights, sources
from restoration.priors.formats.settings import Setting, answer
from solvers import NoiseSchedule


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another code base, understood."""

    network: UNet2DModel  # in evaluation mode, without gradients
    schedule: NoiseSchedule
    prediction: Prediction
    image_shape: tuple[int, int, int]
    keeps: int  # output channels that are the estimate; those of a learned variance follow and are ignored
    classes: int | None  # of a class-conditional network


def understand(
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Setting],
    *,
    name: str,
    dtype: torch.dtype = torch.float32,
) -> Foreign:
    """The network, its schedule and its shapes from a bare state dict.

    Args:
        tensors: without wrappers and ``module.`` prefixes. They are copied, one after the other.
        settings: what they cannot tell; the table above.
        name: of the file, for the errors.
        dtype: of the network, whatever the checkpoint's is.

    Raises:
        PriorError: one line: not such a checkpoint (and what it is instead, if that can be told); tensors missing,
            left over, of a wrong shape, or not finite; settings that are unknown, contradict the tensors, or lack.
    """
    try:
        return _understand(tensors, settings, dtype)
    except PriorError as error:
        raise PriorError(f"{name}: {' '.join(str(error).split())}") from None  # a tensor's name may hold anything


def _understand(tensors: Mapping[str, Tensor], settings: Mapping[str, Setting], dtype: torch.dtype) -> Foreign:
    for key, tensor in tensors.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise PriorError(f"{key} is a {type(tensor).__name__}, not a tensor: this is no bare state dict")
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    form = _detect(shapes)
    layout = form.read(shapes)
    check_layout(layout)
    check_names_and_shapes(shapes, sources(form, layout, build(layout, form)), form.title)
    answers = answer(layout, form, settings)
    network = build(layout, form, answers.head_dim, answers.image_size)
    adopt(
        network,
        tensors,
        sources(form, layout, network),
        constant_weights(layout, network),
        heads_first=answers.heads_first,
        dtype=dtype,
    )
    return Foreign(
        network=network,
        schedule=answers.schedule,
        prediction=answers.prediction,
        image_shape=(layout.in_channels, answers.image_size, answers.image_size),
        keeps=layout.in_channels,
        classes=layout.classes,
    )


def _detect(shapes: Shapes) -> Format:
    """Which format it is.

    Raises:
        PriorError: neither; says what it is where the names tell.
    """
    if any("lora" in name.lower() for name in shapes):
        raise PriorError("this is a LoRA, an addition to a network; the network's own checkpoint is needed")
    if has(shapes, "first_stage_model.") or has(shapes, "model.diffusion_model."):
        raise PriorError("this is a latent diffusion model; only networks of pixel space are supported")
    if any("transformer_blocks." in name or ".attn2." in name for name in shapes):
        raise PriorError("this is a text-conditional U-Net (Stable Diffusion); only pixel space is supported")
    if has(shapes, "encoder.") or has(shapes, "decoder.") or has(shapes, "quant_conv."):
        raise PriorError("this is an autoencoder (VAE), not a diffusion network")
    if has(shapes, "input_blocks."):
        if not has(shapes, "output_blocks."):
            raise PriorError("this is a classifier (half a U-Net, without output_blocks), not a diffusion network")
        return GUIDED
    if has(shapes, "temb.dense.") or (has(shapes, "down.") and has(shapes, "up.")):
        return DDPM
    if has(shapes, "down_blocks."):
        raise PriorError("these are weights of diffusers without their configuration: give the folder with both")
    first = ", ".join(list(shapes)[:3]) or "none"
    raise PriorError(f"neither {GUIDED.title} nor {DDPM.title}: its first tensors are {first}")
