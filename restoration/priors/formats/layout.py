"""What names and shapes tell of a U-Net, and the ``UNet2DModel`` it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import UNet2DModel

from restoration.errors import PriorError
from restoration.priors.formats.variants import GuidedUNet2DModel

Shapes = Mapping[str, tuple[int, ...]]
Resampling = Literal["resnet", "conv", "pool"]
Kind = Literal["plain", "resnet", "attention"]
HeadDim = int | dict[str, int] | None
GROUPS = 32
"""Of every GroupNorm of both formats."""


@dataclass(frozen=True)
class Layout:
    """A U-Net's architecture, as far as its tensors tell it."""

    in_channels: int
    out_channels: int
    time_channels: int  # of the sinusoidal embedding: the model's base width
    widths: tuple[int, ...]  # of the levels, finest first
    blocks: int  # residual blocks of a level on the way down; one more on the way up
    attention: tuple[bool, ...]  # at which levels; the middle always has it
    resampling: Resampling  # by a residual block, by a convolution, or by averaging and repeating pixels
    scale_shift: bool  # time enters as scale and shift of the second norm, or is added
    classes: int | None

    @property
    def attended(self) -> list[int]:
        """The widths of its attentions, without repetition."""
        return sorted({w for w, a in zip(self.widths, self.attention, strict=True) if a} | {self.widths[-1]})


@dataclass(frozen=True)
class Format:
    """How another code base names, stores and evaluates the U-Net that diffusers calls ``UNet2DModel``."""

    title: str
    read: Callable[[Shapes], Layout]
    modules: Callable[[Layout], Iterator[tuple[str, str, Kind]]]  # (their module, diffusers' module, its kind)
    resnet: Mapping[str, tuple[str, ...]]  # parts of a residual block: theirs, diffusers'
    attention: Mapping[str, tuple[str, ...]]
    pointwise: int  # trailing dimensions of size 1 of an attention's projections
    one_head: bool
    constants: Mapping[str, Any]  # of the configuration


def build(layout: Layout, form: Format, head_dim: HeadDim = None, size: int | None = None) -> UNet2DModel:
    """The network, without memory for its weights (on the meta device)."""
    resnet = layout.resampling == "resnet"
    plain_down, plain_up = (
        ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resnet else ("DownBlock2D", "UpBlock2D")
    )
    down = ["AttnDownBlock2D" if attends else plain_down for attends in layout.attention]
    up = ["AttnUpBlock2D" if attends else plain_up for attends in reversed(layout.attention)]
    config: dict[str, Any] = {
        "sample_size": size,
        "in_channels": layout.in_channels,
        "out_channels": layout.out_channels,
        "time_embedding_dim": 4 * layout.time_channels,
        "down_block_types": tuple(down),
        "up_block_types": tuple(up),
        "block_out_channels": layout.widths,
        "layers_per_block": layout.blocks,
        "downsample_type": "resnet" if resnet else "conv",
        "upsample_type": "resnet" if resnet else "conv",
        "attention_head_dim": head_dim,
        "norm_num_groups": GROUPS,
        "attn_norm_num_groups": GROUPS,  # else the middle loses its norm under scale-shift
        "resnet_time_scale_shift": "scale_shift" if layout.scale_shift else "default",
        "num_class_embeds": layout.classes,
        **form.constants,
    }
    if layout.resampling == "pool":
        config["downsample_padding"] = 0  # the averaging kernel stands at its window's upper left
    varied = isinstance(head_dim, dict) or layout.time_channels != layout.widths[0]
    with torch.device("meta"):
        return (GuidedUNet2DModel if varied else UNet2DModel)(**config)


def check_layout(layout: Layout) -> None:
    """Refuse what is no prior for grey or RGB pictures.

    Raises:
        PriorError: one line saying what it is instead.
    """
    ends = f"it maps {layout.in_channels} channels to {layout.out_channels}"
    if layout.in_channels in (2, 6) and layout.out_channels in (layout.in_channels // 2, layout.in_channels):
        raise PriorError(f"{ends}: a super-resolution upsampler, which needs a small picture beside the noisy one")
    if layout.in_channels == 4:
        raise PriorError(f"{ends}: a network of a latent space; only pixel space is supported")
    if layout.in_channels not in (1, 3) or layout.out_channels not in (
        layout.in_channels,
        2 * layout.in_channels,
    ):
        raise PriorError(f"{ends}; it must map 1 or 3 to as many, or to twice as many with a learned variance")
    if layout.time_channels < 2:
        raise PriorError(f"its time embedding has {layout.time_channels} channels; it must have at least 2")
    if any(width < 1 or width % GROUPS for width in layout.widths):
        raise PriorError(f"its levels are {layout.widths} channels wide; they must be multiples of {GROUPS}")


def shape_of(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor that has to be there.

    Raises:
        PriorError: it is missing, or has another number of dimensions.
    """
    if name not in shapes:
        raise PriorError(f"tensor {name} is missing")
    if len(shapes[name]) != dimensions:
        raise PriorError(f"tensor {name} is {shapes[name]}; it must have {dimensions} dimensions")
    return shapes[name]


def count_of(shapes: Shapes, prefix: str) -> int:
    """How many members the list of modules called ``prefix`` has: one more than its highest index."""
    indices = {name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)}
    return max((int(index) + 1 for index in indices if index.isdecimal() and len(index) < 4), default=0)


def has(shapes: Shapes, prefix: str) -> bool:
    """Whether any tensor's name starts so."""
    return any(name.startswith(prefix) for name in shapes)
