"""A numbered contact sheet: several pictures side by side, to be chosen from."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MARGIN, STRIP = 8, 22
INK, PAPER = (20, 20, 24), (250, 250, 248)
SIDE, MOST = 192, 512
"""Pixels: narrower pictures are enlarged, a pixel a square, wider ones shrunk."""


def numbered(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] in as square a grid as can be, numbered from 1: (3, H', W')."""
    width = pictures.shape[3]
    scale = math.ceil(SIDE / width) if width < SIDE else min(MOST / width, 1)
    tall, wide = round(pictures.shape[2] * scale), round(width * scale)
    columns = math.ceil(len(pictures) ** 0.5)
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (MARGIN + columns * (wide + MARGIN), rows * (tall + MARGIN + STRIP)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    smooth = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (wide + MARGIN), MARGIN + row * (tall + MARGIN + STRIP)
        values = (picture.clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0)
        sheet.paste(Image.fromarray(values.contiguous().cpu().numpy()).resize((wide, tall), smooth), (x, y))
        draw.text((x + wide / 2, y + tall + STRIP - 6), str(i + 1), INK, font, anchor="ms")
    return torch.from_numpy(np.asarray(sheet).copy()).permute(2, 0, 1).float() / 255
