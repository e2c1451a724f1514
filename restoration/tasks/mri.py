"""Faster MRI: a part of a single coil's k-space is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from restoration.pictures.frame import Frame
    from restoration.pictures.kspace import KSpace
    from restoration.pictures.picture import Picture

ACCELERATION, MOST_ACCELERATION = 4.0, 64.0
EQUISPACED, RANDOM, POISSON = "equispaced", "random", "poisson"
DRAWN = (EQUISPACED, RANDOM, POISSON)
"""Kinds of masks that a seed decides; ``restoration.tasks.kspace_masks`` has them."""
CALIBRATED = 1.15
"""Up to which factor a share of k-space may differ from that of a calibration that is to hold."""
SUFFIXES = (".h5", ".hdf5", ".mrd")
"""Of files that hold k-space."""


@dataclass(frozen=True)
class Mri(Kind):
    """A keeps some values of the centred k-space of a real image: magnitudes, as :class:`FourierSampling` has it.

    The name may hold the acceleration, as "mri4".

    Args:
        acceleration: k-space has so many times more values than are measured; 4 where there must be one.
        center_fraction: share of the lines in the middle that are all measured; None is 0.32 / acceleration.
        mask_kind: "equispaced", "random", "poisson", or a picture whose white marks what is measured.
        slice: of a file of several, counted from 0; None is the middle one.
        seed: decides the mask.
        kspace: of the file that is restored.
    """

    names = ("mri", "mri4", "mri8")
    others = "or another acceleration"
    help = "a faster scan's k-space: fastMRI or ISMRMRD HDF5, or a magnitude picture with --simulate"
    options = ("acceleration", "center_fraction", "mask_kind", "slice")

    acceleration: float | None = None
    center_fraction: float | None = None
    mask_kind: str | None = None
    slice: int | None = None
    seed: int = field(default=0, compare=False)
    kspace: KSpace | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        found = re.fullmatch(r"mri([1-9][0-9]?)?", name)
        return cls(acceleration=float(found[1]) if found[1] else None) if found else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import FourierSampling

        if not isinstance(measurement.operator, FourierSampling):
            return None
        acceleration = 1 / max(float(measurement.operator.kept.float().mean()), 1e-6)
        near = [4, 8]
        return next((f"mri{n}" for n in near if n / CALIBRATED <= acceleration <= n * CALIBRATED), None)

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        if self.acceleration is not None and not 1 < self.acceleration <= MOST_ACCELERATION:
            raise ValueError(
                f"acceleration must be above 1 and at most {MOST_ACCELERATION:g}: got {self.acceleration:g}"
            )
        if self.center_fraction is not None and not 0 < self.center_fraction < 1:
            raise ValueError(f"center_fraction must be between 0 and 1: got {self.center_fraction:g}")
        if self.slice is not None and self.slice < 0:
            raise ValueError(f"slice must be at least 0: got {self.slice}")
        drawn = self.mask_kind in (None, *DRAWN)
        if not drawn and not Path(str(self.mask_kind)).is_file():
            raise ValueError(
                f"mask_kind must be {', '.join(DRAWN)} or a picture's file: got {self.mask_kind!r} (--mask-kind)"
            )
        if not drawn and (self.acceleration is not None or self.center_fraction is not None):
            raise ValueError("acceleration and center_fraction are for masks that are drawn, not for a given one")
        if drawn and self.center_fraction is not None:
            share = self.center_fraction**2 if self.mask_kind == POISSON else self.center_fraction
            rate = self.acceleration or ACCELERATION
            if share * rate > 1:
                raise ValueError(
                    f"center_fraction must leave lines to be dropped: got {self.center_fraction:g} at "
                    f"acceleration {rate:g}; usual is {usual_centre(rate):.2g} (--center-fraction)"
                )

    @property
    def drops(self) -> bool:
        """Whether a part of k-space is to be dropped that was there: of a file only where it was asked for."""
        asked = (self.acceleration, self.center_fraction, self.mask_kind)
        return self.kspace is None or any(one is not None for one in asked)

    def drawn(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def mask(self, rows: int, columns: int) -> Tensor:
        """(rows, columns), True where k-space is measured, frequency 0 in the middle."""
        import torch

        from restoration.errors import ImageError
        from restoration.tasks.kspace_masks import from_file, kept

        there = None if self.kspace is None else self.kspace.measured
        if there is not None and tuple(there.shape) != (rows, columns):
            raise ImageError(
                f"k-space of {there.shape[1]}×{there.shape[0]} is smaller than the prior's pictures, "
                f"{columns}×{rows}: take a prior of smaller ones"
            )
        if self.mask_kind not in (None, *DRAWN):
            mask = from_file(Path(str(self.mask_kind)), rows, columns)
        elif self.drops:
            rate = self.acceleration or ACCELERATION
            centre = self.center_fraction or usual_centre(rate)
            mask = kept(self.mask_kind or EQUISPACED, rows, columns, rate, centre, self.seed)
        else:
            mask = torch.ones(rows, columns, dtype=torch.bool)
        return mask if there is None else mask & there

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import FourierSampling

        return FourierSampling(shape, self.mask(*shape[1:]))

    def suffixes(self, simulate: bool) -> tuple[str, ...]:
        """Of k-space, and with ``simulate`` of pictures too."""
        return (*SUFFIXES, *super().suffixes(simulate)) if simulate else SUFFIXES

    def read(self, path: Path) -> Picture:
        from restoration.pictures import kspace

        return kspace.picture(path, self.slice) if path.suffix.lower() in SUFFIXES else super().read(path)

    def opened(self, path: Path, picture: Tensor) -> tuple[Self, Tensor]:
        """The task with the file's k-space, and the magnitude picture of all that it holds.

        Raises:
            ImageError: a picture, which holds no k-space: ``simulate`` makes it of one.
        """
        from restoration.errors import ImageError
        from restoration.pictures import kspace

        if path.suffix.lower() not in SUFFIXES:
            raise ImageError(f"{path}: holds no k-space; of a clean magnitude picture --simulate measures some")
        found = kspace.read(path, self.slice)
        opened = replace(self, kspace=replace(found, notes=()))  # the picture has them
        if bool(found.measured.all()) and not opened.drops:
            raise ImageError(f"{path}: its k-space is whole: --acceleration 4 leaves a part to restore from")
        return opened, found.magnitude

    def fitted(self, picture: Tensor, height: int, width: int, *, shrink: bool) -> tuple[Self, Tensor]:
        if self.kspace is None:
            return super().fitted(picture, height, width, shrink=shrink)
        cropped = self.kspace.cropped(height, width)
        return replace(self, kspace=cropped), cropped.magnitude

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        import torch

        from degradations import FourierSampling

        assert self.kspace is not None  # opened
        assert isinstance(operator, FourierSampling)
        mask = torch.fft.fftshift(operator.kept, (-2, -1))
        y: Tensor = self.kspace.y.to(mask) * mask
        return y[None]

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        """At least the imaginary part that is left of a file's picture: a real image does not explain it."""
        told = 0.0 if self.kspace is None else self.kspace.imaginary
        return max(sigma or 0.0, told)

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        return [] if self.kspace is None else self.kspace.told(noise > (sigma or 0.0))

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """Zero-filled: what is not measured is 0."""
        from degradations import FourierSampling

        assert isinstance(operator, FourierSampling)
        return operator.zero_filled(y[None])[0]

    def record(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.options if getattr(self, name) is not None}
        if self.mask_kind is not None and self.mask_kind not in DRAWN:
            from restoration.pictures import outputs

            given["mask_kind_sha256"] = outputs.sha256(Path(self.mask_kind))
        if self.kspace is not None:
            given["white_is"] = self.kspace.white
        return given


def usual_centre(acceleration: float) -> float:
    """fastMRI's share of columns in the middle: 0.08 at acceleration 4, 0.04 at 8."""
    return 0.32 / acceleration
