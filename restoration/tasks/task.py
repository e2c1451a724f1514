"""A task by name, with what it needs to know: what ``restore --task`` and the benchmarks' ``--tasks`` become."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind
from restoration.tasks.registry import OPTIONS, kind_of, takers

if TYPE_CHECKING:
    from torch import Tensor

    from restoration.pictures.picture import Picture

LARGEST_SIGMA = 4.0  # of noise that images.load still takes for a picture in [0, 1] units


@dataclass(frozen=True)
class Task:
    """A degradation by name, with what it needs to know.

    Args:
        name: one of ``TASKS``, or "sr" with any other factor.
        sigma: standard deviation of the measurement's noise, [0, 1] units; needed for "denoise".
        simulate: pictures are clean and get degraded first.
        fit: pictures are cropped (and, with ``simulate``, shrunk) to what the prior takes without tiles.
        sigma_auto: sigma is estimated in each picture.
        kernel: of "deblur": "gaussian:1.6", "motion:15,30", "disk:3", "uniform:9", or a file.
        quality: of "jpeg" with ``simulate``, 1 to 100.
        pattern: of "demosaic": "RGGB", "BGGR", "GRBG" or "GBRG", or "dng" of a DNG file.
        acceleration: of "mri": k-space has so many times more values than are measured.
        center_fraction: of "mri": share of its lines in the middle that are all measured.
        mask_kind: of "mri": "equispaced", "random", "poisson", or a picture whose white marks what is measured.
        slice: of "mri": which of a file's slices, counted from 0; the middle one unless given.
        known: the task with what a file told of it; :meth:`opened` sets it.

    Raises:
        ValueError: an unknown name; an option that is missing, wrong or not the task's; a sigma that is missing,
            negative or not finite.
    """

    name: str
    sigma: float | None = None
    simulate: bool = False
    fit: bool = False
    sigma_auto: bool = False
    kernel: str | None = None
    quality: int | None = None
    pattern: str | None = None
    acceleration: float | None = None
    center_fraction: float | None = None
    mask_kind: str | None = None
    slice: int | None = None
    known: Kind | None = None

    def __post_init__(self) -> None:
        kind = self.kind
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"sigma must be finite and ≥ 0: got {self.sigma}")
        if self.sigma is not None and self.sigma > LARGEST_SIGMA:
            raise ValueError(
                f"sigma is in [0, 1] units: got {self.sigma:g}; on a scale of 255 that is {self.sigma / 255:.3g}"
            )
        if self.sigma_auto and (self.sigma is not None or self.simulate or not kind.takes_sigma):
            why = "its noise is known" if not kind.takes_sigma else "it is in what was measured, not simulated"
            raise ValueError(
                f"sigma cannot be estimated (--sigma auto) for {self.name}: "
                f"{'it was given' if self.sigma is not None else why}"
            )
        if kind.needs_sigma and not self.sigma and not self.sigma_auto:
            raise ValueError(
                f"{self.name} needs sigma > 0, the noise's standard deviation in [0, 1] units (--sigma)"
            )

        kind.check(self.sigma, self.simulate, self.fit)

    @cached_property
    def kind(self) -> Kind:
        """What the task's own file says of it, with its options."""
        if self.known is not None:
            return self.known
        kind = kind_of(self.name)
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name) is not None}
        for name in given:
            if name not in kind.options:
                raise ValueError(f"{name} is for {takers(name)}, not for {self.name} (--{name})")
        return kind.with_options(given)

    def read(self, path: Path) -> Picture:
        """A file's picture with all that came with it, as :meth:`opened` is to have it.

        Raises:
            ImageError: a file that cannot be used.
        """
        return self.kind.read(path)

    def opened(self, path: Path, picture: Tensor | None = None) -> tuple[Task, Tensor]:
        """The task, with what a file tells of it, and the file's picture (C, H, W).

        Args:
            picture: as it was read; None reads it.

        Raises:
            ImageError: a file that cannot be used.
        """
        if picture is None:
            from restoration.pictures import images

            found = self.read(path)
            picture = found.pixels if found.alpha is None else images.load(path)  # which says what to do
        if self.simulate:  # whatever it is, it is clean
            return self, picture
        kind, picture = self.kind.opened(path, picture)
        return replace(self, known=kind), picture

    @property
    def noise(self) -> float:
        """σ of what is measured, in its units."""
        return self.kind.noise(self.sigma, self.simulate, self.fit)

    @property
    def factor(self) -> int:
        """How many times smaller than the restored picture the measured one is, per side."""
        return self.kind.factor
