"""From values to places on an axis, and the round numbers written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A stretch of values laid over a stretch of places.

    Args:
        low, high: values at the two ends, low < high; both positive where ``log``.
        start, end: their places.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self._of(self.low), self._of(self.high)
        return self.start + (self.end - self.start) * (self._of(value) - low) / (high - low)

    def _of(self, value: float) -> float:
        return math.log(value) if self.log else value


def covering(values: list[float], start: float, end: float, *, log: bool = False) -> Scale:
    """A scale a little wider than its values; those it cannot show (not finite, or not positive where `log`) are
    left out."""
    shown = [value for value in values if showable(value, log=log)] or [1.0]
    low, high = min(shown), max(shown)
    if log:
        margin = max((high / low) ** 0.05, 1.05)
        return Scale(low / margin, high * margin, start, end, log=True)
    margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    return Scale(low - margin if low < 0 or low - margin > 0 else 0.0, high + margin, start, end)


def showable(value: float, *, log: bool) -> bool:
    """Whether a value has a place."""
    return math.isfinite(value) and (value > 0 or not log)


def ticks(scale: Scale, count: int = 5) -> list[float]:
    """About so many round numbers of the scale."""
    if scale.log:
        decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [step * 10.0**decade for decade in decades for step in steps]
            found = [value for value in found if scale.low <= value <= scale.high]
            if len(found) >= min(count, 4):
                return found
    raw = (scale.high - scale.low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * 0.999)
    first = math.ceil(scale.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def spread(places: list[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved as little as it takes to stand `gap` apart between `low` and `high`, in their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    moved = list(places)
    floor = low
    for i in order:
        moved[i] = floor = max(moved[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        moved[i] = ceiling = min(moved[i], ceiling)
        ceiling -= gap
    return moved
