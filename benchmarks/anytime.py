"""Quality against evaluations, for splits of one budget: the paper's Figure 4, and its area under the curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.paper import TASKS
from benchmarks.runs import Run, nested, plain
from benchmarks.setup import Finished, Options, measure_all
from benchmarks.summary import TaskSummary, summarise

POINTS = 12
"""Points of a curve, evenly over the budget."""


def runs(total: int, splits: tuple[int, ...], allocations: tuple[tuple[int, ...], ...]) -> tuple[Run, ...]:
    """Every split of `total` evaluations into so many equal inner runs, 1 being plain DDRM, and given allocations.

    Raises:
        ValueError: a number of outer steps that does not divide, or an allocation of another total.
    """
    points = tuple(sorted({max(round(total * (i + 1) / POINTS), 1) for i in range(POINTS)}))
    made: list[Run] = []
    for outer in splits:
        if outer < 1 or total % outer:
            raise ValueError(f"--splits must divide the total of {total}: got {outer}")
        equal = (total // outer,) * outer
        made.append(
            plain(total, points, ("returned", "drawn"))
            if outer == 1
            else nested(equal, points, ("returned", "newest"))
        )
    for allocation in allocations:
        if sum(allocation) != total or min(allocation) < 1:
            raise ValueError(f"--allocation must add up to {total}: got {','.join(map(str, allocation))}")
        made.append(nested(allocation, points))
    return tuple(made)


def measure(
    options: Options,
    tasks: list[str],
    total: int,
    splits: tuple[int, ...],
    allocations: tuple[tuple[int, ...], ...],
) -> tuple[Finished, list[TaskSummary]]:
    """Measure, or go on, and summarise.

    Raises:
        RestorationError, ValueError: one line.
    """
    unknown = [name for name in tasks if name not in TASKS]
    if unknown:
        raise ValueError(f"--tasks must be among {', '.join(TASKS)}: got {unknown[0]!r}")
    asked = {name: TASKS[name] for name in tasks}
    finished = measure_all("anytime", replace(options), asked, runs(total, splits, allocations))
    return finished, [summarise(finished.results, task, finished.space) for task in tasks]


def area(nfe: list[int], distance: list[float]) -> float:
    """Area under log distance against evaluations, by trapezia, from the first point to the last (Appendix A)."""
    return float(np.trapezoid(np.log(distance), nfe))
