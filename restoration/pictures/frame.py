"""Sizes that do not fit: a picture padded by its own reflection, and cropped back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in a larger one, in pixels.

    Args:
        height, width: of the picture.
        rows, columns: of the larger one.
        top, left: of the picture in it.
    """

    height: int
    width: int
    rows: int
    columns: int
    top: int
    left: int

    @classmethod
    def around(cls, height: int, width: int, least: tuple[int, int], multiple: int) -> Frame:
        """The smallest of at least that height and width whose sides are multiples, the picture in its middle.

        The picture begins at a multiple as well, so that blocks of that side lie in it as they did.
        """
        rows, columns = (
            -(-max(side, low) // multiple) * multiple for side, low in zip((height, width), least, strict=True)
        )
        top, left = (
            (whole - side) // 2 // multiple * multiple for whole, side in ((rows, height), (columns, width))
        )
        return cls(height, width, rows, columns, top, left)

    def shrunk(self, factor: int) -> Frame:
        """The same frame of a picture with ``factor`` times fewer pixels a side."""
        sides = (self.height, self.width, self.rows, self.columns, self.top, self.left)
        return Frame(*(side // factor for side in sides))

    def pad(self, picture: Tensor) -> Tensor:
        """(..., rows, columns): the picture, mirrored at its outermost pixels as often as it takes."""
        if not self.pads:
            return picture
        rows = _mirrored(self.rows, self.top, self.height)
        return picture[..., rows, :][..., _mirrored(self.columns, self.left, self.width)]

    def crop(self, images: Tensor) -> Tensor:
        """The picture's part (..., height, width) of images (..., rows, columns)."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]

    @property
    def pads(self) -> bool:
        """Whether there is anything around the picture."""
        return (self.rows, self.columns) != (self.height, self.width)


def _mirrored(length: int, begin: int, side: int) -> Tensor:
    """Which of ``side`` pixels stands at each of ``length`` places, the first of them at ``begin``."""
    period = max(2 * (side - 1), 1)
    place = (torch.arange(length) - begin) % period
    return torch.minimum(place, period - place) if side > 1 else torch.zeros_like(place)
