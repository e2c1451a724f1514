"""Quality against evaluations, for splits of one budget: the paper's Figure 4, and its area under the curve."""

from __future__ import annotations

from benchmarks.engine.case import cases_of
from benchmarks.engine.curve import POINTS, area
from benchmarks.engine.markdown import conditions, markdown
from benchmarks.engine.paper import chosen
from benchmarks.engine.setup import Finished, Options, measure_all
from benchmarks.engine.summary import TaskSummary, summarise
from benchmarks.engine.trials import Kind, Look, Trial, nested_trial, plain_trial


def trials(total: int, splits: tuple[int, ...], allocations: tuple[tuple[int, ...], ...]) -> tuple[Trial, ...]:
    """Every split of `total` evaluations into so many equal inner runs (1: a plain run), and given allocations.

    Raises:
        ValueError: a number of outer steps that does not divide, or an allocation of another total.
    """
    stops = tuple(sorted({max(round(total * (i + 1) / POINTS), 1) for i in range(POINTS)}))
    made: list[Trial] = []
    for outer in splits:
        if outer < 1 or total % outer:
            raise ValueError(f"--splits must divide the total of {total}: got {outer}")
        equal = (total // outer,) * outer
        made.append(
            plain_trial(total, stops, ("returned", "drawn"))
            if outer == 1
            else nested_trial(equal, stops, ("returned", "newest"))
        )
    for allocation in allocations:
        if sum(allocation) != total or min(allocation) < 1:
            raise ValueError(f"--allocation must add up to {total}: got {','.join(map(str, allocation))}")
        made.append(nested_trial(allocation, stops))
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
    asked = cases_of(chosen(tasks))
    finished = measure_all("anytime", options, asked, trials(total, splits, allocations))
    return finished, [summarise(finished.results, task, finished.space) for task in tasks]


def tables(finished: Finished, summaries: list[TaskSummary]) -> list[str]:
    """Markdown lines: a curve a run, and what each run's curves enclose."""
    lines: list[str] = []
    for summary in summaries:
        metrics = [name for name in ("psnr", "ssim", "lpips") if any(name in m for m in summary.means.values())]
        distance = finished.space.frechet_name
        for metric in [*metrics, *([distance] if summary.distances else [])]:
            curves = curves_of(summary, metric)
            points = sorted({nfe for curve in curves.values() for nfe in curve})
            form = "{:.3g}" if metric == distance else "{:.3f}"
            rows = [
                [f"{run}, {kind}", *(form.format(curve[nfe]) for nfe in points)]
                for (run, kind), curve in curves.items()
            ]
            lines += [f"{summary.task}: {metric}", "", *markdown(["evaluations", *map(str, points)], rows), ""]
        if summary.distances:  # of one picture there are none
            lines += [f"{summary.task}: area under the curve of log {distance}, of what would be returned", ""]
            lines += [*_areas(summary, distance), ""]
    return lines + conditions(finished, summaries)


def curves_of(summary: TaskSummary, metric: str) -> dict[tuple[str, Kind], dict[int, float]]:
    """Means (or distances, by their name) by run and kind, then by evaluations."""
    curves: dict[tuple[str, Kind], dict[int, float]] = {}
    for look, means in summary.means.items():
        mean = means[metric].mean if metric in means else summary.distances[look].value
        curves.setdefault((look.run, look.kind), {})[look.nfe] = mean
    return curves


def _areas(summary: TaskSummary, distance: str) -> list[str]:
    found: list[tuple[float, list[str]]] = []
    for (run, kind), curve in curves_of(summary, distance).items():
        if kind == "newest":
            continue
        points = sorted(curve)
        enclosed = area(points, [curve[nfe] for nfe in points])
        end = Look(run, "returned", points[-1])
        psnr = summary.means.get(end, summary.means[Look(run, kind, points[-1])])["psnr"].mean
        name = run if kind == "returned" else f"{run}, drawn"
        found.append((enclosed, [name, f"{enclosed:.2f}", f"{curve[points[-1]]:.3g}", f"{psnr:.2f}"]))
    best = min(enclosed for enclosed, _ in found)
    for enclosed, row in found:
        row[1] = f"**{row[1]}**" if enclosed == best else row[1]
    return markdown(["run", "area ↓", f"{distance} at the end", "PSNR at the end, dB"], [row for _, row in found])
