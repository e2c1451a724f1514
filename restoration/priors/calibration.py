"""How much a preview is still expected to change, as it was measured for a prior."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from degradations import Measurement
from nested.reading import conform
from restoration.errors import PriorError
from restoration.priors.coverage import KEY as COVERAGE
from restoration.priors.coverage import Certainty, Coverage
from restoration.priors.familiarity import KEY as FAMILIARITY
from restoration.priors.familiarity import Familiarity
from restoration.priors.formats.reading import read_json
from restoration.tasks import calibration_key
from solvers import DDRM, Spectral, record_of

FILE = "calibration.json"
"""Beside a prior's weights; ``restore-bench consistency --calibrate`` writes it."""
QUIET = 0.05
"""σ up to which the noiseless calibration of a task other than denoising holds, [0, 1] units."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Change:
    """RMSE, in [0, 1] units, between a preview and the end of its own run, for one task.

    Args:
        complete: (share of all evaluations spent, RMSE), of previews at the end of an inner run.
        running: (share of the first inner run, RMSE), of previews before it has ended.
        sigma: of the measurements' noise, [0, 1] units.
    """

    complete: Points
    running: Points
    sigma: float = 0.0

    def at(self, nfe: int, total_nfe: int, first: int, complete: bool) -> float:
        """Interpolated between what was measured."""
        points, share = (self.complete, nfe / total_nfe) if complete else (self.running, nfe / first)
        return float(np.interp(share, [x for x, _ in points], [y for _, y in points]))


@dataclass(frozen=True)
class Calibration:
    """What was measured of one prior.

    Args:
        samplers: what is expected of previews, by the sampler's settings and the task.
        coverages: what intervals of samples hold.
        familiarity: how well it knows pictures like those it was trained on; None where that was not measured.
    """

    samplers: Mapping[str, Mapping[str, Change]]
    coverages: tuple[Coverage, ...] = ()
    familiarity: Familiarity | None = None

    @classmethod
    def load(cls, folder: Path, weights: str = "") -> Calibration | None:
        """Of a prior's folder; None where nothing was measured, or of other weights than those of that SHA-256.

        Raises:
            PriorError: a file that is none of ours.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            told = read_json(path)
            ddrm = {"sampler": record_of(DDRM.Settings())}  # files that name no sampler were measured with it
            given = told.get(
                "samplers",
                [{**told, **ddrm}] if "tasks" in told or not told.keys() & {COVERAGE, FAMILIARITY} else [],
            )
            parts = conform(given, list[dict[str, Any]], "samplers")
            measured = {key_of(part["sampler"]): _changes(part["tasks"]) for part in parts}
            listed = conform(told.get(COVERAGE, []), list[dict[str, Any]], COVERAGE)
            coverages = tuple(Coverage.read(part) for part in listed)
            known = told.get(FAMILIARITY)
            familiarity = None if known is None else Familiarity.read(conform(known, dict[str, Any], FAMILIARITY))
            ours = not weights or told["prior fingerprint"].split()[0] == weights
            return cls(measured, coverages, familiarity) if ours else None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise PriorError(f"{path} is no calibration: {error!r}") from None

    def change(self, measurement: Measurement, sampler: Spectral.Settings) -> Change | None:
        """Of restoring that measurement ([0, 1] units); None where nothing like it was measured."""
        tasks = self.samplers.get(key_of(record_of(sampler)), {})
        found = tasks.get(calibration_key(measurement) or "")
        if found is None:
            return None
        sigma = _sigma(measurement)
        like = found.sigma / 2 <= sigma <= found.sigma * 2 if found.sigma else sigma <= QUIET
        return found if like else None

    def certainty(
        self,
        measurement: Measurement,
        sampler: Spectral.Settings,
        allocation: Sequence[int],
        nfe: int,
        samples: int,
        level: float,
    ) -> Certainty:
        """Of the interval of samples of that measurement ([0, 1] units), after so many evaluations."""
        task = calibration_key(measurement)
        if task is None:
            return Certainty(level)
        told = (key_of(record_of(sampler)), task, _sigma(measurement), allocation, nfe, samples, level)
        return Certainty(level, next((one for one in self.coverages if one.holds(*told)), None))


def key_of(record: Mapping[str, Any]) -> str:
    """One text for a sampler and its settings, as :func:`solvers.record_of` records them."""
    return json.dumps(dict(record), sort_keys=True)


def _sigma(measurement: Measurement) -> float:
    sigma = measurement.sigma
    return float(sigma if isinstance(sigma, (int, float)) else sigma.max())


def _changes(tasks: Mapping[str, Any]) -> dict[str, Change]:
    checked = conform(tasks, dict[str, dict[str, Any]], "tasks")
    return {name: _change(values) for name, values in checked.items()}


def _change(values: Mapping[str, Any]) -> Change:
    complete, running = (_points(values[kind], kind) for kind in ("complete", "running"))
    sigma = conform(values["sigma"], float, "sigma")
    if sigma < 0:
        raise ValueError(f"sigma must be at least 0: got {sigma}")
    return Change(complete, running, float(sigma))


def _points(told: Any, kind: str) -> Points:
    points = [(float(x), float(y)) for x, y in conform(told, list[list[float]], kind)]
    shares = [x for x, _ in points]
    if not points or any(not 0 <= x <= 1 or y < 0 for x, y in points):
        raise ValueError(f"{kind} must be shares from 0 to 1, each with an RMSE of at least 0")
    if any(above <= below for below, above in pairwise(shares)):
        raise ValueError(f"{kind} must have rising shares")
    return points
