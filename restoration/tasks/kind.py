"""What every task must say of itself, and what most of them say alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:  # torch loads with the first picture: help texts name the tasks
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from degradations.measurement import NormalSource
    from restoration.pictures.frame import Frame
    from restoration.pictures.picture import Picture

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Kind(ABC):
    """One degradation: its names, its operator, and how a picture becomes its measurement.

    A new task is one subclass in a file of its own, and one entry in ``restoration.tasks.registry.KINDS``.

    Args:
        factor: how many times smaller than the restored picture the measured one is, per side.
    """

    names: ClassVar[tuple[str, ...]]
    """The names that help texts and error messages list."""
    others: ClassVar[str] = ""
    """What else ``parse`` takes, for help texts: "or another factor"."""
    help: ClassVar[str]
    """What restoring does, in a few words."""
    takes_mask: ClassVar[bool] = False
    takes_strokes: ClassVar[bool] = False
    takes_marks: ClassVar[bool] = False
    """Whether what is right in a preview can be measured from then on."""
    needs_sigma: ClassVar[bool] = False
    takes_sigma: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ()
    """Fields that ``Task`` and the command let the user set, such as "kernel"."""
    needs: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Of them, those that must be set, and how they are written."""
    padding: ClassVar[str] = "by reflection"
    """How a picture is padded, in words."""

    factor: int = 1

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The task of that name; None where the name is not one of this kind's."""
        return cls() if name in cls.names else None

    @classmethod
    @abstractmethod
    def key(cls, measurement: Measurement) -> str | None:
        """The task's name under which a prior's calibration holds for the measurement, whoever built its operator.

        None where the measurement is not of this kind, or not like those that were calibrated. The noise is not
        looked at: ``restoration.priors.calibration`` compares it for all tasks alike.
        """

    @abstractmethod
    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        """The degradation of images (C, H, W).

        Args:
            shape: of the restored image.
            known: (H, W), True where the picture is known; given where ``takes_mask``.
        """

    def with_options(self, given: Mapping[str, Any]) -> Self:
        """The task with some of its options set."""
        return replace(self, **given)

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        """ValueError where an option is missing or wrong, or does not go with what else the task was told."""
        for name, usage in self.needs.items():
            if getattr(self, name) is None:
                raise ValueError(f"{self.names[0]} needs {name}: {usage} (--{name})")

    def suffixes(self, simulate: bool) -> tuple[str, ...]:
        """Lower-case suffixes of the files in a folder that are restored."""
        from restoration.pictures import images

        return images.SUFFIXES

    def read(self, path: Path) -> Picture:
        """A file's picture; ImageError for a file that cannot be used."""
        from restoration.pictures import images

        return images.read(path)

    def opened(self, path: Path, picture: Tensor) -> tuple[Self, Tensor]:
        """The task, with what a file tells of it, and the file's picture (C, H, W) in [0, 1] as it is to be posed.

        Args:
            picture: as it was read, upright.

        Raises:
            ImageError: a file that cannot be used.
        """
        return self, picture

    def drawn(self, seed: int) -> Self:
        """The task, with what of it is drawn at random, by a seed that decides it on any device alike."""
        return self

    def fitted(self, picture: Tensor, height: int, width: int, *, shrink: bool) -> tuple[Self, Tensor]:
        """The task, and its picture (C, H, W) cropped and, with ``shrink``, resampled to a size.

        Raises:
            ImageError: the picture is smaller.
        """
        from restoration.tasks.posing import fit_to

        return self, fit_to(picture, height, width, shrink=shrink)

    def degrading(self, picture: Tensor) -> Self:
        """The task, with what degrading a clean picture (C, H, W) tells of it."""
        return self

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        """What the user should know, who gave that sigma, of a measurement taken to have that noise."""
        return []

    def record(self) -> dict[str, Any]:
        """What outputs record of the options."""
        return {name: getattr(self, name) for name in self.options if getattr(self, name) is not None}

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        """σ of the measurement, in its units, where the user gave that sigma."""
        return sigma or 0.0

    @property
    def margin(self) -> int:
        """How many pixels around the picture have to be restored with it, without ``fit``."""
        return 0

    @property
    def multiple(self) -> int:
        """What must divide the sides of the restored image; pictures are padded to it."""
        return self.factor

    def check_fit(self, shape: Shape) -> None:
        """Check that images of a prior's shape can be restored without padding; ValueError where they cannot."""
        _, height, width = shape
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"fit needs a prior whose height and width {self.multiple} divides: got {width}×{height}; "
                "leave fit away, or choose another prior"
            )

    def check_size(self, height: int, width: int, given: str) -> None:
        """Check that a restored picture of that size can be posed; ValueError where it cannot.

        Args:
            given: size of the picture that was given, for the message.
        """
        if self.factor > min(height, width):
            raise ValueError(f"factor must be at most the picture's smaller side: got {self.factor} for {given}")

    def measured_channels(self, channels: int) -> int:
        """How many channels a measured picture has, of a restored one that has ``channels``."""
        return channels

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        """The measurement y (1, C', H', W') that a measured picture (C', H', W') is.

        Args:
            frame: where the restored picture lies in the operator's image.
            sigma: of the measurement's noise.
        """
        return frame.shrunk(self.factor).pad(picture)[None]

    def simulated(
        self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float, noise: NormalSource
    ) -> Measurement:
        """The measurement of a clean picture (C, H, W)."""
        from degradations import simulate

        return simulate(frame.pad(picture)[None], operator, sigma, noise=noise)

    def settled(self, images: Tensor, measurement: Measurement) -> Tensor:
        """Restored images (B, C, H, W) in [0, 1], moved to what is known of them beyond the measurement."""
        return images

    def turned(self, pictures: Tensor) -> Tensor:
        """Cropped pictures (..., C, H, W) as they are to be seen."""
        return pictures

    def unturned(self, pictures: Tensor) -> Tensor:
        """The inverse of :meth:`turned`."""
        return pictures

    def facts(self, picture: Tensor) -> dict[str, float]:
        """What can be told of a restored picture (C, H, W) by itself, by name."""
        return {}

    def planes(self, picture: Tensor) -> Tensor:
        """A measured picture (C', H', W') as planes of neighbours (N, H, W), to estimate its noise from."""
        return picture

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """A measurement y (C', H', W') as a picture (C, H, W) of the restored image's size."""
        from torch.nn import functional

        channels, height, width = operator.image_shape
        return functional.interpolate(y[None], (height, width)).expand(1, channels, -1, -1)[0]
