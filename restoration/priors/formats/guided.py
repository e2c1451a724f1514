"""OpenAI's guided-diffusion ``UNetModel``: how it names its tensors, and what they tell.

Source: github.com/openai/guided-diffusion, guided_diffusion/unet.py (Dhariwal and Nichol, 2021). Its blocks are
numbered through: with n residual blocks a level, level l's are ``input_blocks`` l(n+1)+1 … l(n+1)+n, and what
takes it to level l+1 is ``input_blocks`` (l+1)(n+1); ``output_blocks`` come coarsest first, n+1 a level, the last
with what enlarges the picture as its last child. A residual block that resamples looks like any other: it is told
by the second one among an output block's children. Averaging has no tensors: it is told by the gap in the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from restoration.errors import PriorError
from restoration.priors.formats.layout import Format, Kind, Layout, Resampling, Shapes, count_of, has, shape_of


def _read(shapes: Shapes) -> Layout:
    time_channels = shape_of(shapes, "time_embed.0.weight", 2)[1]
    count = count_of(shapes, "input_blocks.")
    blocks, resampling = _resampling(shapes, count)
    levels, rest = divmod(count, blocks + 1)
    if rest or not levels:
        raise PriorError(
            f"its {count} input_blocks are not whole levels of {blocks + 1}: some are missing, or too many"
        )
    first = [f"input_blocks.{level * (blocks + 1) + 1}." for level in range(levels)]
    widths = tuple(shape_of(shapes, f"{block}0.out_layers.3.weight", 4)[0] for block in first)
    return Layout(
        in_channels=shape_of(shapes, "input_blocks.0.0.weight", 4)[1],
        out_channels=shape_of(shapes, "out.2.weight", 4)[0],
        time_channels=time_channels,
        widths=widths,
        blocks=blocks,
        attention=tuple(has(shapes, f"{block}1.") for block in first),
        resampling=resampling,
        scale_shift=shape_of(shapes, f"{first[0]}0.emb_layers.1.weight", 2)[0] == 2 * widths[0],
        classes=shape_of(shapes, "label_emb.weight", 2)[0] if "label_emb.weight" in shapes else None,
    )


def _resampling(shapes: Shapes, count: int) -> tuple[int, Resampling]:
    """Residual blocks a level, and how levels are joined."""
    ways: tuple[tuple[str, Resampling], ...] = (("in_layers.", "resnet"), ("conv.", "conv"))
    for block in range(count):
        for child in (1, 2):
            for part, way in ways:
                if has(shapes, f"output_blocks.{block}.{child}.{part}"):
                    return max(block, 1), way
    gaps = [block for block in range(1, count) if not has(shapes, f"input_blocks.{block}.")]
    return (max(gaps[0] - 1, 1), "pool") if gaps else (max(count - 1, 1), "conv")  # no gap: a single level


def _modules(layout: Layout) -> Iterator[tuple[str, str, Kind]]:
    step, last = layout.blocks + 1, len(layout.widths) - 1
    resampler: tuple[str, Kind] = ("", "resnet") if layout.resampling == "resnet" else (".conv", "plain")
    yield "time_embed.0", "time_embedding.linear_1", "plain"
    yield "time_embed.2", "time_embedding.linear_2", "plain"
    if layout.classes is not None:
        yield "label_emb", "class_embedding", "plain"
    yield "input_blocks.0.0", "conv_in", "plain"
    for level, attends in enumerate(layout.attention):
        ours = f"down_blocks.{level}"
        for block in range(layout.blocks):
            theirs = f"input_blocks.{level * step + 1 + block}"
            yield f"{theirs}.0", f"{ours}.resnets.{block}", "resnet"
            if attends:
                yield f"{theirs}.1", f"{ours}.attentions.{block}", "attention"
        if level < last and layout.resampling != "pool":
            theirs = f"input_blocks.{(level + 1) * step}.0" + (".op" if layout.resampling == "conv" else "")
            yield theirs, f"{ours}.downsamplers.0{resampler[0]}", resampler[1]
    yield "middle_block.0", "mid_block.resnets.0", "resnet"
    yield "middle_block.1", "mid_block.attentions.0", "attention"
    yield "middle_block.2", "mid_block.resnets.1", "resnet"
    for i, attends in enumerate(reversed(layout.attention)):
        ours = f"up_blocks.{i}"
        for block in range(step):
            theirs = f"output_blocks.{i * step + block}"
            yield f"{theirs}.0", f"{ours}.resnets.{block}", "resnet"
            if attends:
                yield f"{theirs}.1", f"{ours}.attentions.{block}", "attention"
        if i < last and layout.resampling != "pool":
            theirs = f"output_blocks.{(i + 1) * step - 1}.{2 if attends else 1}"
            yield theirs + resampler[0], f"{ours}.upsamplers.0{resampler[0]}", resampler[1]
    yield "out.0", "conv_norm_out", "plain"
    yield "out.2", "conv_out", "plain"


GUIDED = Format(
    title="guided-diffusion's UNetModel",
    read=_read,
    modules=_modules,
    resnet={
        "in_layers.0": ("norm1",),
        "in_layers.2": ("conv1",),
        "emb_layers.1": ("time_emb_proj",),
        "out_layers.0": ("norm2",),
        "out_layers.3": ("conv2",),
        "skip_connection": ("conv_shortcut",),
    },
    attention={"norm": ("group_norm",), "qkv": ("to_q", "to_k", "to_v"), "proj_out": ("to_out.0",)},
    pointwise=1,
    one_head=False,
    constants={"freq_shift": 0, "flip_sin_to_cos": True, "norm_eps": 1e-5, "downsample_padding": 1},
)
