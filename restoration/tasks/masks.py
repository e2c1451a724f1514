"""Masks: which pixels of a picture are known."""

from __future__ import annotations

import torch
from torch import Tensor

from restoration.errors import ImageError
from restoration.tasks.seeds import derived_seed


def known_pixels(mask: Tensor, name: str = "the mask") -> Tensor:
    """(H, W), True where a mask (1 or 3, H, W) is less than half white; ImageError where that leaves no task."""
    known = mask.mean(dim=0) < 0.5
    if not bool(known.any()):
        raise ImageError(f"{name} is white everywhere: nothing of the picture would be known")
    if bool(known.all()):
        raise ImageError(f"{name} is nowhere half white: there is nothing to fill (white marks what to fill)")
    return known


def half_of_the_pixels(rows: int, columns: int, seed: int) -> Tensor:
    """(rows, columns), True at half of the pixels, which the seed decides on any device alike."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "mask"))
    return (torch.randperm(rows * columns, generator=generator) >= rows * columns // 2).reshape(rows, columns)
