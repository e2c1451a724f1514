"""From a task's name and a picture to the measurement that a prior can restore."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from degradations import (
    Colorization,
    Denoising,
    Inpainting,
    Measurement,
    SuperResolution,
    SVDOperator,
    simulate,
)
from restoration.errors import ImageError
from restoration.frame import Frame
from solvers import NoiseSource

TASKS = ("denoise", "sr2", "sr4", "sr8", "sr16", "inpaint", "colorize")
Shape = tuple[int, int, int]
LARGEST_SIGMA = 4.0  # of noise that images.load still takes for a picture in [0, 1] units
MOST_PIXELS = 64_000_000  # of a restored picture, as of one that is read


@dataclass(frozen=True)
class Task:
    """A degradation by name, with what it needs to know.

    Args:
        name: one of ``TASKS``, or "sr" with any other factor.
        sigma: standard deviation of the measurement's noise, [0, 1] units; needed for "denoise".
        simulate: pictures are clean and get degraded first.
        fit: pictures are cropped (and, with ``simulate``, shrunk) to what the prior takes without tiles.

    Raises:
        ValueError: an unknown name, or a sigma that is missing, negative or not finite.
    """

    name: str
    sigma: float | None = None
    simulate: bool = False
    fit: bool = False

    def __post_init__(self) -> None:
        if self.name not in TASKS and not re.fullmatch(r"sr[1-9]\d{0,3}", self.name):
            raise ValueError(f"task must be one of {', '.join(TASKS)}: got {self.name!r}")
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma must be finite and ≥ 0: got {self.sigma}")
        if self.sigma is not None and self.sigma > LARGEST_SIGMA:
            raise ValueError(
                f"sigma is in [0, 1] units: got {self.sigma:g}; on a scale of 255 that is {self.sigma / 255:.3g}"
            )
        if self.name == "denoise" and not self.sigma:
            raise ValueError("denoise needs sigma > 0, the noise's standard deviation in [0, 1] units (--sigma)")

    @property
    def factor(self) -> int:
        """How many times smaller than the restored picture the measured one is, per side."""
        return int(self.name[2:]) if self.name.startswith("sr") else 1


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be restored.

    Args:
        measurement: of one image, in [0, 1] units; its operator may be of a larger image than is wanted.
        original: (C, H, W) the clean picture, where the measurement was simulated.
        notes: what was done to the picture on the way, for the user.
        frame: where the picture lies in the operator's image.
    """

    measurement: Measurement
    original: Tensor | None
    notes: tuple[str, ...]
    frame: Frame

    def crop(self, images: Tensor) -> Tensor:
        """What is wanted (..., H, W) of images restored from the measurement."""
        return self.frame.crop(images)

    @property
    def degraded(self) -> Tensor:
        """The measurement as a picture (C, H, W) of the wanted size: missing values are mid-grey."""
        y, operator = self.measurement.y[0], self.measurement.operator
        channels, height, width = operator.image_shape
        if isinstance(operator, Inpainting):
            return self.crop(torch.where(operator.singular_values.expand_as(y) > 0, y, 0.5))
        return self.crop(functional.interpolate(y[None], (height, width)).expand(1, channels, -1, -1)[0])


def pose(task: Task, picture: Tensor, prior_shape: Shape, *, mask: Tensor | None = None, seed: int = 0) -> Problem:
    """The measurement that a picture is, or (``task.simulate``) that is made of it.

    A picture smaller than the prior's images, or not divided by the task's factor, is padded by reflection: the
    clean picture, or what was measured. A larger one is left as it is, for a prior in tiles (``prior_for``).

    Args:
        picture: (C, H, W) in [0, 1], C = 1 or 3.
        prior_shape: (C, H, W) of the images the prior describes.
        mask: (1 or 3, H, W) of the picture's size, bright (≥ 0.5) where to fill; for "inpaint".
        seed: decides the simulated noise and the simulated mask (half of the pixels), on any device alike.

    Raises:
        ImageError: a picture or mask of a size that cannot be used.
        ValueError: a mask that is missing or not wanted; a factor that is too large or, with ``task.fit``, does
            not divide the prior's size.
    """
    if mask is not None and task.name != "inpaint":
        raise ValueError(f"a mask is for inpaint: got one for {task.name}")
    if task.name == "inpaint" and mask is None and not task.simulate:
        raise ValueError("inpaint needs a mask whose white marks what to fill (--mask)")
    if mask is not None and mask.shape[1:] != picture.shape[1:]:
        raise ImageError(f"the mask must have the picture's size, {_size(picture)}: got {_size(mask)}")
    channels, height, width = prior_shape
    f = 1 if task.simulate else task.factor
    notes: list[str] = []
    if task.fit:
        if task.factor > 1:
            SuperResolution(prior_shape, task.factor)  # says so where the factor does not divide
        if tuple(picture.shape[1:]) != (height // f, width // f):
            size = _size(picture)
            picture = fit_to(picture, height // f, width // f, shrink=task.simulate)
            mask = None if mask is None else fit_to(mask, height // f, width // f, shrink=task.simulate)
            how = "shrunk" if task.simulate else "cropped to its centre (--simulate would shrink it)"
            notes.append(f"{how}, from {size} to {_size(picture)}")
    frame = _frame(task, picture, prior_shape)
    wanted = 1 if task.name == "colorize" and not task.simulate else channels
    picture, note = with_channels(picture, wanted)
    padded = frame.shrunk(f).pad(picture)
    if frame.pads:
        notes.append(f"padded by reflection, from {_size(picture)} to {_size(padded)}; the result is cropped back")
    notes += note
    known = None
    if task.name == "inpaint":
        known = frame.pad(_half_of_the_pixels(picture, seed) if mask is None else known_pixels(mask))
    operator = _operator(task, (channels, frame.rows, frame.columns), known)
    sigma = task.sigma or 0.0
    if not task.simulate:
        y = padded[None] * operator.singular_values if isinstance(operator, Inpainting) else padded[None]
        return Problem(Measurement(y, operator, sigma), None, tuple(notes), frame)
    noise = NoiseSource([derived_seed(seed, "noise")])
    return Problem(simulate(padded[None], operator, sigma, noise=noise), picture, tuple(notes), frame)


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for something else than the sampler's noise, so that the two are independent."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


def _frame(task: Task, picture: Tensor, prior_shape: Shape) -> Frame:
    """Of the restored picture in one that the prior, in tiles, and the operator can take."""
    scale = 1 if task.simulate else task.factor
    height, width = picture.shape[1] * scale, picture.shape[2] * scale
    if task.factor > min(height, width):
        raise ValueError(
            f"factor must be at most the picture's smaller side: got {task.factor} for {_size(picture)}"
        )
    frame = Frame.around(height, width, prior_shape[1:], task.factor)
    if frame.rows * frame.columns > MOST_PIXELS:
        raise ValueError(
            f"factor must leave at most {MOST_PIXELS} pixels to restore: got {task.factor} for {_size(picture)}"
        )
    return frame


def _operator(task: Task, shape: Shape, known: Tensor | None) -> SVDOperator:
    if known is not None:
        return Inpainting(shape, known)
    if task.name == "denoise":
        return Denoising(shape)
    if task.name == "colorize":
        return Colorization(shape)
    return SuperResolution(shape, task.factor)


def _half_of_the_pixels(picture: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, "mask"))
    rows, columns = picture.shape[1:]
    return (torch.randperm(rows * columns, generator=generator) >= rows * columns // 2).reshape(rows, columns)


def known_pixels(mask: Tensor, name: str = "the mask") -> Tensor:
    """(H, W), True where a mask (1 or 3, H, W) is less than half white; ImageError where that leaves no task."""
    known = mask.mean(dim=0) < 0.5
    if not bool(known.any()):
        raise ImageError(f"{name} is white everywhere: nothing of the picture would be known")
    if bool(known.all()):
        raise ImageError(f"{name} is nowhere half white: there is nothing to fill (white marks what to fill)")
    return known


def with_channels(picture: Tensor, channels: int) -> tuple[Tensor, list[str]]:
    """The picture in so many channels, 1 or 3, and what is to be said of that."""
    if len(picture) == channels:
        return picture, []
    if len(picture) == 1:
        return picture.expand(channels, -1, -1).clone(), []
    coloured = float((picture - picture.mean(dim=0)).abs().max()) > 2 / 255  # JPEG's rounding is not colour
    notes = ["has colour; its channels' mean is used"] if coloured else []
    return picture.mean(dim=0, keepdim=True), notes


def fit_to(picture: Tensor, height: int, width: int, *, shrink: bool) -> Tensor:
    """The centre of the picture, cropped to the wanted shape and, with ``shrink``, resampled to its size.

    Raises:
        ImageError: the picture is smaller.
    """
    rows, columns = picture.shape[1:]
    if rows < height or columns < width:
        raise ImageError(f"the picture is too small to fit: {_size(picture)} where {width}×{height} is needed")
    scale = min(rows / height, columns / width) if shrink else 1
    high, wide = round(height * scale), round(width * scale)
    top, left = (rows - high) // 2, (columns - wide) // 2
    crop = picture[:, top : top + high, left : left + wide]
    if not shrink or (high, wide) == (height, width):
        return crop
    return functional.interpolate(crop[None], (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[2]}×{picture.shape[1]}"
