"""From a results folder to what a page shows of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import paper
from benchmarks.engine.results import Results
from benchmarks.engine.summary import TaskSummary, summarise
from benchmarks.engine.trials import KINDS
from benchmarks.generation.reference import FILE as REFERENCE
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.statistics import Statistics
from restoration.errors import OutputError

Line = tuple[str, str]
"""A run and a kind: what is one line of a chart and one column of a table."""


@dataclass(frozen=True)
class Metric:
    """How a metric is told.

    Args:
        key: in the rows of the results, or the distance's name.
        title: with its unit.
        better: "higher", "lower", or "" where neither is.
        digits: after the point, or significant ones where ``significant``.
        log: whether its axis is logarithmic.
    """

    key: str
    title: str
    better: str = ""
    digits: int = 3
    significant: bool = False
    log: bool = False

    def tell(self, value: float) -> str:
        """A value as text."""
        if not math.isfinite(value):
            return "∞" if value == math.inf else "−∞" if value == -math.inf else "not a number"
        told = f"{value:#.{self.digits}g}" if self.significant and value else f"{value:.{self.digits}f}"
        return (told.rstrip(".") if value or not self.significant else "0").replace("-", "−")

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return {"higher": "↑ higher is better", "lower": "↓ lower is better"}.get(self.better, "")


KNOWN = (
    Metric("psnr", "PSNR, dB", "higher", 2),
    Metric("ssim", "SSIM", "higher", 3),
    Metric("lpips", "LPIPS", "lower", 3),
    Metric("clip", "CLIP score", "higher", 2),
    Metric("rmse_to_final", "RMSE to the run's own final picture, [0, 1] units", digits=4),
    Metric("mse_to_final", "MSE to the run's own final picture", "lower", 3, significant=True),
    Metric("clip_to_final", "CLIP image score to the run's own final picture", "higher", 2),
    Metric("dreamsim_to_final", "DreamSim to the run's own final picture", "lower", 3),
    Metric("seconds", "Seconds a picture", "lower", 3, significant=True, log=True),
    Metric("lpips_to_final", "LPIPS to the run's own final picture", "lower", 3, significant=True),
)
"""Metrics whose meaning is known; others are shown under their own names, without a best."""


@dataclass(frozen=True)
class Report:
    """A results folder, read.

    Args:
        argv: the command line that made it, program name first; empty where it was not stored.
    """

    results: Results
    space: FeatureSpace | None
    summaries: tuple[TaskSummary, ...]
    argv: tuple[str, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """What the numbers depend on, as stored."""
        config: dict[str, Any] = self.results.config
        return config


def read(folder: Path) -> Report:
    """Read everything but features and pictures into memory.

    Raises:
        OutputError: it is no results folder, is empty, or damaged. MetricError: its reference is.
    """
    results = Results.open(folder)
    asked = list(results.asked().get("tasks", {}))
    tasks = sorted(results.tasks(), key=lambda task: _task_rank(task, asked))
    if not tasks:
        raise OutputError(f"{folder} holds no measured pictures yet; run its command again to go on")
    try:
        space = _space(results.config.get("features"))
        reference = _reference(folder / REFERENCE)
        summaries = tuple(summarise(results, task, space, reference) for task in tasks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{folder} holds a file that is not as restore-bench writes it ({error!r})") from None
    return Report(results, space, summaries, results.argv())


def _task_rank(task: str, asked: Sequence[str]) -> tuple[int, int, str]:
    """As the newest command asked for them; others, and all where it is not stored, in the paper's order."""
    known = list(paper.TASKS)
    return (
        asked.index(task) if task in asked else len(asked),
        known.index(task) if task in known else len(known),
        task,
    )


def _reference(file: Path) -> Statistics | None:
    """Of real pictures, which samples were compared with; None where pictures have originals."""
    return Statistics.load(file) if file.is_file() else None


def _space(told: Any) -> FeatureSpace | None:
    return None if told is None else FeatureSpace(str(told["name"]), int(told["dim"]), str(told["detail"]))


def metrics_of(summary: TaskSummary) -> list[Metric]:
    """Known metrics that were measured, then others, then the distance."""
    keys = {key for means in summary.means.values() for key in means}
    found = [metric for metric in KNOWN if metric.key in keys]
    found += [Metric(key, key, digits=4, significant=True) for key in sorted(keys - {m.key for m in KNOWN})]
    some = next(iter(summary.distances.values()), None)
    if some is not None:
        title = some.name if some.reliable else f"{some.name} (unreliable: {summary.images:,} pictures)"
        found.append(Metric(some.name, title, "lower", 4, significant=True, log=True))
    return found


def curves(summary: TaskSummary, metric: Metric) -> dict[Line, dict[int, float]]:
    """Means, or distances, by line and then by evaluations; runs in the order of measuring."""
    found: dict[Line, dict[int, float]] = {}
    for look, means in summary.means.items():
        if look in summary.distances and summary.distances[look].name == metric.key:
            value = summary.distances[look].value
        elif metric.key in means:
            value = means[metric.key].mean
        else:
            continue
        found.setdefault((look.run, look.kind), {})[look.nfe] = value
    runs = list(dict.fromkeys(run for run, _ in found))
    order = sorted(found, key=lambda line: (runs.index(line[0]), kind_rank(line[1])))
    return {line: dict(sorted(found[line].items())) for line in order}


def kind_rank(kind: str) -> int:
    """Kinds in their usual order, unknown ones last."""
    known = list[str](KINDS)
    return known.index(kind) if kind in known else len(known)


def runs_of(summary: TaskSummary) -> list[str]:
    """Names of runs, in the order of measuring."""
    return list(dict.fromkeys(look.run for look in summary.means))
