"""Tables of everything that was measured, the best of every row marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.engine.curve import area
from benchmarks.engine.summary import TaskSummary
from benchmarks.engine.trials import Look
from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Line, Metric, curves, runs_of

NOTHING = element("td", "·", class_="nothing")


def values(summary: TaskSummary, metric: Metric) -> Markup:
    """A row for every number of evaluations, a column for every run and kind, spread over pictures beneath."""
    found = curves(summary, metric)
    lines = list(found)
    points = sorted({nfe for curve in found.values() for nfe in curve})
    rows = []
    for nfe in points:
        there = {line: found[line][nfe] for line in lines if nfe in found[line]}
        best = _best(there, metric)
        cells = [
            _cell(metric.tell(there[line]), _spread(summary, line, nfe, metric), line in best)
            if line in there
            else NOTHING
            for line in lines
        ]
        rows.append(row(header(nfe, scope="row"), *cells))
    caption = joined(element("b", metric.title), " ", element("span", metric.arrow, class_="faint"))
    return table(_head(lines), rows, caption)


def _head(lines: Sequence[Line]) -> Markup:
    runs = list(dict.fromkeys(run for run, _ in lines))
    top = [header(run, scope="colgroup", colspan=sum(1 for line in lines if line[0] == run)) for run in runs]
    kinds = [header(kind, class_="kind") for _, kind in lines]
    return joined(row(header("evaluations", rowspan=2), *top), row(*kinds))


def _best(there: dict[Line, float], metric: Metric) -> set[Line]:
    """Lines that are best as far as is told; none where there is nothing to compare."""
    finite = {line: value for line, value in there.items() if not math.isnan(value)}
    if len(finite) < 2 or not metric.better:
        return set()
    best = metric.tell((max if metric.better == "higher" else min)(finite.values()))
    equal = {line for line, value in finite.items() if metric.tell(value) == best}
    return equal if len(equal) < len(finite) else set()


def _cell(value: str, spread: str, best: bool) -> Markup:
    told = element("strong", value) if best else value
    return element("td", told, element("small", spread) if spread else "", class_="best" if best else None)


def _spread(summary: TaskSummary, line: Line, nfe: int, metric: Metric) -> str:
    means = summary.means.get(Look(line[0], line[1], nfe), {})  # type: ignore[arg-type]
    std = means[metric.key].std if metric.key in means else math.nan
    return f"±{metric.tell(std)}" if math.isfinite(std) else ""


def areas(summaries: Sequence[TaskSummary]) -> Markup:
    """What the curves of the log distance enclose, by task and run (the paper's Appendix A); empty without any.

    Runs of other totals have a row of their own: their areas cannot be compared.
    """
    rows, lines = [], dict[Line, None]()
    told: list[tuple[str, dict[Line, float]]] = []
    for summary in summaries:
        name = next((distance.name for distance in summary.distances.values()), None)
        if name is None:
            continue
        found = {
            line: curve
            for line, curve in curves(summary, Metric(name, name)).items()
            if line[1] != "newest" and len(curve) > 2 and min(curve.values()) > 0
        }
        totals = sorted({max(curve) for curve in found.values()})
        for total in totals:
            enclosed = {
                line: area(list(curve), list(curve.values()))
                for line, curve in found.items()
                if max(curve) == total
            }
            of = f", {total} evaluations" if len(totals) > 1 else ""
            told.append((f"{summary.task}, {name}{of}", enclosed))
        lines |= dict.fromkeys(found)
    if not lines:
        return Markup()
    shown = Metric("area", "Area under the curve of the log distance", "lower", 2)
    for name, enclosed in told:
        best = _best(enclosed, shown)
        cells = [
            _cell(shown.tell(enclosed[line]), "", line in best) if line in enclosed else NOTHING for line in lines
        ]
        rows.append(row(header(name, scope="row"), *cells))
    top = row(header("task"), *(header(run, Markup("<br>"), kind, class_="kind") for run, kind in lines))
    return table(top, rows, joined(element("b", shown.title), " ", element("span", shown.arrow, class_="faint")))


def seconds(summaries: Sequence[TaskSummary]) -> Markup:
    """Time of solving an image, by task and run."""
    runs = list(dict.fromkeys(run for summary in summaries for run in [*runs_of(summary), *summary.seconds]))
    rows = [
        row(
            header(summary.task, scope="row"),
            *(element("td", f"{summary.seconds[run]:.3g}") if run in summary.seconds else NOTHING for run in runs),
            element("td", ", ".join(sorted(summary.hardware)), class_="words"),
        )
        for summary in summaries
    ]
    head = row(header("task"), *(header(run) for run in runs), header("on", class_="words"))
    return table(head, rows, element("b", "Seconds of solving, an image"))
