"""Under which conditions the numbers were measured, and the command that measures them again."""

from __future__ import annotations

import json
import shlex
from typing import Any

from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Report
from benchmarks.summary import TaskSummary

PRECISIONS = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
"""As a prior's fingerprint names them, and as the option does."""


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
        f"{name} failed on {count} of {summary.images}: {why}"
        for name, reasons in summary.unanswered.items()
        for why, count in reasons.items()
    ]


def command(report: Report) -> tuple[str, list[str]]:
    """The command line that measures the same again, and what it could not be told from the results."""
    config = report.config
    known, open_ = str(config.get("command", "COMMAND")), list[str]()
    words = ["restore-bench", known]
    if "reference statistics" in config:
        words += ["--reference-stats", str(config["reference statistics"])]
    for name in _list(config.get("data")) or ([] if "reference statistics" in config else ["DATA"]):
        words += ["--data", str(name)]
    words += ["--prior", str(config.get("prior", "PRIOR"))]
    words += [] if known == "generate" else ["--tasks", ",".join(_tasks(report))]
    words += _spent(known, config, open_)
    words += ["--fit"] if config.get("fit") else []
    count = str(max(s.images + len(s.failed) for s in report.summaries))
    words += ["--samples", count, *_drawn(config, open_)] if known == "generate" else ["--limit", count]
    words += ["--batch", str(config["batch"])] if "batch" in config else []
    words += ["--device", str(config["device"])] if "device" in config else []
    words += ["--precision", _precision(config, open_)]
    if known not in ("table2", "compare"):  # which pin η and η_b
        words += [f"--{name.replace('_', '-')}={config[name]}" for name in ("eta", "eta_b") if name in config]
    if config.get("lpips"):
        open_.append("LPIPS needs AlexNet's weights: downloaded, or given by --lpips-weights")
    if (config.get("features") or {}).get("name") == "inception":
        open_.append("FID needs Inception's weights: downloaded, or given by --fid-weights")
    open_.append("--data names folders and archives without the path to them")
    return _lines([*words, "-o", "RESULTS"]), open_


def _lines(words: list[str]) -> str:
    """For a shell: every option on a line of its own."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def _tasks(report: Report) -> list[str]:
    """In the order they were asked for, where it is recorded."""
    there = [summary.task for summary in report.summaries]
    asked = list(report.results.asked().get("tasks", {}))
    return [*(name for name in asked if name in there), *(name for name in there if name not in asked)]


def _drawn(config: dict[str, Any], open_: list[str]) -> list[str]:
    """Options of ``generate`` alone."""
    words = ["--seed", str(config.get("seed", 0))]
    for name in ("guidance", "clip", "feature prior"):
        words += [f"--{name.replace(' ', '-')}", str(config[name])] if config.get(name) is not None else []
    classes = _list(config.get("classes"))
    words += ["--classes", ",".join(map(str, classes))] if classes not in ([], ["all"]) else []
    if config.get("prompts"):
        words += ["--prompts", "FILE"]
        open_.append(f"the prompts' SHA-256, joined by line ends, is {config['prompts']}")
    open_.append(f"the reference had {config.get('reference pictures')} pictures (--limit)")
    return words


def _spent(known: str, config: dict[str, Any], open_: list[str]) -> list[str]:
    """Options that say how evaluations are spent."""
    allocations = [run[1] for run in _list(config.get("runs")) if isinstance(run, list) and len(run) > 1]
    allocations = [[int(n) for n in _list(a)] for a in allocations]
    equal = [a for a in allocations if a and len(set(a)) == 1]
    if known == "table2" and equal:
        return ["--outer", str(len(equal[0])), "--inner", str(equal[0][0])]
    if known == "anytime" and allocations:
        words = ["--total", str(sum(allocations[0])), "--splits", ",".join(str(len(a)) for a in equal)]
        for other in (a for a in allocations if a not in equal):
            words += ["--allocation", ",".join(map(str, other))]
        return words
    if known == "compare":
        asked = {name: config[name] for name in ("nfe", "outer", "sigma") if name in config}
        open_.append("which methods were compared, --methods and --dps-…, stands above under methods")
        return [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    if known == "generate":
        lists = {name: ",".join(map(str, _list(config.get(name)))) for name in ("totals", "splits", "dpm")}
        words = [part for name, numbers in lists.items() if numbers for part in (f"--{name}", numbers)]
        return [*words, "--inner", str(config.get("inner", "ddim"))]
    if known != "consistency":  # which has runs of its own
        open_.append("how evaluations were spent stands in the table of runs")
    return []


def _precision(config: dict[str, Any], open_: list[str]) -> str:
    if "precision" in config:
        return str(config["precision"])
    fingerprint = str(config.get("prior fingerprint", ""))
    found = next((option for dtype, option in PRECISIONS.items() if dtype in fingerprint.split()), None)
    if found is None:
        open_.append("--precision was not recorded")
    return found or "auto"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
