"""Super-resolution: a picture with a factor fewer pixels a side is measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator


class Enlarge(Kind):
    """A is the mean of every factor × factor block; the name is "sr" and the factor, 1 to 9999."""

    names = ("sr2", "sr4", "sr8", "sr16")
    others = "or another factor"
    help = "enlarge"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        return cls(int(name[2:])) if re.fullmatch(r"sr[1-9][0-9]{0,3}", name) else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import SuperResolution

        operator = measurement.operator
        return f"sr{operator.factor}" if isinstance(operator, SuperResolution) else None

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import SuperResolution

        return SuperResolution(shape, self.factor)

    def check_fit(self, shape: Shape) -> None:
        self.operator(shape, None)  # says so where the factor does not divide
