"""The paper's Table 2: nested previews at 10, 20 and 30 evaluations beside plain DDRM, on four tasks."""

from __future__ import annotations

import math
from dataclasses import replace

from benchmarks.engine import paper
from benchmarks.engine.case import cases_of
from benchmarks.engine.markdown import conditions, markdown
from benchmarks.engine.paper import CLOSE, trials
from benchmarks.engine.setup import Finished, Options, measure_all
from benchmarks.engine.summary import TaskSummary, originals, summarise
from benchmarks.engine.trials import Look


def measure(options: Options, tasks: list[str], outer: int, inner: int) -> tuple[Finished, list[TaskSummary]]:
    """Measure, or go on, and summarise.

    Raises:
        RestorationError, ValueError: one line.
    """
    pinned = replace(options, posterior=paper.POSTERIOR)
    finished = measure_all("table2", pinned, cases_of(paper.chosen(tasks)), trials(outer, inner))
    if not finished.complete:
        return finished, []
    file = options.reference_stats
    if file is not None and finished.reference is None:
        originals(finished.results, tasks[0], finished.space).save(file)
    elif file is not None and finished.reference is not None:
        note = f"{finished.space.frechet_name} against {finished.reference.count:,} pictures of {file.name}"
        finished = replace(finished, notes=(*finished.notes, note))
    summaries = [
        summarise(finished.results, task, finished.space, finished.reference, kernel=True) for task in tasks
    ]
    return finished, summaries


def tables(finished: Finished, summaries: list[TaskSummary], outer: int, inner: int) -> list[str]:
    """Markdown lines: our numbers, the paper's beside them, and what to make of the differences."""
    config = finished.results.config
    whole, single = trials(outer, inner)
    looks = [Look(whole.name, "returned", nfe) for nfe in whole.stops]
    end = Look(single.name, "returned", single.stops[-1])
    early = [Look(single.name, kind, nfe) for kind in ("returned", "drawn") for nfe in single.stops[:-1]]
    as_paper = (outer, inner) == (paper.OUTER, paper.INNER)
    same = as_paper and "celeba" in config["prior"] and config["image shape"][1:] == [256, 256]
    distance = finished.space.frechet_name
    lines: list[str] = []
    for metric, told in (("PSNR", paper.PSNR), (distance, paper.FID), (finished.space.kernel_name, None)):
        head = [f"{metric} {'↑ dB' if metric == 'PSNR' else '↓'}"]
        head += [f"nested {look.nfe}" for look in looks] + [f"plain {end.nfe}"]
        head += [f"plain x̂₀ {look.nfe}" if look.kind == "returned" else f"drawn {look.nfe}" for look in early]
        rows = [
            [summary.task, *(_cell(value(summary, look, metric), metric) for look in [*looks, end, *early])]
            for summary in summaries
        ]
        lines += [*markdown(head, rows), ""]
        compared = [summary for summary in summaries if summary.task in (told or {})]
        if not as_paper or told is None or not compared:
            continue
        rows = []
        for summary in compared:
            ours = [value(summary, look, metric) for look in [*looks, end]]
            theirs = told[summary.task]
            cells = [_beside(a, b, metric, same) for a, b in zip(ours, theirs, strict=True)]
            gap, wanted = ours[-2] - ours[-1], theirs[-2] - theirs[-1]
            rows.append([summary.task, *cells, f"{gap:+.2f}", f"{wanted:+.2f}"])
        head = [f"the paper's {'PSNR' if metric == 'PSNR' else 'FID'}{' (ours − it: verdict)' if same else ''}"]
        head += [f"nested {look.nfe}" for look in looks] + [f"plain {end.nfe}"]
        lines += [*markdown([*head, "nested − plain at the end, ours", "the paper's"], rows), ""]
    if as_paper and not same and any(summary.task in paper.PSNR for summary in summaries):
        lines += ["Another prior, and other pictures than CelebA-HQ's: only the last two columns can be compared."]
    return lines + _ddrms_own(summaries, end) + conditions(finished, summaries)


def _ddrms_own(summaries: list[TaskSummary], end: Look) -> list[str]:
    """Plain DDRM beside what DDRM's paper has, where it has the task."""
    rows = [
        [summary.task, f"{value(summary, end, 'PSNR'):.2f}", f"{paper.DDRM_PSNR[summary.task]:.2f}"]
        for summary in summaries
        if summary.task in paper.DDRM_PSNR
    ]
    if not rows:
        return []
    head = ["DDRM's own rows, PSNR ↑ dB", f"ours, plain {end.nfe}", "DDRM's paper"]
    return [*markdown(head, rows), "", f"DDRM's paper: {paper.DDRM_CONDITIONS}.", ""]


def value(summary: TaskSummary, look: Look, metric: str) -> float:
    """One cell; NaN of a distance that one picture has not."""
    if metric == "PSNR":
        return summary.means[look]["psnr"].mean
    kind = summary.kernels if metric.startswith("K") else summary.distances
    return kind[look].value if look in kind else math.nan


def _cell(number: float, metric: str) -> str:
    return f"{number:.4f}" if metric.startswith("K") else f"{number:.2f}"


def _beside(ours: float, theirs: float, metric: str, same: bool) -> str:
    """The paper's number and, where prior and pictures are the paper's, the difference and what it says."""
    if not same or metric not in CLOSE:
        return f"{theirs:.2f}"
    difference = ours - theirs
    better = difference > 0 if metric == "PSNR" else difference < 0
    verdict = "equal" if abs(difference) <= CLOSE[metric] else "better" if better else "worse"
    return f"{theirs:.2f} ({difference:+.2f}: {verdict})"
