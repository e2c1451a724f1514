"""Demosaicing: a grey picture whose pixels each hold one colour is measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from restoration.pictures.dng import Layout
    from restoration.pictures.picture import Picture

DNG = "dng"


@dataclass(frozen=True)
class Demosaic(Kind):
    """A keeps one colour of every pixel, by a Bayer pattern.

    Args:
        pattern: of the picture's first 2 × 2 pixels, row by row, e.g. "RGGB"; "dng" of a DNG, which tells its own.
        layout: of the DNG that is restored.
    """

    names = ("demosaic",)
    help = "colour a sensor's mosaic of --pattern"
    options = ("pattern",)
    needs = MappingProxyType({"pattern": "RGGB, BGGR, GRBG, GBRG, or dng of a DNG file"})

    pattern: str | None = None
    layout: Layout | None = field(default=None, compare=False, repr=False)

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        super().check(sigma, simulate, fit)
        if self.pattern == DNG and simulate:
            raise ValueError("pattern dng is of a DNG file that was measured: with simulate, tell one (--pattern)")
        if self.pattern != DNG:
            self.operator((3, 2, 2), None)  # says so where the pattern is none

    def suffixes(self, simulate: bool) -> tuple[str, ...]:
        return super().suffixes(simulate) if self.pattern != DNG else (".dng",)

    def read(self, path: Path) -> Picture:
        if self.pattern != DNG:
            return super().read(path)
        from restoration.pictures import dng

        return dng.read(path)[0]

    def opened(self, path: Path, picture: Tensor) -> tuple[Self, Tensor]:
        """As in the base class; ImageError for a picture in colour, which no mosaic is."""
        from restoration.errors import ImageError
        from restoration.tasks.posing import coloured

        if coloured(picture):
            raise ImageError(f"{path}: has colour, and demosaic reads a grey mosaic; --simulate makes one of it")
        if self.pattern != DNG:
            return self, picture
        from restoration.pictures import dng

        return replace(self, layout=dng.read(path)[1]), picture

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Mosaic

        return Mosaic(shape, str(self.pattern) if self.layout is None else self.layout.pattern)

    @property
    def multiple(self) -> int:
        """The pattern lies in the padded picture as it did; a reflection at a pixel keeps it."""
        return 2

    def planes(self, picture: Tensor) -> Tensor:
        """One for each place in the pattern, which holds one colour."""
        import torch

        rows, columns = picture.shape[1] // 2 * 2, picture.shape[2] // 2 * 2
        return torch.cat([picture[:, i:rows:2, k:columns:2] for i in (0, 1) for k in (0, 1)])

    def turned(self, pictures: Tensor) -> Tensor:
        return pictures if self.layout is None else self.layout.upright(pictures)

    def measured_channels(self, channels: int) -> int:
        return 1
