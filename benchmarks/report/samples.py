"""The kept samples of ``restore-bench generate``, as the paper's Figures 5 and 14 show them: previews by share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from benchmarks.engine.summary import TaskSummary
from benchmarks.engine.trials import Look
from benchmarks.generation.drawing import SHARES, shared
from benchmarks.report.grids import PIXELS, figure
from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Report, runs_of


def samples_grid(report: Report, summary: TaskSummary) -> Markup:
    """For every kept sample a row for every run: what would be returned after 20, 40, 60, 80 and 100 %."""
    names, pictures = report.results.pictures(summary.task)
    runs = [run for run in runs_of(summary) if any(key.startswith(f"{run}|") for key in pictures)]
    if not runs:
        return Markup()
    ends = {run: max(look.nfe for look in summary.means if look.run == run) for run in runs}
    some = next(iter(pictures.values()))
    affordable = PIXELS // (some.shape[-1] * some.shape[-2] * len(runs) * len(SHARES))
    count = min(len(some), max(affordable, 1))
    groups = [_group(pictures, i, ends, name) for i, name in enumerate(names[:count])]
    head = row(header("sample"), header("run"), *(header(f"{share} %") for share in SHARES))
    more = "" if count == len(some) else f" The first {count} of {len(some)} that were kept."
    told = f"What would be returned at these shares of the evaluations, by the same noise.{more}"
    return table(head, groups, told, "grid")


def _group(pictures: Mapping[str, Tensor], i: int, ends: Mapping[str, int], name: str) -> Markup:
    """The rows of one sample."""
    rows = []
    for r, (run, total) in enumerate(ends.items()):
        cells = []
        for share in SHARES:
            nfe = shared(total, share)
            kept = pictures.get(Look(run, "returned", nfe).key)
            alt = f"{name}: {run} after {nfe} evaluations"
            cells.append(element("td") if kept is None else element("td", figure(kept[i], alt, str(nfe))))
        first = [] if r else [header(name, scope="rowgroup", rowspan=len(ends))]
        rows.append(row(*first, header(run, scope="row"), *cells, class_=None if r else "first"))
    return joined(*rows)
