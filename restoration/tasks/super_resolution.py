"""Super-resolution: a picture with a factor fewer pixels a side is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from restoration.tasks.framed import Framed
from restoration.tasks.kind import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator

BOX = "box"


@dataclass(frozen=True)
class Enlarge(Framed):
    """A shrinks by a whole factor, 1 to 9999: by default to the mean of every factor × factor block.

    The name is "sr" and the factor, and may end in its kernel, as "sr4-bicubic".

    Args:
        kernel: what the small picture was made with: "box", "bicubic", "lanczos", "gaussian:1.2" or a file.
    """

    names = ("sr2", "sr4", "sr8", "sr16")
    others = "or another factor"
    help = "enlarge"
    options = ("kernel",)

    kernel: str | None = None

    @classmethod
    def parse(cls, name: str) -> Self | None:
        found = re.fullmatch(r"sr([1-9][0-9]{0,3})(?:-(bicubic|lanczos))?", name)
        return cls(int(found[1]), found[2]) if found else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import SuperResolution

        operator = measurement.operator
        return f"sr{operator.factor}" if isinstance(operator, SuperResolution) else None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        super().check(sigma, simulate, fit)
        _ = self.weights

    @cached_property
    def weights(self) -> Tensor | None:
        """The kernel, (h, w) with sum 1; None where blocks are averaged."""
        from restoration.tasks.kernels import shrinking_kernel

        return None if self.kernel in (None, BOX) else shrinking_kernel(str(self.kernel), self.factor)

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Downsampling, SuperResolution

        if self.weights is None:
            return SuperResolution(shape, self.factor)
        return Downsampling(shape, self.factor, self.weights)

    @property
    def reach(self) -> int | None:
        return None if self.weights is None else -(-(max(self.weights.shape) - self.factor) // 2)

    def check_fit(self, shape: Shape) -> None:
        self.operator(shape, None)  # says so where the factor does not divide

    def check_size(self, height: int, width: int, given: str) -> None:
        from restoration.tasks.kernels import check_fits

        super().check_size(height, width, given)
        if self.weights is not None:
            check_fits(self.weights, str(self.kernel), height, width, given)

    def record(self) -> dict[str, Any]:
        from restoration.tasks.kernels import record_of

        return {} if self.weights is None else record_of(self.kernel, self.weights)
