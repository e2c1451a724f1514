"""A contact sheet: rows of labelled pictures in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MARGIN, STRIP = 8, 22
INK, PAPER, FAINT = (20, 20, 24), (250, 250, 248), (110, 110, 118)


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture (C, H, W) in [0, 1] and the line of text under it."""

    picture: Tensor
    caption: str = ""


def contact_sheet(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], side: int = 192
) -> Image.Image:
    """Draw named rows of cells under named columns, all of the first's shape, ``side`` pixels wide, unsmoothed."""
    font, bold = ImageFont.load_default(14), ImageFont.load_default(17)
    name_width = MARGIN * 2 + max(int(bold.getlength(line)) for name, _ in rows for line in name.split("\n"))
    step = side + MARGIN
    tall = round(side * rows[0][1][0].picture.shape[1] / rows[0][1][0].picture.shape[2])
    top = STRIP * 2 + MARGIN * 2
    width, height = name_width + step * len(columns), top + (tall + MARGIN + STRIP) * len(rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, bold)
    for c, column in enumerate(columns):
        draw.text((name_width + c * step + side / 2, top - MARGIN), column, INK, font, anchor="ms")
    for r, (name, cells) in enumerate(rows):
        y = top + r * (tall + MARGIN + STRIP)
        draw.multiline_text((MARGIN, y + tall / 2), name, INK, bold, anchor="lm")
        for c, cell in enumerate(cells):
            x = name_width + c * step
            picture = _image(cell.picture).resize((side, tall), Image.Resampling.NEAREST)
            sheet.paste(picture, (x, y))
            draw.text((x + side / 2, y + tall + STRIP - 6), cell.caption, FAINT, font, anchor="ms")
    return sheet


def _image(picture: Tensor) -> Image.Image:
    values = (picture.clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return Image.fromarray(values.permute(1, 2, 0).contiguous().cpu().numpy())
