"""Curves of one task as a picture by itself, for pages that show no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.summary import TaskSummary
from benchmarks.report.charts import HEIGHT, WIDTH, chart
from benchmarks.report.markup import Markup, element
from benchmarks.report.reading import curves, metrics_of
from benchmarks.report.style import CHARTS
from nested.files import atomic_write

HEAD, GAP = 30, 24
"""Pixels over each chart, for its title, and between two."""


def figure(summary: TaskSummary, kinds: Sequence[str] = ("returned",)) -> str:
    """An SVG file's text: charts of PSNR, LPIPS and the distance side by side; lines of the named kinds only."""
    metrics = [metric for metric in metrics_of(summary) if metric.key in ("psnr", "lpips") or metric.log]
    parts: list[Markup] = []
    for i, metric in enumerate(metrics):
        left = i * (WIDTH + GAP)
        shown = {line: curve for line, curve in curves(summary, metric).items() if line[1] in kinds}
        title = f"{summary.task}: {metric.title} {metric.arrow[:1]}"
        parts.append(element("text", title, x=left + 10, y=20, class_="title"))
        drawn = chart(shown, metric, summary.task)
        parts.append(element("svg", drawn, x=left, y=HEAD, width=WIDTH, height=HEIGHT))
    width, height = len(metrics) * (WIDTH + GAP) - GAP, HEAD + HEIGHT
    return element(
        "svg",
        element("style", Markup(f"{CHARTS}svg .title {{ fill: var(--ink); font-size: 14px; font-weight: 600; }}")),
        element("rect", width=width, height=height, fill="var(--paper)"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
    )


def write_figure(path: Path, summary: TaskSummary) -> None:
    """Write :func:`figure`, whole or not at all; OSError as it comes."""
    text = figure(summary) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
