"""Demosaicing: a grey picture whose pixels each hold one colour is measured."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator


@dataclass(frozen=True)
class Demosaic(Kind):
    """A keeps one colour of every pixel, by a Bayer pattern.

    Args:
        pattern: of the picture's first 2 × 2 pixels, row by row, e.g. "RGGB".
    """

    names = ("demosaic",)
    help = "colour a sensor's mosaic of --pattern"
    options = ("pattern",)
    needs = MappingProxyType({"pattern": "RGGB, BGGR, GRBG or GBRG"})

    pattern: str | None = None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        super().check(sigma, simulate, fit)
        self.operator((3, 2, 2), None)  # says so where the pattern is none

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Mosaic

        return Mosaic(shape, str(self.pattern))

    @property
    def multiple(self) -> int:
        """The pattern lies in the padded picture as it did; a reflection at a pixel keeps it."""
        return 2

    def planes(self, picture: Tensor) -> Tensor:
        """One for each place in the pattern, which holds one colour."""
        import torch

        rows, columns = picture.shape[1] // 2 * 2, picture.shape[2] // 2 * 2
        return torch.cat([picture[:, i:rows:2, k:columns:2] for i in (0, 1) for k in (0, 1)])

    def measured_channels(self, channels: int) -> int:
        return 1
