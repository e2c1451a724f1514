"""The paper's Table 2 beside ours, and DDRM's own rows."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.engine import paper
from benchmarks.engine.paper import CLOSE, trials
from benchmarks.engine.summary import TaskSummary
from benchmarks.engine.trials import Look
from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Metric, Report

PSNR = Metric("psnr", "PSNR, dB", "higher", 2)


def beside(report: Report) -> Markup:
    """Our numbers, the paper's, and the differences; empty unless it was the paper's table that was measured."""
    summaries = [summary for summary in report.summaries if summary.task in paper.TASKS]
    if report.config.get("command") != "table2" or not summaries:
        return Markup()
    whole, single = trials(paper.OUTER, paper.INNER)
    looks = [Look(whole.name, "returned", nfe) for nfe in whole.stops]
    looks.append(Look(single.name, "returned", single.stops[-1]))
    distance = next((d.name for summary in summaries for d in summary.distances.values()), None)
    tables = [_table(report, summaries, looks, PSNR, paper.PSNR)]
    if distance is not None:
        shown = Metric(distance, distance, "lower", 2 if distance == "FID" else 3)
        tables.append(_table(report, summaries, looks, shown, paper.FID))
    return joined(*tables)


def ddrms_own(report: Report) -> Markup:
    """Plain DDRM beside DDRM's paper, where that has the task; else empty."""
    config = report.config
    runs = [run for run in config.get("runs") or [] if isinstance(run, list) and str(run[0]).startswith("plain")]
    if config.get("command") != "table2" or not runs:
        return Markup()
    look = Look(str(runs[0][0]), "returned", int(runs[0][2][-1]))
    rows = []
    for summary in report.summaries:
        ours, theirs = _value(summary, look, PSNR), paper.DDRM_PSNR.get(summary.task)
        if ours is not None and theirs is not None:
            cells = (element("td", PSNR.tell(ours)), element("td", PSNR.tell(theirs), class_="theirs"))
            rows.append(row(header(summary.task, scope="row"), *cells))
    if not rows:
        return Markup()
    head = row(header("task"), header(f"ours, plain {look.nfe}"), header("DDRM's paper"))
    caption = joined(element("b", f"{PSNR.title}, noiseless"), " ", element("span", PSNR.arrow, class_="faint"))
    told = element("p", f"DDRM's paper: {paper.DDRM_CONDITIONS}.")
    return joined(table(head, rows, caption, "beside"), told)


def same_conditions(report: Report) -> bool:
    """Whether prior and pictures are of the paper's kind, so that numbers can be compared at all."""
    shape = report.config.get("image shape")
    size = shape[1:] if isinstance(shape, list) else None
    return "celeba" in str(report.config.get("prior")) and size == [256, 256]


def _table(
    report: Report,
    summaries: list[TaskSummary],
    looks: list[Look],
    metric: Metric,
    theirs: Mapping[str, tuple[float, ...]],
) -> Markup:
    rows = []
    same = same_conditions(report)
    for summary in summaries:
        ours = [_value(summary, look, metric) for look in looks]
        if None in ours:
            continue
        found = [value for value in ours if value is not None]
        paper_row = theirs[summary.task]
        rows.append(
            row(
                header(summary.task, scope="row", rowspan=2),
                element("td", "ours", class_="words"),
                *(element("td", metric.tell(value)) for value in found),
                element("td", signed(found[-2] - found[-1], metric)),
            )
        )
        cells = [
            element("td", f"{b:.2f}", element("small", verdict(a - b, metric)) if same else "")
            for a, b in zip(found, paper_row, strict=True)
        ]
        gap = element("td", signed(paper_row[-2] - paper_row[-1], PSNR))
        rows.append(row(element("td", "paper", class_="words"), *cells, gap, class_="theirs"))
    if not rows:
        return Markup()
    columns = [f"nested {look.nfe}" if "nested" in look.run else f"plain {look.nfe}" for look in looks]
    head = row(header("task"), header(""), *map(header, columns), header("nested − plain at the end"))
    name = metric.title if metric is PSNR or metric.key == "FID" else f"{metric.title}, the paper's is FID"
    caption = joined(element("b", name), " ", element("span", metric.arrow, class_="faint"))
    return table(head, rows, caption, "beside")


def _value(summary: TaskSummary, look: Look, metric: Metric) -> float | None:
    if metric is PSNR:
        means = summary.means.get(look, {})
        return means["psnr"].mean if "psnr" in means else None
    return summary.distances[look].value if look in summary.distances else None


def signed(value: float, metric: Metric) -> str:
    """With its sign, unless it is 0 as far as is told."""
    told = metric.tell(abs(value))
    return told if not float(told) else ("−" if value < 0 else "+") + told


def verdict(difference: float, metric: Metric) -> str:
    """Ours less the paper's, and what it says; a distance of other features than Inception's says nothing."""
    close = CLOSE.get("PSNR" if metric is PSNR else metric.key)
    if close is None:
        return ""
    better = difference > 0 if metric.better == "higher" else difference < 0
    return (
        f"{signed(difference, metric)} {'equal' if abs(difference) <= close else 'better' if better else 'worse'}"
    )
