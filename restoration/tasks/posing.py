"""From a task and a picture to the measurement that a prior can restore."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from degradations import Achromatic, Measurement
from restoration.errors import ImageError
from restoration.pictures.frame import Frame
from restoration.tasks.kind import Shape
from restoration.tasks.masks import TOUCHED, half_of_the_pixels, known_pixels, share_of, width_of_holes
from restoration.tasks.registry import MASKED
from restoration.tasks.seeds import derived_seed
from restoration.tasks.task import Task
from solvers import NoiseSource

MOST_PIXELS = 64_000_000  # of a restored picture, as of one that is read

SMOOTH = 16  # what the sides of a wider frame are multiples of


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be restored.

    Args:
        measurement: of one image, in [0, 1] units; its operator may be of a larger image than is wanted.
        original: (C, H, W) the clean picture, where the measurement was simulated.
        notes: what was done to the picture on the way, for the user.
        frame: where the picture lies in the operator's image.
        task: whose measurement it is.
        given, share: the picture (C, H, W) that was measured, and (1, H, W) how much of what is restored covers
            it, where a mask's edge is soft; None where it is not.
    """

    measurement: Measurement
    original: Tensor | None
    notes: tuple[str, ...]
    frame: Frame
    task: Task
    given: Tensor | None = None
    share: Tensor | None = None

    def crop(self, images: Tensor) -> Tensor:
        """What is wanted (..., C, H, W) of images of the operator's size; C = 1 of a grey picture."""
        cropped = self.frame.crop(images)
        cropped = cropped.mean(dim=-3, keepdim=True) if self.grey else cropped
        if self.given is not None and self.share is not None:
            cropped = torch.lerp(self.given.to(cropped), cropped, self.share.to(cropped))
        return self.task.kind.turned(cropped)

    def finished(self, images: Tensor) -> Tensor:
        """What is wanted (B, C, H, W) of images restored from the measurement, in [0, 1]."""
        if self.grey:
            images = images.mean(dim=1, keepdim=True)
        settled = self.task.kind.settled(images, self.plane)
        return self.crop(settled.expand(-1, 3, -1, -1) if self.grey else settled)

    def edited(self, images: Tensor, picture: Tensor, tolerance: float) -> Tensor:
        """Images (B, C, H, W) of the operator's size with an edited picture in them, where it differs from theirs.

        Args:
            images: in [0, 1], restored from the measurement.
            picture: (C', H', W'), as :meth:`finished` gives it of them, and changed.
            tolerance: a difference up to which it is no change, as of rounding to 8 bits.

        Raises:
            ImageError: a picture of another size.
        """
        shown = self.finished(images)
        picture = with_channels(picture, shown.shape[1])[0].to(shown)
        if picture.shape[1:] != shown.shape[2:]:
            raise ImageError(f"an edit must have the preview's size, {_size(shown[0])}: got {_size(picture)}")
        changed = self.task.kind.unturned((picture - shown).abs() > tolerance)
        result, new = images.clone(), self.task.kind.unturned(picture)
        place = self.frame.crop(result)
        place.copy_(torch.where(changed, new, place))  # of a grey picture in all channels alike
        return result

    @property
    def grey(self) -> bool:
        """Whether a grey picture is restored by a prior of colour ones."""
        return isinstance(self.measurement.operator, Achromatic)

    @property
    def plane(self) -> Measurement:
        """The measurement as the task made it: of a grey picture that of its one plane."""
        y, operator = self.measurement.y, self.measurement.operator
        if isinstance(operator, Achromatic):
            return Measurement(operator.plane(y), operator.inner, self.measurement.sigma)
        return self.measurement

    @property
    def degraded(self) -> Tensor:
        """The measurement as a picture (C, H, W) of the wanted size, as its task shows it."""
        plane, kind = self.plane, self.task.kind
        return kind.turned(self.frame.crop(kind.look(plane.y[0], plane.operator)))


def pose(task: Task, picture: Tensor, prior_shape: Shape, *, mask: Tensor | None = None, seed: int = 0) -> Problem:
    """The measurement that a picture is, or (``task.simulate``) that is made of it.

    A picture smaller than the prior's images, or not divided by the task's factor, is padded by reflection: the
    clean picture, or what was measured; a blurred one by what fits to it. A larger one is left as it is, for a
    prior in tiles (``prior_for``).

    A grey picture stays grey with a prior of colour pictures, by :class:`degradations.Achromatic`, unless the task
    itself adds colour. (In three channels, ``with_channels``, it is a colour picture that happens to be grey.)

    Args:
        picture: (C, H, W) in [0, 1], C = 1 or 3.
        prior_shape: (C, H, W) of the images the prior describes.
        mask: (1 or 3, H, W) of the picture's size, white where to fill; for tasks that take one. Whatever it
            touches is filled, and where its edge is soft the result is shown as much as it is white. Of a
            simulated task it is hard, at one half.
        seed: decides the simulated noise and the simulated mask (half of the pixels), on any device alike.

    Raises:
        ImageError: a picture or mask of a size that cannot be used.
        ValueError: a mask that is missing or not wanted; a factor that is too large or, with ``task.fit``, does
            not divide the prior's size.
    """
    task = replace(task, known=task.kind.drawn(seed))
    _check_mask(task, picture, mask)
    task, picture, mask, notes = _fitted(task, picture, mask, prior_shape)
    kind = task.kind
    channels = prior_shape[0]
    f = 1 if task.simulate else kind.factor
    grey = len(picture) == 1 < channels == kind.measured_channels(channels)
    wanted = 1 if grey else channels
    picture, note = with_channels(picture, wanted if task.simulate else kind.measured_channels(wanted))
    if task.simulate:
        task = replace(task, known=kind.degrading(picture))
        kind = task.kind
    frame = _frame(task, picture, prior_shape)
    if frame.pads:
        whole = frame.shrunk(f)
        wider = f"{whole.columns}×{whole.rows}"
        notes.append(f"padded {kind.padding}, from {_size(picture)} to {wider}; the result is cropped back")
    notes += note
    if task.sigma_auto:
        task, told = _estimated(task, picture, mask)
        notes.append(told)
    known = share = None
    if kind.takes_mask:
        known = _known(frame, kind.factor, mask, seed, task.simulate)
        # elsewhere what was measured is no part of the result
        as_given = kind.factor == 1 and kind.measured_channels(channels) == channels
        share = share_of(mask) if mask is not None and as_given and not task.simulate else None
        if mask is not None and kind.factor == 1:
            notes += _note_of_holes(frame.crop(known), min(prior_shape[1:]))
    operator = kind.operator((wanted, frame.rows, frame.columns), known)
    sigma = task.noise
    notes += kind.notes(task.sigma, sigma)
    if task.simulate:
        noise = NoiseSource([derived_seed(seed, "noise")])
        measurement = kind.simulated(picture, operator, frame, sigma, noise)
    else:
        measurement = Measurement(kind.measured(picture, operator, frame, sigma), operator, sigma)
    if grey:
        coloured = Achromatic(operator)
        measurement = Measurement(coloured.measured(measurement.y), coloured, measurement.sigma)
    original = picture if task.simulate else None
    given = None if share is None else picture
    return Problem(measurement, original, tuple(notes), frame, task, given, share)


def _fitted(
    task: Task, picture: Tensor, mask: Tensor | None, prior_shape: Shape
) -> tuple[Task, Tensor, Tensor | None, list[str]]:
    """Task, picture and mask as ``task.fit`` has them, and what is to be said of that."""
    if not task.fit:
        return task, picture, mask, []
    task.kind.check_fit(prior_shape)
    f = 1 if task.simulate else task.kind.factor
    height, width = (side // f for side in prior_shape[1:])
    if tuple(picture.shape[1:]) == (height, width):
        return task, picture, mask, []
    kind, fitted = task.kind.fitted(picture, height, width, shrink=task.simulate)
    mask = None if mask is None else fit_to(mask, height, width, shrink=task.simulate)
    how = "shrunk" if task.simulate else "cropped to its centre (--simulate would shrink it)"
    if kind is not task.kind:  # it tells by itself what it did
        return replace(task, known=kind), fitted, mask, []
    return task, fitted, mask, [f"{how}, from {_size(picture)} to {_size(fitted)}"]


def _estimated(task: Task, picture: Tensor, mask: Tensor | None) -> tuple[Task, str]:
    """The task with sigma as the picture itself tells it, and that in words.

    Raises:
        ImageError: nothing can be estimated, or no noise was found where there must be some.
    """
    from restoration.tasks.estimating import LEAST, estimated

    if mask is not None and task.kind.planes(picture).shape[1:] != picture.shape[1:]:
        raise ValueError(f"sigma cannot be estimated (--sigma auto) for {task.name}: give a number")
    found = estimated(task.kind.planes(picture), None if mask is None else known_pixels(mask))
    if task.kind.needs_sigma and found.sigma < LEAST:
        raise ImageError("no noise is found in the picture: give --sigma a number, if there is any")
    return replace(task, sigma_auto=False, sigma=found.sigma), found.told


def _known(frame: Frame, factor: int, mask: Tensor | None, seed: int, simulate: bool) -> Tensor:
    """True where what was measured is known, in the whole frame; of a shrunk picture in its own pixels."""
    small = frame.shrunk(factor)
    if mask is None:
        return small.pad(half_of_the_pixels(small.height, small.width, seed))
    known = known_pixels(mask, least=0.5 if simulate else TOUCHED)
    if simulate and factor > 1:  # the mask is of the clean picture: a small pixel is known where most of it is
        return functional.avg_pool2d(frame.pad(known)[None].float(), factor)[0] > 0.5
    return small.pad(known)


def _check_mask(task: Task, picture: Tensor, mask: Tensor | None) -> None:
    kind = task.kind
    if mask is not None and not kind.takes_mask:
        raise ValueError(f"a mask is for {MASKED}: got one for {task.name}")
    if kind.takes_mask and mask is None and not task.simulate:
        raise ValueError(f"{task.name} needs a mask whose white marks what to fill (--mask)")
    if mask is not None and mask.shape[1:] != picture.shape[1:]:
        raise ImageError(f"the mask must have the picture's size, {_size(picture)}: got {_size(mask)}")


def _note_of_holes(known: Tensor, window: int) -> list[str]:
    """What is to be said of holes that are wider than what the prior sees at once."""
    wide = width_of_holes(known)
    if wide <= window:
        return []
    return [f"a hole is {wide:.0f} pixels wide, and the prior sees {window} at once: its middle is made up"]


def _frame(task: Task, picture: Tensor, prior_shape: Shape) -> Frame:
    """Of the restored picture in one that the prior, in tiles, and the operator can take."""
    kind = task.kind
    scale = 1 if task.simulate else kind.factor
    height, width = picture.shape[1] * scale, picture.shape[2] * scale
    kind.check_size(height, width, _size(picture))
    around = 0 if task.fit else 2 * kind.margin
    # Fourier transforms take several times longer where a side is a prime.
    rows, columns = (-(-(side + around) // SMOOTH) * SMOOTH if around else side for side in (height, width))
    frame = Frame.around(height, width, (max(prior_shape[1], rows), max(prior_shape[2], columns)), kind.multiple)
    if frame.rows * frame.columns > MOST_PIXELS:
        raise ValueError(
            f"factor must leave at most {MOST_PIXELS} pixels to restore: got {kind.factor} for {_size(picture)}"
        )
    return frame


def with_channels(picture: Tensor, channels: int) -> tuple[Tensor, list[str]]:
    """The picture in so many channels, 1 or 3, and what is to be said of that."""
    if len(picture) == channels:
        return picture, []
    if len(picture) == 1:
        return picture.expand(channels, -1, -1).clone(), []
    notes = ["has colour; its channels' mean is used"] if coloured(picture) else []
    return picture.mean(dim=0, keepdim=True), notes


def coloured(picture: Tensor) -> bool:
    """Whether the channels of a picture (C, H, W) differ by more than JPEG's rounding."""
    return float((picture - picture.mean(dim=0)).abs().max()) > 2 / 255


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
