"""Masks: which pixels of a picture are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from restoration.errors import ImageError
from restoration.pictures.picture import Picture
from restoration.tasks.seeds import derived_seed

TOUCHED = 0.05
"""Whiteness from which a pixel is filled; below, it is what JPEG leaves beside an edge."""
_SAME = 8 / 255  # colours of one brush


def known_pixels(mask: Tensor, name: str = "the mask", *, least: float = TOUCHED) -> Tensor:
    """(H, W), True where a mask (1 or 3, H, W) is less white than ``least``.

    Raises:
        ImageError: that leaves no task: it is white everywhere, or black.
    """
    known = mask.mean(dim=0) < least
    if not bool(known.any()):
        raise ImageError(f"{name} is white everywhere: nothing of the picture would be known")
    if bool(known.all()):
        raise ImageError(f"{name} is black everywhere: there is nothing to fill (white marks what to fill)")
    return known


def share_of(mask: Tensor) -> Tensor | None:
    """(1, H, W), how much of the restored picture is shown where a mask's edge is soft, 1 elsewhere.

    None where no edge is: all of the mask is black or white.
    """
    white = mask.mean(dim=0, keepdim=True)
    soft = (white >= TOUCHED) & (white < 1 - _SAME)
    return torch.where(soft, white, 1.0) if bool(soft.any()) else None


def mask_of(
    picture: Picture, name: str, *, invert: bool = False, grow: int = 0, size: tuple[int, int] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """(1, H, W), white (1) where to fill, of a picture that someone drew as a mask, and what is to be said of it.

    White marks what to fill. In a picture of one brush on a transparent ground the brush does, whatever its
    colour; black and white on a transparent ground are shown on black. Of two levels the larger does, as in masks
    of 0 and 1.

    Args:
        name: what errors call it.
        invert: black marks what to fill.
        grow: pixels by which what is filled is enlarged on all sides.
        size: (H, W) to resample it to.

    Raises:
        ImageError: colours beside transparency, or nothing to see at all.
    """
    mask, notes = picture.pixels.mean(dim=0, keepdim=True), []
    if picture.alpha is not None:
        visible = picture.pixels[:, picture.alpha[0] > 0]
        if visible.numel() == 0:
            raise ImageError(f"{name} is transparent everywhere: it marks nothing")
        if bool((visible.amax(dim=1) - visible.amin(dim=1) <= _SAME).all()):
            mask = picture.alpha
            notes.append("what is not transparent in it is filled (--invert-mask fills the rest)")
        elif bool(((visible < 0.1) | (visible > 0.9)).float().mean() > 0.95):
            mask = mask * picture.alpha
            notes.append("what is white in it is filled; what is transparent is kept")
        else:
            raise ImageError(
                f"{name} has colours and transparency, and either could mark what to fill: save it white on black"
            )
    levels = torch.unique(mask)
    if len(levels) == 2 and 0 < float(levels[1]) < 0.5:
        mask = (mask == levels[1]).float()
        notes.append("the larger of its two levels marks what to fill")
    if size is not None and tuple(mask.shape[1:]) != size:
        notes.append(f"resized from {mask.shape[2]}×{mask.shape[1]} to {size[1]}×{size[0]}")
        mask = functional.interpolate(mask[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    mask = 1 - mask if invert else mask
    return (grown(mask, grow) if grow else mask), tuple(notes)


def filled(mask: Tensor) -> Tensor:
    """(..., 1, H, W), how much of each pixel of a mask (..., C, H, W) is filled: 1 in holes, 0 where known."""
    white = mask.mean(dim=-3, keepdim=True)
    return torch.where(white >= 1 - _SAME, 1.0, torch.where(white >= TOUCHED, white, 0.0))


def half_of_the_pixels(rows: int, columns: int, seed: int) -> Tensor:
    """(rows, columns), True at half of the pixels, which the seed decides on any device alike."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "mask"))
    return (torch.randperm(rows * columns, generator=generator) >= rows * columns // 2).reshape(rows, columns)


def width_of_holes(known: Tensor) -> float:
    """Twice the largest distance, in pixels, of a missing pixel of (H, W) from a known one."""
    from scipy.ndimage import distance_transform_edt  # slow to import

    return 2 * float(distance_transform_edt(~known.numpy()).max())


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask (1, H, W) that is white also within so many pixels of where it is half white."""
    from scipy.ndimage import distance_transform_edt  # slow to import

    away = distance_transform_edt(mask[0].numpy() < 0.5) if bool((mask >= 0.5).any()) else None
    near = torch.zeros_like(mask, dtype=torch.bool) if away is None else torch.from_numpy(away <= pixels)[None]
    return torch.where(near, 1.0, mask)
