"""Masks of inpainting beside half of the pixels at random: scratches, a hole, a file's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from restoration.pictures import images
from restoration.tasks import derived_seed, fit_to

STROKES = 6
THICKNESS = 1 / 24
"""Of a stroke, of the picture's smaller side."""
BEND = 0.15
"""How far a stroke's middle may leave the straight line, of the side."""


@dataclass(frozen=True)
class Scratches:
    """Six bent strokes from side to side of the picture: the seed decides where they run; some 20 % is to fill."""

    def fill(self, rows: int, columns: int, seed: int) -> Tensor:
        """(1, rows, columns), 1 where to fill."""
        chance = random.Random(derived_seed(seed, "scratches"))
        picture = Image.new("L", (columns, rows))
        pen = ImageDraw.Draw(picture)
        width = max(round(THICKNESS * min(rows, columns)), 1)
        for _ in range(STROKES):
            first, last, bend = chance.random(), chance.random(), chance.uniform(-BEND, BEND)
            along = (0.0, 0.5, 1.0)
            across = (first, (first + last) / 2 + bend, last)
            points = list(
                zip(along, across, strict=True) if chance.random() < 0.5 else zip(across, along, strict=True)
            )
            pen.line([(x * (columns - 1), y * (rows - 1)) for x, y in points], 255, width, "curve")
        return torch.from_numpy(np.asarray(picture) > 127).float()[None]


@dataclass(frozen=True)
class Hole:
    """A square of ``side`` pixels in the middle, the same of every picture."""

    side: int

    def fill(self, rows: int, columns: int, seed: int) -> Tensor:
        """(1, rows, columns), 1 where to fill.

        Raises:
            ValueError: it would leave nothing of the picture.
        """
        if self.side >= min(rows, columns):
            raise ValueError(
                f"--tasks: a hole must be smaller than the picture, {columns}×{rows}: got {self.side}"
            )
        top, left = (rows - self.side) // 2, (columns - self.side) // 2
        mask = torch.zeros(1, rows, columns)
        mask[:, top : top + self.side, left : left + self.side] = 1
        return mask


@dataclass(frozen=True)
class Given:
    """A picture whose white marks what to fill, cropped and shrunk to the size of what is restored."""

    file: Path

    def fill(self, rows: int, columns: int, seed: int) -> Tensor:
        """(1 or 3, rows, columns), bright where to fill.

        Raises:
            ImageError, OSError: it cannot be read, or is smaller.
        """
        mask = images.load(self.file)
        return mask if mask.shape[1:] == (rows, columns) else fit_to(mask, rows, columns, shrink=True)


Mask = Scratches | Hole | Given
