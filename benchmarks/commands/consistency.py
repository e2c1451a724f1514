"""How far previews are from the end of their own run: the paper's Appendix B, and a calibration made of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.engine import calibrating
from benchmarks.engine.case import cases_of
from benchmarks.engine.markdown import conditions, markdown
from benchmarks.engine.paper import chosen
from benchmarks.engine.setup import Finished, Options, measure_all
from benchmarks.engine.summary import Mean, TaskSummary, summarise
from benchmarks.engine.trials import Trial, nested_trial
from solvers import Spectral, record_of

TOTAL = 30
SPLITS = (2, 3, 5, 6, 10)
"""Outer steps; of three, every evaluation is looked at, of the others the ends of inner runs."""
DETAILED = 3


def trials() -> tuple[Trial, ...]:
    """Splits of ``TOTAL`` evaluations, looked at as ``restore`` shows them."""
    made = []
    for outer in SPLITS:
        inner = TOTAL // outer
        stops = range(1, TOTAL + 1) if outer == DETAILED else range(inner, TOTAL + 1, inner)
        made.append(nested_trial((inner,) * outer, tuple(stops), ("drawn",)))
    return tuple(made)


def measure(options: Options, tasks: list[str]) -> tuple[Finished, list[TaskSummary]]:
    """Measure, or go on, and summarise.

    Raises:
        RestorationError, ValueError: one line.
    """
    alone = replace(options, distances=False, to_final=True)
    finished = measure_all("consistency", alone, cases_of(chosen(tasks)), trials())
    return finished, [summarise(finished.results, task) for task in tasks]


def tables(finished: Finished, summaries: list[TaskSummary]) -> list[str]:
    """Markdown lines: mean and spread over pictures of the distance to the final result."""
    lines: list[str] = []
    for summary in summaries:
        for metric, title in (
            ("rmse_to_final", "RMSE to the end, [0, 1] units"),
            ("mse_to_final", "MSE to the end"),
            ("lpips_to_final", "LPIPS to the end"),
            ("clip_to_final", "CLIP image score to the end, of 100"),
            ("dreamsim_to_final", "DreamSim to the end"),
        ):
            rows = []
            for trial in trials():
                inner = trial.allocation[0]
                ends = {nfe: _mean(summary, trial, nfe, metric) for nfe in trial.stops if nfe % inner == 0}
                cells = {nfe: f"{mean.mean:.4f} ± {mean.std:.4f}" for nfe, mean in ends.items() if mean.count}
                if cells:
                    rows.append([trial.name, ", ".join(f"{nfe}: {cell}" for nfe, cell in cells.items())])
            if rows:
                lines += [
                    f"{summary.task}: {title}, mean ± std over pictures",
                    "",
                    *markdown(["run", "by evaluations"], rows),
                    "",
                ]
    return lines + conditions(finished, summaries)


def calibrate(finished: Finished, summaries: list[TaskSummary], posterior: Spectral.Settings, file: Path) -> None:
    """Write what ``restoration.priors.calibration`` reads, beside what the file tells of other samplers."""
    config = finished.results.config
    measured: dict[str, Any] = {
        "sampler": record_of(posterior),
        "pictures": min(summary.images for summary in summaries),
        "data": config["data"],
        "tasks": {summary.task: _points(summary) for summary in summaries},
    }

    def changed(before: dict[str, Any]) -> dict[str, Any]:
        others = [some for some in before.get("samplers", []) if some["sampler"] != measured["sampler"]]
        return {"samplers": [*others, measured]}

    calibrating.put(file, config["prior fingerprint"], changed)


def _points(summary: TaskSummary) -> dict[str, Any]:
    complete: dict[float, list[float]] = {1.0: [0.0]}
    running: list[tuple[float, float]] = []
    for trial in trials():
        inner = trial.allocation[0]
        for nfe in trial.stops:
            rmse = _mean(summary, trial, nfe, "rmse_to_final").mean
            if nfe % inner == 0 and nfe < TOTAL:
                complete.setdefault(nfe / TOTAL, []).append(rmse)
            elif nfe < inner:
                running.append((nfe / inner, rmse))
    ends = sorted((share, math.fsum(values) / len(values)) for share, values in complete.items())
    return {
        "sigma": chosen([summary.task])[summary.task].sigma or 0.0,
        "complete": _rounded(ends),
        "running": _rounded(running),
    }


def _rounded(points: list[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 4), round(y, 5)] for x, y in points]


def _mean(summary: TaskSummary, trial: Trial, nfe: int, metric: str) -> Mean:
    means = next((m for look, m in summary.means.items() if (look.run, look.nfe) == (trial.name, nfe)), {})
    return means.get(metric, Mean())
