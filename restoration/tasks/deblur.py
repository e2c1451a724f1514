"""Deblurring: a picture blurred by a known kernel is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from restoration.tasks.framed import Framed
from restoration.tasks.kind import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator


@dataclass(frozen=True)
class Deblur(Framed):
    """A convolves with a kernel. The name may hold it, as "deblur-gaussian-1.6".

    Args:
        kernel: what ``restoration.tasks.kernels`` takes, e.g. "gaussian:1.6" or a file.
    """

    names = ("deblur",)
    help = "undo the blur of --kernel"
    options = ("kernel",)
    needs = MappingProxyType(
        {"kernel": "gaussian:SIGMA, motion:LENGTH,ANGLE, disk:RADIUS, uniform:SIDE or a file"}
    )

    kernel: str | None = None

    @classmethod
    def parse(cls, name: str) -> Self | None:
        if name == "deblur":
            return cls()
        found = re.fullmatch(r"deblur-(gaussian|disk|uniform)-([0-9.]+)", name)
        return cls(kernel=f"{found[1]}:{found[2]}") if found else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        super().check(sigma, simulate, fit)
        _ = self.weights

    @cached_property
    def weights(self) -> Tensor:
        """The kernel, (h, w) of odd sides with sum 1."""
        from restoration.tasks.kernels import blur_kernel

        return blur_kernel(self.kernel or "")

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Blur

        return Blur(shape, self.weights)

    @property
    def reach(self) -> int:
        return max(self.weights.shape) // 2

    def check_size(self, height: int, width: int, given: str) -> None:
        from restoration.tasks.kernels import check_fits

        check_fits(self.weights, str(self.kernel), height, width, given)

    def record(self) -> dict[str, Any]:
        from restoration.tasks.kernels import record_of

        return record_of(self.kernel, self.weights)
