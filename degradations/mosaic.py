"""Mosaics: every pixel of a sensor measures one colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import checked_shape
from degradations.pixelwise import Pixelwise

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
"""Bayer's, by the colours of the first two pixels of the first row and of the second."""


class Mosaic(Pixelwise):
    """A keeps one channel of every pixel, by a pattern of 2 × 2 that repeats; V = I, and U adds the channels up.

    Args:
        image_shape: (3, H, W): red, green and blue.
        pattern: one of ``PATTERNS``: its four letters are the colours of the 2 × 2 pixels, row by row.

    Raises:
        ValueError: an image of another number of channels; another pattern.

    Source: Bayer, US patent 3,971,065, 1976.
    """

    def __init__(self, image_shape: Sequence[int], pattern: str = "RGGB") -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if channels != 3:
            raise ValueError(f"image_shape must have 3 channels to make a mosaic: got {channels}")
        if pattern not in PATTERNS:
            raise ValueError(f"pattern must be one of {', '.join(PATTERNS)}: got {pattern!r}")
        tile = torch.tensor([["RGB".index(colour) for colour in pattern]]).reshape(2, 2)
        colours = tile.repeat(-(-height // 2), -(-width // 2))[:height, :width]
        kept = (colours == torch.arange(3)[:, None, None]).to(torch.get_default_dtype())
        super().__init__(image_shape, (1, height, width), kept)

    def U(self, z: Tensor) -> Tensor:
        return (self.singular_values * z).sum(dim=1, keepdim=True)
