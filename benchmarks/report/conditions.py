"""Under which conditions the numbers were measured, and what measuring them again needs."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.engine.summary import TaskSummary
from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Report


def conditions(report: Report) -> Markup:
    """Every entry of the configuration, the hardware, and how many pictures."""
    hardware = sorted(set[str]().union(*(summary.hardware for summary in report.summaries)) - {""})
    counts = ", ".join(f"{summary.task} {summary.images:,}" for summary in report.summaries)
    rows = [("pictures measured", counts), ("hardware", ", ".join(hardware) or "not recorded")]
    asked = report.results.asked()
    rows += [(f"task {name}", _told(told)) for name, told in asked.get("tasks", {}).items()]
    rows += [("note", note) for note in asked.get("notes", [])]
    rows += [(name, _told(value)) for name, value in report.config.items() if name != "runs"]
    entries = [row(header(name, scope="row"), element("td", value, class_="words")) for name, value in rows]
    return joined(
        element(
            "div", element("table", element("tbody", *entries), class_="facts"), class_="scroll", tabindex="0"
        ),
        _runs(report.config.get("runs")),
    )


def _told(value: Any) -> str:
    """A value of the configuration in words."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_told(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(_told(part) for part in value)
    return value if isinstance(value, str) else json.dumps(value)


def _runs(runs: Any) -> Markup:
    """Runs as configured: what each spends and where it is looked at."""
    if not isinstance(runs, list):
        return Markup()
    rows = []
    for run in runs:
        name, *parts = run if isinstance(run, list) else [run]
        cells = [element("td", _told(part), class_="words") for part in parts]
        rows.append(row(header(_told(name), scope="row"), *cells))
    told = ("inner steps of every outer step", "looked at after", "kinds")
    head = row(header("run"), *(header(name, class_="words") for name in told))
    return table(head, rows, element("b", "runs"))


def failures(report: Report) -> Markup:
    """A line for every picture that could not be read, and on which tasks; empty where there is none."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for summary in report.summaries:
        for name, message in summary.failed.items():
            tasks.setdefault((name, message), []).append(summary.task)
    rows = [
        row(
            header(name, scope="row"),
            element("td", message.removeprefix(f"{name}: "), class_="words"),
            element("td", ", ".join(on), class_="words"),
        )
        for (name, message), on in tasks.items()
    ]
    head = row(header("picture"), header("why", class_="words"), header("tasks", class_="words"))
    return table(head, rows) if rows else Markup()


def unanswered(summary: TaskSummary) -> list[str]:
    """What methods failed on how many pictures, and why: their means are over the others."""
    return [
        f"{look.run} with {look.nfe:,} evaluations failed on {count} of {summary.images}: {why}"
        for look, reasons in summary.unanswered.items()
        for why, count in reasons.items()
    ]


def needed(report: Report) -> list[str]:
    """What measuring the same again needs besides the command line."""
    config, needs = report.config, list[str]()
    if config.get("lpips"):
        needs.append("LPIPS needs AlexNet's weights: downloaded, or given by --lpips-weights")
    if (config.get("features") or {}).get("name") == "inception":
        needs.append("FID needs Inception's weights: downloaded, or given by --fid-weights")
    if config.get("prompts"):
        needs.append(f"the prompts' SHA-256, joined by line ends, is {config['prompts']}")
    return needs
