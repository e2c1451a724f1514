"""Means and distances of a results folder, by task and look."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.chunk import ORIGINAL
from benchmarks.metrics.distance import Distance
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.statistics import Statistics
from benchmarks.results import Results
from benchmarks.runs import Kind, Look


@dataclass
class Mean:
    """A mean of numbers that come one at a time, exactly rounded, so that their order does not matter."""

    values: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """NaN of none."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Their standard deviation; NaN of fewer than two."""
        if len(self.values) < 2:
            return math.nan
        mean = self.mean
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / (len(self.values) - 1))


@dataclass
class TaskSummary:
    """What was measured of one task.

    Args:
        task: its name.
        images: how many were measured.
        failed: a line for each that could not be read, by name.
        means: by look and metric.
        distances: Fréchet distance to the originals, by look; empty without features.
        seconds: of solving, an image, by run.
        hardware: on which.
    """

    task: str
    images: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    means: dict[Look, dict[str, Mean]] = field(default_factory=dict)
    distances: dict[Look, Distance] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hardware: set[str] = field(default_factory=set)


def summarise(
    results: Results, task: str, space: FeatureSpace | None = None, reference: Statistics | None = None
) -> TaskSummary:
    """Read all chunks of one task, one at a time.

    Args:
        space: of the stored features; None for no distances.
        reference: statistics to compare with, in place of the same pictures' originals.
    """
    summary = TaskSummary(task)
    seconds: dict[str, list[float]] = defaultdict(list)
    statistics: dict[str, Statistics] = {}
    for chunk in results.chunks(task, features=space is not None):
        summary.images += len(chunk.names) - len(chunk.failed)
        summary.failed |= chunk.failed
        summary.hardware.add(chunk.hardware)
        for run, spent in chunk.seconds.items():
            seconds[run].append(spent)
        for row in chunk.rows:
            means = summary.means.setdefault(look_of(row), defaultdict(Mean))
            for metric, value in row.items():
                if isinstance(value, float):
                    means[metric].values.append(value)
        if space is not None:
            for key, features in chunk.features.items():
                statistics.setdefault(key, Statistics(space)).update(features)
    summary.seconds = {run: math.fsum(spent) / max(summary.images, 1) for run, spent in seconds.items()}
    originals = reference or statistics.get(ORIGINAL)
    if originals is not None and summary.images > 1:
        for look in summary.means:
            summary.distances[look] = frechet_distance(statistics[look.key], originals)
    return summary


def look_of(row: dict[str, object]) -> Look:
    """Where a row was measured."""
    kind: Kind = row["kind"]  # type: ignore[assignment]
    return Look(str(row["run"]), kind, int(str(row["nfe"])))
