"""The ``Model`` of DDPM in PyTorch: how it names its tensors, and what they tell.

Source: github.com/pesser/pytorch_diffusion, pytorch_diffusion/model.py, whose weights are Ho et al.'s (2020); the
same network is SDEdit's, DDIM's and DDRM's ``models/diffusion.py``. Against guided-diffusion's: sines before
cosines, the frequencies shifted by one, one head, ε = 1e-6 in the norms, and a picture is made smaller with a row
and a column of zeros at its lower right only.
"""

from __future__ import annotations

from collections.abc import Iterator

from restoration.errors import PriorError
from restoration.priors.formats.layout import Format, Kind, Layout, Shapes, count_of, has, shape_of


def _read(shapes: Shapes) -> Layout:
    levels, blocks = count_of(shapes, "down."), count_of(shapes, "down.0.block.")
    if not levels or not blocks:
        raise PriorError("tensor down.0.block.0.conv1.weight is missing")
    widths = tuple(shape_of(shapes, f"down.{level}.block.0.conv1.weight", 4)[0] for level in range(levels))
    base, in_channels = shape_of(shapes, "conv_in.weight", 4)[:2]
    if base != widths[0]:
        raise PriorError(f"its base is {base} channels wide, its first level {widths[0]}: ch_mult must start at 1")
    convolves = levels == 1 or has(shapes, "down.0.downsample.") or has(shapes, "up.1.upsample.")
    return Layout(
        in_channels=in_channels,
        out_channels=shape_of(shapes, "conv_out.weight", 4)[0],
        time_channels=base,
        widths=widths,
        blocks=blocks,
        attention=tuple(has(shapes, f"down.{level}.attn.") for level in range(levels)),
        resampling="conv" if convolves else "pool",
        scale_shift=False,
        classes=None,
    )


def _modules(layout: Layout) -> Iterator[tuple[str, str, Kind]]:
    last = len(layout.widths) - 1
    yield "temb.dense.0", "time_embedding.linear_1", "plain"
    yield "temb.dense.1", "time_embedding.linear_2", "plain"
    yield "conv_in", "conv_in", "plain"
    for level, attends in enumerate(layout.attention):
        for way, ours, blocks in (("down", level, layout.blocks), ("up", last - level, layout.blocks + 1)):
            for block in range(blocks):
                yield f"{way}.{level}.block.{block}", f"{way}_blocks.{ours}.resnets.{block}", "resnet"
                if attends:
                    yield f"{way}.{level}.attn.{block}", f"{way}_blocks.{ours}.attentions.{block}", "attention"
        if layout.resampling == "pool":
            continue
        if level < last:
            yield f"down.{level}.downsample.conv", f"down_blocks.{level}.downsamplers.0.conv", "plain"
        if level > 0:
            yield f"up.{level}.upsample.conv", f"up_blocks.{last - level}.upsamplers.0.conv", "plain"
    yield "mid.block_1", "mid_block.resnets.0", "resnet"
    yield "mid.attn_1", "mid_block.attentions.0", "attention"
    yield "mid.block_2", "mid_block.resnets.1", "resnet"
    yield "norm_out", "conv_norm_out", "plain"
    yield "conv_out", "conv_out", "plain"


DDPM = Format(
    title="DDPM's Model",
    read=_read,
    modules=_modules,
    resnet={
        "norm1": ("norm1",),
        "conv1": ("conv1",),
        "temb_proj": ("time_emb_proj",),
        "norm2": ("norm2",),
        "conv2": ("conv2",),
        "nin_shortcut": ("conv_shortcut",),
    },
    attention={
        "norm": ("group_norm",),
        "q": ("to_q",),
        "k": ("to_k",),
        "v": ("to_v",),
        "proj_out": ("to_out.0",),
    },
    pointwise=2,
    one_head=True,
    constants={"freq_shift": 1, "flip_sin_to_cos": False, "norm_eps": 1e-6, "downsample_padding": 0},
)
