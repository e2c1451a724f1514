"""Windows: which of a scan's units are black and white."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

USAGE = "C,W in the scan's units, as 40,80; two percentiles, as p0.5,p99.5; or full"


@dataclass(frozen=True)
class Window:
    """The units that are 0 and 1 where a scan is restored.

    Args:
        low, high: in the scan's units, finite, low below high.

    Raises:
        ValueError: other numbers.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a window must be two finite units, low below high: got {self.low:g} and {self.high:g}"
            )

    @classmethod
    def centred(cls, centre: float, width: float) -> Window:
        """``width`` units around a centre: low is centre − width/2, high is centre + width/2."""
        return cls(centre - width / 2, centre + width / 2)

    @property
    def width(self) -> float:
        """high − low."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class WindowChoice:
    """How a scan's window is chosen.

    Args:
        kind: "units", "percentiles" or "full".
        first, second: centre and width in units, or the two percentiles.
    """

    kind: str = "full"
    first: float = 0.0
    second: float = 100.0

    @classmethod
    def parse(cls, text: str | None) -> WindowChoice:
        """What ``--window`` was given; None is all of the scan's range.

        Raises:
            ValueError: it is none of the ways to tell a window.
        """
        if text is None or text.strip().lower() == "full":
            return cls()
        first, comma, second = (part.strip().lower() for part in text.partition(","))
        percentiles = first.startswith("p") and second.startswith("p")
        try:
            a, b = (float(part.removeprefix("p") if percentiles else part) for part in (first, second))
        except ValueError:
            a = b = math.nan
        if percentiles and 0 <= a < b <= 100:
            return cls("percentiles", a, b)
        if not percentiles and comma and math.isfinite(a) and 0 < b < math.inf:
            return cls("units", a, b)
        raise ValueError(f"--window must be {USAGE}: got {text!r}")

    def of(self, units: npt.NDArray[Any]) -> Window:
        """The window of these units, which are all that count."""
        if self.kind == "units":
            return Window.centred(self.first, self.second)
        if not units.size:
            return Window(0.0, 1.0)
        low, high = (float(value) for value in np.percentile(units, (self.first, self.second)))
        return Window(low, high) if low < high else Window(low, low + max(1.0, abs(low) * 1e-6))

    def __str__(self) -> str:
        mark = "p" if self.kind == "percentiles" else ""
        return "full" if self.kind == "full" else f"{mark}{self.first:g},{mark}{self.second:g}"
