"""Degradations of DDRM's paper and code that no picture of yours has had: for measurements, simulated only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator

THRESHOLD = 0.03
"""Singular values of a blur's one-dimensional matrices that count as 0, as in DDRM's code."""
BLURS: dict[str, tuple[tuple[float | None, int], tuple[float | None, int]]] = {
    "uniform": ((None, 9), (None, 9)),
    "gaussian": ((10, 5), (10, 5)),
    "anisotropic": ((1, 9), (20, 9)),
}
"""σ (None for a mean) and pixels of the kernel down the columns, and along the rows."""


@dataclass(frozen=True)
class Published(Kind):
    """A blurs with zeros beyond the frame ("deblur-uniform"), or keeps Walsh–Hadamard coefficients ("cs4").

    Args:
        blur: a name of ``BLURS``.
        compression: how many pixels there are for each measurement of compressed sensing.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, and its code.
    """

    names = ("deblur-uniform", "deblur-gaussian", "deblur-anisotropic", "cs4")
    others = "or another ratio"
    help = "simulated, as DDRM's paper has them"

    blur: str | None = None
    compression: int = 1

    @classmethod
    def parse(cls, name: str) -> Self | None:
        kernel = name.removeprefix("deblur-")
        if kernel != name and kernel in BLURS:
            return cls(blur=kernel)
        found = re.fullmatch(r"cs([1-9][0-9]{0,2})", name)
        return cls(compression=int(found[1])) if found else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        if not simulate:
            told = "is only for clean pictures (--simulate): for your own, take deblur --kernel"
            raise ValueError(f"{self.called} {told}")

    @property
    def called(self) -> str:
        """What users call it."""
        return f"cs{self.compression}" if self.blur is None else f"deblur-{self.blur}"

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import CompressedSensing, Separable
        from degradations.separable import convolution

        if self.blur is None:
            return CompressedSensing(shape, 1 / self.compression)
        down, across = (_weights(*side) for side in BLURS[self.blur])
        return Separable(shape, convolution(down, shape[1]), convolution(across, shape[2]), THRESHOLD)

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """Of a blur what was measured, of compressed sensing the picture of least norm."""
        return y if self.blur is not None else operator.pinv(y[None])[0]


def _weights(sigma: float | None, side: int) -> Tensor:
    import torch

    if sigma is None:
        return torch.full((side,), 1 / side)
    offsets = torch.arange(side) - side // 2
    bell = torch.exp(-(offsets**2) / (2 * sigma**2))
    return bell / bell.sum()
