"""The page: everything of a results folder in one file of HTML that asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine.command_line import for_shell
from benchmarks.engine.summary import TaskSummary
from benchmarks.report.beside import beside, ddrms_own, same_conditions
from benchmarks.report.charts import KIND_STYLES, chart
from benchmarks.report.conditions import conditions, failures, needed, unanswered
from benchmarks.report.grids import grid
from benchmarks.report.markup import Markup, element, joined
from benchmarks.report.reading import Report, curves, metrics_of, read
from benchmarks.report.samples import samples_grid
from benchmarks.report.style import PAGE
from benchmarks.report.tables import areas, seconds, values
from nested.files import atomic_write
from restoration.errors import OutputError

FILE = "report.html"
KINDS = {
    "returned": "what would be returned if the run were stopped there: the end of the newest finished inner run, "
    "or before there is one the network's newest x̂₀",
    "newest": "the network's newest x̂₀, whether or not an inner run has ended",
    "drawn": "what restore shows: before an inner run has ended, the newest x̂₀ drawn towards the measurement",
}


def write(folder: Path, output: Path | None = None) -> Path:
    """Write the page of a results folder, whole or not at all, beside the results unless elsewhere is named.

    Raises:
        OutputError: it is no results folder, or the page cannot be written.
    """
    target = folder / FILE if output is None else output
    text = render(read(folder))
    try:
        atomic_write(target, lambda file: file.write(text.encode("utf-8", "replace")))
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from None
    return target


def render(report: Report) -> str:
    """The page's text, the same for the same results."""
    digest = base64.b64encode(hashlib.sha256(PAGE.encode()).digest()).decode()
    allowed = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = f"Nested Restoration: {_named(report)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=allowed),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(PAGE)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, element("body", *_body(report)), lang="en-GB") + "\n"


def _named(report: Report) -> str:
    command, tasks = report.config.get("command", "results"), [summary.task for summary in report.summaries]
    return "nested and vanilla generation" if _generated(report) else f"{command} on {', '.join(tasks)}"


def _generated(report: Report) -> bool:
    """Whether pictures were drawn from nothing, and not restored."""
    return report.config.get("command") == "generate"


def _body(report: Report) -> list[Markup]:
    compared = beside(report)
    enclosed = areas(report.summaries) if report.config.get("command") in ("anytime", "generate") else Markup()
    failed = failures(report)
    sections = [("paper", "Beside the paper's Table 2", joined(_comparable(report), compared))] if compared else []
    if own := ddrms_own(report):
        sections.append(("ddrm", "Beside DDRM's paper", own))
    if enclosed:
        told = "From the first point of a curve to the last, by trapezia; the smaller, the better at any time."
        sections.append(("areas", "What being anytime is worth", joined(element("p", told), enclosed)))
    sections += [(f"task-{i}", s.task, _task(report, s)) for i, s in enumerate(report.summaries)]
    if any(summary.seconds for summary in report.summaries):
        sections.append(("time", "Time", seconds(report.summaries)))
    if failed:
        told = "They count on neither side of any comparison."
        sections.append(("failed", "Pictures left out", joined(element("p", told), failed)))
    sections.append(("conditions", "Conditions", conditions(report)))
    sections.append(("again", "How to repeat it", _again(report)))
    links = [element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in sections]
    return [
        element("header", element("p", "Nested Restoration", class_="eyebrow"), *_lede(report)),
        element("nav", element("ul", *links), aria_label="Contents"),
        element("main", *(element("section", element("h2", name), body, id=id_) for id_, name, body in sections)),
    ]


def _lede(report: Report) -> list[Markup]:
    config = report.config
    few = sorted({summary.images for summary in report.summaries})
    images = f"{few[0]:,}" if len(few) == 1 else f"{few[0]:,} to {few[-1]:,}"
    data = config.get("data")
    shape = config.get("image shape")
    told = f"{images} {'sample' if _generated(report) else 'picture'}{'' if few == [1] else 's'}"
    if isinstance(data, list) and data:
        told += f" {'against' if _generated(report) else 'of'} {', '.join(map(str, data))}"
    told += f" at {shape[-1]} × {shape[-2]}" if isinstance(shape, list) and len(shape) > 1 else ""
    told += f", prior {config['prior']}" if "prior" in config else ""
    told += f", sampler {config['sampler']}" if "sampler" in config else ""
    told += f", η = {config['eta']}" if "eta" in config else ""
    told += f", η_b = {config['eta_b']}" if "eta_b" in config else ""
    lines = [element("h1", _named(report)), element("p", f"{told}.", class_="lede")]
    doubtful = next((d for s in report.summaries for d in s.distances.values() if not d.reliable), None)
    if doubtful is not None:
        note = f"{doubtful.name} is of fewer than 2,048 pictures, which makes it unreliable: compare it within a "
        lines.append(element("p", f"{note}task only.", class_="caution"))
    if report.space is None:
        lines.append(element("p", "No features were stored: there is no Fréchet distance.", class_="caution"))
    if config.get("lpips") is False:
        lines.append(
            element("p", "LPIPS was not available: AlexNet's weights were not to be had.", class_="caution")
        )
    return lines


def _comparable(report: Report) -> Markup:
    if same_conditions(report):
        return element("p", "Under the paper's numbers: ours less the paper's, and what to make of it.")
    told = (
        "Another prior, and other pictures than CelebA-HQ's: only the last column can be compared with the paper."
    )
    return element("p", told)


def _task(report: Report, summary: TaskSummary) -> Markup:
    """Pictures, curves and tables of one task."""
    metrics = metrics_of(summary)
    parts = [samples_grid(report, summary) if _generated(report) else grid(report, summary)]
    drawn = [
        element(
            "figure",
            element("figcaption", element("b", m.title), " ", element("span", m.arrow, class_="faint")),
            chart(curves(summary, m), m, summary.task),
        )
        for m in metrics
    ]
    parts.append(element("div", *drawn, class_="charts"))
    kinds = list(dict.fromkeys(look.kind for look in summary.means))
    parts.append(_key(kinds))
    what = "samples" if _generated(report) else "pictures"
    told = f"Means over {summary.images:,} {what}, ± their standard deviation; the best of a row is bold."
    parts.append(element("p", told))
    parts += [element("p", f"{line}.", class_="caution") for line in unanswered(summary)]
    parts.append(element("div", *(values(summary, metric) for metric in metrics), class_="tables"))
    return joined(*parts)


def _key(kinds: Sequence[str]) -> Markup:
    """How the kinds are drawn and what they are."""
    parts = []
    for kind in kinds:
        known = kind in KIND_STYLES
        line = element("line", x1=0, y1=5, x2=34, y2=5, class_="line")
        sample = element(
            "svg",
            element("g", line, class_=f"ink k-{kind if known else 'other'}"),
            viewBox="0 0 34 10",
            class_="sample",
            aria_hidden="true",
        )
        parts.append(element("dt", sample, " ", kind))
        parts.append(element("dd", KINDS.get(kind, "as the command names it")))
    return element("dl", *parts, class_="key")


def _again(report: Report) -> Markup:
    installed = report.config.get("nested-restoration")
    version = f"With nested-restoration {installed} and torch {report.config.get('torch', '(not recorded)')}."
    typed = element("pre", element("code", for_shell(report.argv)), tabindex="0")
    needs = [element("li", f"{need}.") for need in needed(report)]
    return joined(
        typed if report.argv else element("p", "The command line was not stored with these results."),
        element("p", version if installed else "The version was not recorded."),
        element("ul", *needs) if needs else Markup(),
        element("p", "This page again: ", element("code", "restore-bench report RESULTS"), "."),
    )
