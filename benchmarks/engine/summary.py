"""Means and distances of a results folder, by task and look."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.engine.chunk import ORIGINAL
from benchmarks.engine.results import Results
from benchmarks.engine.trials import Kind, Look
from benchmarks.metrics.distance import Distance
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.kid import kernel_distance
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import Statistics
from restoration.errors import ImageError

BLOCK = 1024
"""Features of so many pictures are gathered before statistics take them: each time costs dim² at least."""


@dataclass
class Mean:
    """Mean and spread of numbers that come chunk by chunk, in memory that does not grow.

    Within a chunk sums are exactly rounded, and chunks are joined by Chan, Golub and LeVeque's update: the same
    chunks in the same order give the same bits, in another order the same to rounding.
    """

    count: int = 0
    mean: float = math.nan
    squares: float = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Take a chunk's numbers."""
        if not values:
            return
        mean = math.fsum(values) / len(values)
        self.squares += math.fsum((value - mean) ** 2 for value in values)
        if self.count:
            total, shift = self.count + len(values), mean - self.mean
            self.squares += shift**2 * (self.count * len(values) / total)
            mean = self.mean + shift * (len(values) / total)
        self.count, self.mean = self.count + len(values), mean

    @property
    def std(self) -> float:
        """Their standard deviation; NaN of fewer than two."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else math.nan


@dataclass
class TaskSummary:
    """What was measured of one task.

    Args:
        task: its name.
        images: how many were measured.
        failed: a line for each that could not be read, by name.
        unanswered: how often a method failed at a look, by its own words; those that did not are not there.
        means: by look and metric.
        distances: Fréchet distance to the originals, by look; empty without features. Pictures of which a method
            failed are missing on its side alone.
        kernels: kernel distance to the same, where it was asked for.
        seconds: of solving, an image, by run.
        hardware: on which.
    """

    task: str
    images: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unanswered: dict[Look, Counter[str]] = field(default_factory=dict)
    means: dict[Look, dict[str, Mean]] = field(default_factory=dict)
    distances: dict[Look, Distance] = field(default_factory=dict)
    kernels: dict[Look, Distance] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hardware: set[str] = field(default_factory=set)


def summarise(
    results: Results,
    task: str,
    space: FeatureSpace | None = None,
    reference: Statistics | None = None,
    *,
    kernel: bool = False,
) -> TaskSummary:
    """Read all chunks of one task, one at a time, and their features, one look at a time.

    Args:
        space: of the stored features; None for no distances.
        reference: statistics to compare with, in place of the same pictures' originals.
        kernel: also compute kernel distances, always to the same pictures' originals.

    Raises:
        OutputError: a damaged file. ImageError: no picture could be read.
    """
    summary = TaskSummary(task)
    seconds: dict[str, list[float]] = defaultdict(list)
    readable: dict[int, list[str]] = {}
    scored: dict[Look, dict[int, list[str]]] = defaultdict(dict)
    for index, chunk in zip(results.indices(task), results.chunks(task), strict=True):
        summary.failed |= chunk.failed
        if not chunk.readable:
            continue
        readable[index] = chunk.readable
        summary.images += len(chunk.readable)
        summary.hardware.add(chunk.hardware)
        for run, spent in chunk.seconds.items():
            seconds[run].append(spent)
        columns: dict[tuple[Look, str], list[float]] = defaultdict(list)
        for row in chunk.rows:
            if "failed" in row:
                summary.unanswered.setdefault(look_of(row), Counter())[str(row["failed"])] += 1
                continue
            scored[look_of(row)].setdefault(index, []).append(str(row["image"]))
            for metric, value in row.items():
                if isinstance(value, float):
                    columns[look_of(row), metric].append(value)
        for (look, metric), values in columns.items():
            summary.means.setdefault(look, defaultdict(Mean))[metric].add(values)
    summary.seconds = {run: math.fsum(spent) / max(summary.images, 1) for run, spent in seconds.items()}
    if summary.failed and not summary.images:
        raise ImageError(f"{task}: no picture could be read, first {next(iter(summary.failed.values()))}")
    if space is not None and summary.images > 1:
        _distances(summary, results, space, reference, readable, scored, kernel=kernel)
    return summary


def _distances(
    summary: TaskSummary,
    results: Results,
    space: FeatureSpace,
    reference: Statistics | None,
    readable: Mapping[int, list[str]],
    scored: Mapping[Look, Mapping[int, list[str]]],
    *,
    kernel: bool,
) -> None:
    """Put in every look's distances, by names of all readable pictures and of each look's own, by chunk."""
    task = summary.task
    clean = reference or statistics(results, task, ORIGINAL, readable, space)
    some = sample(results, task, ORIGINAL, readable, space) if kernel else None
    for look in summary.means:
        ours = statistics(results, task, look.key, scored[look], space)
        if ours.count < 2:
            continue
        summary.distances[look] = frechet_distance(ours, clean)
        if some is not None:
            ours_some = sample(results, task, look.key, scored[look], space)
            summary.kernels[look] = kernel_distance(ours_some, some)


def originals(results: Results, task: str, space: FeatureSpace) -> Statistics:
    """Of the clean pictures."""
    chunks = zip(results.indices(task), results.chunks(task), strict=True)
    readable = {index: chunk.readable for index, chunk in chunks if chunk.readable}
    return statistics(results, task, ORIGINAL, readable, space)


def statistics(
    results: Results, task: str, key: str, readable: Mapping[int, list[str]], space: FeatureSpace
) -> Statistics:
    """Of one look's features, of the chunks and names that could be read, in order."""
    whole, block = Statistics(space), [torch.empty(0, space.dim)]
    for index in readable:
        block.append(results.features(task, index, key))
        if sum(map(len, block)) >= BLOCK:
            whole.update(torch.cat(block))
            block = []
    if block:
        whole.update(torch.cat(block))
    return whole


def sample(
    results: Results, task: str, key: str, readable: Mapping[int, list[str]], space: FeatureSpace
) -> FeatureSample:
    """Some of one look's features, of the same names as of any other look."""
    some = FeatureSample(space)
    for index, names in readable.items():
        some.update(results.features(task, index, key), names)
    return some


def look_of(row: dict[str, object]) -> Look:
    """Where a row was measured."""
    kind: Kind = row["kind"]  # type: ignore[assignment]
    return Look(str(row["run"]), kind, int(str(row["nfe"])))
