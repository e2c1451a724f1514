"""Pixels of a preview that somebody has said are right: a run that begins anew takes them as measured."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from degradations import Achromatic, Colorization, ColourHints, Inpainting, Measurement, hinted
from nested import NestedState
from nested.record import digest
from restoration.errors import ImageError
from restoration.pictures import images, outputs
from restoration.tasks import Problem, mask_of
from restoration.tasks.masks import TOUCHED
from solvers.units import from_model

FITS = 0.01
"""RMSE in [0, 1] beyond three times its noise up to which a preview fits a measurement."""


def remembered(measurement: Measurement, image: Tensor, right: Tensor) -> Measurement:
    """A measurement that holds, beside what was measured, what is right in a picture.

    Missing pixels become known ones, as noisy as the others; missing colours become exact hints. Both leave a
    singular value decomposition that is cheap. What was measured stands.

    Args:
        measurement: of one image, in [0, 1] units.
        image: (C, H, W) in [0, 1], of the operator's size.
        right: (H, W), True where it is right.

    Raises:
        ValueError: another degradation than missing pixels or colours, other sizes, or marks that say nothing of
            what is missing, or all.
    """
    operator, y, sigma = measurement.operator, measurement.y, measurement.sigma
    if tuple(image.shape) != operator.image_shape or tuple(right.shape) != operator.image_shape[1:]:
        raise ValueError(
            f"image and right must be {operator.image_shape} and {operator.image_shape[1:]}: "
            f"got {tuple(image.shape)} and {tuple(right.shape)}"
        )
    if isinstance(operator, Achromatic):
        plane = Measurement(operator.plane(y), operator.inner, sigma)
        plane = remembered(plane, image.mean(dim=0, keepdim=True), right)
        grey = Achromatic(plane.operator)
        return Measurement(grey.measured(plane.y), grey, sigma)
    missing, where, image = missing_of(measurement), right.bool().to(y.device), image.to(y)
    taken = missing & where
    if not bool(taken.any()):
        raise ValueError("right marks nothing of what is missing: all of it would be made again")
    if bool((taken == missing).all()):
        raise ValueError("right marks all that is missing: nothing is left to restore")
    if isinstance(operator, Inpainting):
        known = Inpainting(operator.image_shape, (~missing | where).cpu()).to(y.device)
        return Measurement(torch.where(taken, image, y), known, sigma)
    return hinted(measurement, image, torch.where(where, 0.0, math.inf).to(y))


def missing_of(measurement: Measurement) -> Tensor:
    """(1 or C, H, W), True where a pixel, or its colour, was not measured.

    Raises:
        ValueError: of another degradation, which leaves no pixel unmeasured by itself.
    """
    operator = measurement.operator
    operator = operator.inner if isinstance(operator, Achromatic) else operator
    values = operator.singular_values
    if isinstance(operator, Inpainting):
        return (values == 0).reshape(values.shape[-3:])
    if isinstance(operator, Colorization) and not isinstance(operator, ColourHints):
        return torch.ones(1, *operator.image_shape[1:], dtype=torch.bool, device=values.device)
    raise ValueError(
        f"what is right can be measured where pixels or colours are missing: got {type(operator).__name__}; "
        "an edit says it softly"
    )


@dataclass(frozen=True, eq=False)
class Marks:
    """What somebody has said of a stored run's newest completed preview.

    Args:
        preview: (C, H, W) in [0, 1], of the operator's size.
        nfe: evaluations that the preview took.
        right, wrong: (H, W) of the picture's size, True where it is that; None: not said. Without ``right`` all is
            right that is not wrong.
        record: what outputs record of it.
        name: of the state, for messages.
    """

    preview: Tensor
    nfe: int
    right: Tensor | None
    wrong: Tensor | None
    record: dict[str, Any]
    name: str = "the state"

    @classmethod
    def read(cls, state: NestedState, right: Path | None, wrong: Path | None, name: str) -> Marks:
        """From mask files, white where the preview is so.

        Raises:
            ImageError: a file that is no mask.
            ValueError: a state without a completed preview, or of several pictures.
        """
        if state.x0 is None or len(state) != 1:
            why = "has come to no preview yet" if state.x0 is None else f"is of {len(state)} pictures"
            raise ValueError(f"--right and --wrong are of one picture's preview: {name} {why}")
        preview = from_model(state.x0[0]).clamp(0, 1)
        record = {
            "preview": digest(preview),
            "right": None if right is None else outputs.sha256(right),
            "wrong": None if wrong is None else outputs.sha256(wrong),
        }
        pair = _mask(right, 0.5), _mask(wrong, TOUCHED)
        return cls(preview, state.nfe, *pair, record, name)

    def beside(self, state: Path, seed: int | None) -> Path:
        """The file for the run that takes the marks, named by what was marked and the seed that was asked for."""
        told = hashlib.sha256(repr((sorted(self.record.items()), seed)).encode()).hexdigest()
        return state.with_name(f"{state.stem}-{told[:8]}{state.suffix}")

    def put_on(self, problem: Problem) -> Problem:
        """The problem with what is right as measured, and a note that says how much that is.

        Raises:
            ImageError: marks of another size than the preview's, or a preview of something else.
            ValueError: marks that leave everything as it is, or nothing to restore.
        """
        measurement, frame = problem.measurement, problem.frame
        for mask in (self.right, self.wrong):
            if mask is not None and tuple(mask.shape) != (frame.height, frame.width):
                raise ImageError(
                    f"marks must have the preview's size, {frame.width}×{frame.height}: "
                    f"got {mask.shape[1]}×{mask.shape[0]}"
                )
        self._refuse_other(measurement)
        right = torch.ones(frame.height, frame.width, dtype=torch.bool) if self.right is None else self.right
        right = right if self.wrong is None else right & ~self.wrong
        missing = frame.crop(missing_of(measurement)).any(dim=0).cpu()
        # what lies around the picture in the frame is its reflection, and is taken to be so here, too
        picture = frame.pad(frame.crop(self.preview))
        measured = remembered(measurement, picture, frame.pad(right))
        what = "missing pixels" if isinstance(measured.operator, Inpainting | Achromatic) else "colours"
        taken, of = int((right & missing).sum()), int(missing.sum())
        told = [f"{taken} of {of} {what} are taken as they are at {self.nfe} evaluations"]
        if self.wrong is not None and (stands := int((self.wrong & ~missing).sum())):
            told.append(
                f"{stands} pixels that are marked wrong were measured, and stand (--mask marks what to fill)"
            )
        return replace(problem, measurement=measured, notes=(*problem.notes, *told))

    def _refuse_other(self, measurement: Measurement) -> None:
        operator = measurement.operator
        other = ImageError(
            f"{self.name} is not of this picture: its preview does not fit what was measured; repeat the options "
            "of its run (--simulate needs its --seed; a trusted edit is no part of what was measured)"
        )
        if tuple(self.preview.shape) != operator.image_shape:
            raise other
        y = measurement.y
        off = (operator(self.preview[None].to(y)) - y).double().square().sum()
        count = (operator.singular_values > 0).expand(1, *operator.image_shape).sum()
        if float((off / count).sqrt()) > 3 * float(torch.as_tensor(measurement.sigma).max()) + FITS:
            raise other


def _mask(path: Path | None, least: float) -> Tensor | None:
    if path is None:
        return None
    mask, _ = mask_of(images.read(path), str(path))
    return mask[0] >= least
