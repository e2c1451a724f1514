"""How wide intervals of samples must be with a prior, as it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nested.reading import conform

KEY = "coverage"
"""Of a calibration; ``restore-bench coverage --calibrate`` writes it."""
ALIKE = 1.1
"""Up to which factor a measurement's noise may differ from that of a calibration that is to hold."""
SAME = 1e-9


@dataclass(frozen=True)
class Coverage:
    """An interval mean ± factor · std of samples, and the share of uncertain pixels that it was measured to hold.

    Args:
        sampler: as ``calibration.key_of`` writes it.
        task: of a calibration, e.g. "sr4".
        sigma: of the measurements' noise, [0, 1] units.
        allocation: inner steps of every outer step.
        nfe: evaluations after which the samples were looked at, an inner run's end.
        samples: how many.
        level: the promised share, e.g. 0.9.
        factor: on the samples' standard deviation.
        coverage, deviation: the share that was held, mean and std over the pictures it was measured on.
        pictures: so many; others than the factor was chosen on.
        calibrated: on so many pictures the factor was chosen.
        confidence: of the promise; None is in expectation.
    """

    sampler: str
    task: str
    sigma: float
    allocation: tuple[int, ...]
    nfe: int
    samples: int
    level: float
    factor: float
    coverage: float
    deviation: float
    pictures: int
    calibrated: int
    confidence: float | None = None

    def told(self) -> dict[str, Any]:
        """As JSON holds it, the sampler as a record."""
        return {**vars(self), "sampler": json.loads(self.sampler), "allocation": list(self.allocation)}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Coverage:
        """What :meth:`told` wrote; KeyError, TypeError or ValueError of anything else."""
        numbers = {name: float(conform(told[name], float, name)) for name in _POSITIVE}
        counts = {name: conform(told[name], int, name) for name in ("nfe", "samples", "pictures", "calibrated")}
        allocation = tuple(conform(told["allocation"], list[int], "allocation"))
        confidence = told.get("confidence")
        shares = [numbers["level"], numbers["coverage"], *([] if confidence is None else [float(confidence)])]
        if min(numbers.values()) < 0 or numbers["factor"] <= 0 or max(shares) > 1 or numbers["level"] >= 1:
            raise ValueError(f"coverage must have shares from 0 to 1 and a factor above 0: got {numbers}")
        if min(counts.values()) < 1 or not allocation or min(allocation) < 1:
            raise ValueError(f"coverage must have counts of at least 1: got {counts} and {allocation}")
        return cls(
            sampler=json.dumps(conform(told["sampler"], dict[str, Any], "sampler"), sort_keys=True),
            task=conform(told["task"], str, "task"),
            allocation=allocation,
            confidence=None if confidence is None else float(confidence),
            sigma=numbers["sigma"],
            level=numbers["level"],
            factor=numbers["factor"],
            coverage=numbers["coverage"],
            deviation=numbers["deviation"],
            nfe=counts["nfe"],
            samples=counts["samples"],
            pictures=counts["pictures"],
            calibrated=counts["calibrated"],
        )

    def holds(
        self,
        sampler: str,
        task: str,
        sigma: float,
        allocation: Sequence[int],
        nfe: int,
        samples: int,
        level: float,
    ) -> bool:
        """Whether it was measured on what these say."""
        noisy = self.sigma / ALIKE <= sigma <= self.sigma * ALIKE if self.sigma else sigma == 0
        same = (self.sampler, self.task, self.allocation, self.nfe) == (sampler, task, tuple(allocation), nfe)
        return noisy and same and self.samples == samples and abs(self.level - level) < SAME


@dataclass(frozen=True)
class Certainty:
    """What is said of a result's interval.

    Args:
        level: the share that it is to hold, e.g. 0.9.
        found: what was measured of such results; None where nothing was.
    """

    level: float
    found: Coverage | None = None

    def json(self) -> dict[str, Any]:
        """For events and records."""
        if self.found is None:
            return {"level": self.level, "coverage": None}
        found = self.found
        return {
            "level": self.level,
            "coverage": round(found.coverage, 4),
            "factor": round(found.factor, 4),
            "pictures": found.pictures,
        }

    def words(self) -> str:
        """For people."""
        if self.found is None:
            return f"{self.level:.0%} interval: not measured for this; its quantiles are the samples' own"
        found = self.found
        return (
            f"{self.level:.0%} interval, measured coverage {found.coverage:.1%} of the pixels that vary, on "
            f"{found.pictures} held-out pictures (± {found.deviation:.1%} from one to another)"
        )


_POSITIVE = ("sigma", "level", "factor", "coverage", "deviation")


def quantile_names(level: float) -> tuple[str, str]:
    """What files of the two quantiles around a share are called: "q05" and "q95" of 0.9."""
    tail = (1 - level) / 2
    low, high = (f"{100 * share:.4g}" for share in (tail, 1 - tail))
    return f"q{low:0>2}", f"q{high:0>2}"
