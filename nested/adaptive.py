"""Effort that decides itself: how long inner runs are, by what is missing, and at each end whether one follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from nested.run import Run
    from solvers import Posterior

LEAST = 5
"""Evaluations of the shortest inner run worth showing: FIRE's on faces-64 is 0.5 dB below its best by then."""
POINTS, WIDE = 2.5, 4.5
"""Gaps up to so many pixels are filled by what is beside them; in wider ones than so many all is to be made up."""
LONG = 30
"""Evaluations of an inner run that makes up what lies in wide gaps."""


@dataclass(frozen=True)
class Ahead:
    """What is to come.

    Args:
        steps: inner steps of the outer steps to come; none where the run ends.
        levels: from which their inner runs start, and 0.
    """

    steps: tuple[int, ...]
    levels: tuple[int, ...]


@dataclass(frozen=True)
class Adaptive:
    """Fits a run to what is missing, and ends it once another inner run is expected to change too little.

    Where nothing is missing a few evaluations say all, single pixels are filled in three short inner runs, and
    wide gaps get longer ones. Each next one starts the higher the wider the gaps are (``Posterior.fitted``). At
    the end of each the run ends where less change is expected than the tolerance (:meth:`expects`). Decided is
    of one image, from its own run alone: the same after a stop and a resume.

    Args:
        tolerance: RMSE in [0, 1] units.
        most: evaluations at most.
        expected: (share of ``most`` spent, RMSE in [0, 1] units that the end is expected to differ by), shares
            rising: a prior's calibration; ``Restorer`` puts it in.

    Raises:
        ValueError: a tolerance below 0 or that is no number, fewer than one evaluation, shares that do not rise.
    """

    tolerance: float = 0.004
    most: int = 30
    expected: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.tolerance, bool) or not 0 <= self.tolerance < math.inf:
            raise ValueError(f"tolerance must be at least 0, an RMSE in [0, 1] units: got {self.tolerance}")
        if self.most != int(self.most) or self.most < 1:
            raise ValueError(f"most must be a whole number of at least 1: got {self.most}")
        points = tuple((float(share), float(change)) for share, change in self.expected)
        shares = [share for share, _ in points]
        if shares != sorted(set(shares)) or not all(
            math.isfinite(x) and x >= 0 for point in points for x in point
        ):
            raise ValueError(f"expected must be (share, RMSE), shares rising: got {self.expected}")
        object.__setattr__(self, "expected", points)

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        expected = [list(point) for point in self.expected]
        return {"tolerance": float(self.tolerance), "most": int(self.most), "expected": expected}

    @classmethod
    def heard(cls, told: Any) -> Adaptive:
        """From JSON; ValueError for what is none."""
        try:
            if not isinstance(told, Mapping) or set(told) != {"tolerance", "most", "expected"}:
                raise TypeError
            tolerance, most, expected = told["tolerance"], told["most"], told["expected"]
            if type(tolerance) not in (int, float) or type(most) is not int or not isinstance(expected, list):
                raise TypeError
            return cls(float(tolerance), most, tuple((float(share), float(change)) for share, change in expected))
        except (TypeError, ValueError):
            raise ValueError("its effort is none of ours") from None

    def asks_as(self, other: Adaptive) -> bool:
        """Whether both ask for the same, whatever calibrations expect."""
        return (self.tolerance, self.most) == (other.tolerance, other.most)

    def begin(self, sampler: Posterior) -> Ahead:
        """The first inner run, and at most what may follow, for a sampler of one image."""
        steps = split(self.most, sampler.width())
        return Ahead(steps, sampler.fitted(steps))

    def onward(self, run: Run, x0: Tensor) -> Ahead:
        """What follows the inner run that has ended at x₀ (1, C, H, W), in the prior's units.

        Args:
            run: as it was before its last answer.
            x0: what this has led to.
        """
        done = run.outer_step + 1
        changed = None
        if run.x0 is not None:
            changed = float((x0 - run.x0).double().square().mean().sqrt()) / 2  # [-1, 1] is twice as wide
        if self.expects(run.nfe, run.spent + 1, changed) < self.tolerance:
            return Ahead((), (0,))
        return Ahead(run.allocation[done:], run.levels[done:])

    def expects(self, before: int, now: int, changed: float | None) -> float:
        """RMSE in [0, 1] units by which a preview is expected to change until the end.

        What the calibration expects of it, times how much more or less than in the calibration the last inner run
        has changed: of two previews e and e' away from the end, about √(e² − e'²).

        Args:
            before: evaluations of the preview before; 0: there was none.
            now: of this one.
            changed: RMSE between the two; None: there was none. Without a calibration it is what is expected.
        """
        if not self.expected:
            return math.inf if changed is None else changed
        shares, rmse = zip(*self.expected, strict=True)
        was, left = (float(np.interp(nfe / self.most, shares, rmse)) for nfe in (before, now))
        usual = math.sqrt(max(was**2 - left**2, 0.0))
        return left if changed is None or not usual else left * changed / usual


def split(most: int, width: float | None) -> tuple[int, ...]:
    """So many evaluations as inner runs, by how wide it is what is missing; measured in docs/effort.md.

    Args:
        most: at least 1.
        width: in pixels; 0: nothing is missing; ∞: what all pixels share, as a colour; None: that is not known.
    """
    if width == 0:
        lengths: Sequence[int] = (LEAST, LEAST, 10)
    elif width is None:
        lengths = (10,)
    elif math.isinf(width):
        lengths = (6,)
    elif width <= POINTS:
        lengths = (12, 9)
    else:
        lengths = (15,) if width <= WIDE else (LONG,)
    steps: list[int] = []
    while (left := most - sum(steps)) > 0:
        wanted = lengths[min(len(steps), len(lengths) - 1)]
        steps.append(left if left < wanted + LEAST else wanted)
    return tuple(steps)
