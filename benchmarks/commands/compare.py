"""Our samplers, deepinv's and one-shot baselines: the same prior, pictures, noise and number of evaluations."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.comparison.classic import Classic
from benchmarks.comparison.deconvolution import RichardsonLucy, Wiener
from benchmarks.comparison.deepinv_samplers import DPS, DeepinvDDRM, DiffPIR, Sampler, require_deepinv
from benchmarks.comparison.enlarging import BICUBIC, LANCZOS
from benchmarks.comparison.non_local_means import NonLocalMeans
from benchmarks.engine import paper
from benchmarks.engine.case import Case
from benchmarks.engine.markdown import conditions, markdown
from benchmarks.engine.methods import MeanOfSamples, Method, OneEvaluation, Ours, PseudoInverse
from benchmarks.engine.setup import Finished, Options, measure_all
from benchmarks.engine.summary import Mean, TaskSummary, summarise
from benchmarks.engine.trials import Look
from benchmarks.report.conditions import unanswered
from solvers import FIRE

PAPER, NATURAL, FAITHFUL = paper.POSTERIOR, FIRE.Settings("natural"), FIRE.Settings("faithful")
METRICS = {"psnr": ("PSNR ↑ dB", 2), "ssim": ("SSIM ↑", 3), "lpips": ("LPIPS ↓", 3)}

SAMPLES = 8
"""Of which the mean is one method's picture."""

MOST = 1000
"""Evaluations: as many as ``NoiseSchedule.linear`` has levels, which the table on a Gaussian runs through."""


@dataclass(frozen=True)
class Budgets:
    """How many evaluations plain runs take, each number a run of its own, and how a nested run spends the most.

    Raises:
        ValueError: no numbers that rise from 2, more than the check on a Gaussian has noise levels, or outer steps
            that do not divide the last.
    """

    nfes: tuple[int, ...]
    outer: int

    @property
    def split(self) -> tuple[int, ...]:
        """Inner steps of every outer step."""
        return (self.nfes[-1] // self.outer,) * self.outer

    def __post_init__(self) -> None:
        told = ",".join(map(str, self.nfes))
        if list(self.nfes) != sorted(set(self.nfes)):
            raise ValueError(f"--nfe must rise: got {told}")
        if self.nfes[0] < 2:
            raise ValueError(f"--nfe must be at least 2: got {told}")
        if self.nfes[-1] > MOST:
            raise ValueError(f"--nfe must be at most {MOST}, the number of noise levels: got {told}")
        if self.outer < 1 or self.nfes[-1] % self.outer:
            raise ValueError(f"--outer must divide --nfe, {self.nfes[-1]}: got {self.outer}")


Maker = Callable[[Budgets], tuple[Method, ...]]


def _plain(make: Callable[[int], Method]) -> Maker:
    """A run of its own with every number of evaluations."""
    return lambda budgets: tuple(make(nfe) for nfe in budgets.nfes)


MAKERS: Mapping[str, Maker] = {
    "pinv": lambda _: (PseudoInverse(),),
    "one": lambda _: (OneEvaluation(),),
    "classic": lambda _: (Classic(),),
    "nlm": lambda _: (NonLocalMeans(),),
    "bicubic": lambda _: (BICUBIC,),
    "lanczos": lambda _: (LANCZOS,),
    "wiener": lambda _: (Wiener(),),
    "richardson-lucy": lambda _: (RichardsonLucy(),),
    "plain": _plain(lambda nfe: Ours("DDRM", (nfe,), PAPER)),
    "nested": lambda budgets: (Ours("nested DDRM", budgets.split, PAPER),),
    "faithful": _plain(lambda nfe: Ours("FIRE faithful", (nfe,), FAITHFUL)),
    "nested-faithful": lambda budgets: (Ours("nested FIRE faithful", budgets.split, FAITHFUL),),
    "natural": _plain(lambda nfe: Ours("FIRE natural", (nfe,), NATURAL)),
    "nested-natural": lambda budgets: (Ours("nested FIRE natural", budgets.split, NATURAL),),
    "mean": lambda budgets: (
        MeanOfSamples(f"mean of {SAMPLES} FIRE natural", budgets.nfes[-1], SAMPLES, NATURAL),
    ),
    "ddrm": _plain(DeepinvDDRM),
    "diffpir": _plain(DiffPIR),
    "dps": _plain(DPS),
}
"""By the names that ``--methods`` takes, in the order of the tables."""
ALL = "all"
COMPARED = "compare.json"
"""In a results folder: all rows, for programs."""


def chosen(
    names: Sequence[str], budgets: Budgets, dps_nfe: int | None = None, dps_weight: float | None = None
) -> tuple[Method, ...]:
    """Those methods, in the order of ``MAKERS``; where asked for, DPS once more with another budget or weight.

    Raises:
        ValueError: a name that is not there, fewer than 2 evaluations, a weight that is not above 0.
    """
    unknown = [name for name in names if name not in MAKERS and name != ALL]
    if unknown:
        raise ValueError(f"--methods must be {ALL} or among {', '.join(MAKERS)}: got {unknown[0]!r}")
    wanted = [name for name in MAKERS if name in names or ALL in names]
    methods = tuple(method for name in wanted for method in MAKERS[name](budgets))
    if dps_nfe is None and dps_weight is None:
        return methods
    if dps_nfe is not None and dps_nfe < 2:
        raise ValueError(f"--dps-nfe must be at least 2: got {dps_nfe}")
    if dps_weight is not None and not 0 < dps_weight < math.inf:
        raise ValueError(f"--dps-weight must be above 0: got {dps_weight}")
    weight = dps_weight or 1.0
    more = [
        DPS(nfe, f"deepinv DPS, weight {weight:g}", weight) for nfe in ([dps_nfe] if dps_nfe else budgets.nfes)
    ]
    own = {(method.weight, method.nfe) for method in methods if isinstance(method, DPS)}
    return (*methods, *(method for method in more if (weight, method.nfe) not in own))


def measure(
    options: Options, cases: Mapping[str, Case], budgets: Budgets, methods: tuple[Method, ...], mask: Path | None
) -> tuple[Finished, list[TaskSummary]]:
    """Measure, or go on, and summarise.

    Raises:
        RestorationError, ValueError: one line.
    """
    theirs = any(isinstance(method, Sampler) for method in methods)
    told = {
        "methods": [
            {"name": method.name, "stops": list(method.stops), "settings": method.settings} for method in methods
        ],
        "nfe": list(budgets.nfes),
        "outer": budgets.outer,
        "mask": None if mask is None else hashlib.sha256(mask.read_bytes()).hexdigest(),
        "deepinv": require_deepinv() if theirs else None,
    }
    alone = replace(options, inception=False)
    finished = measure_all("compare", alone, dict(cases), (), methods, told)
    if not finished.complete:
        return finished, []
    return finished, [summarise(finished.results, name, finished.space) for name in cases]


def rows(finished: Finished, summary: TaskSummary) -> list[dict[str, Any]]:
    """What was measured of one task, a row for every method and number of evaluations, JSON values by name.

    "failed" is of how many of "pictures" it failed; what was not measured is not there. A method that has nothing
    to say of the task has no row.
    """
    facts = finished.results.asked()["tasks"][summary.task]
    found = []
    for method in finished.results.config["methods"]:
        for nfe in method["stops"]:
            look = Look(method["name"], "returned", nfe)
            means, failed = summary.means.get(look, {}), summary.unanswered.get(look)
            if not means and failed is None:
                continue
            row: dict[str, Any] = {
                "task": facts["task"],
                "sigma": facts["sigma"],
                "method": look.run,
                "evaluations": nfe,
                "pictures": summary.images,
                "failed": 0 if failed is None else failed.total(),
            }
            for metric, mean in means.items():
                row[metric] = mean.mean
                if metric != "seconds" and mean.count > 1:
                    row[f"{metric} std"] = mean.std
            if look in summary.distances:
                row[summary.distances[look].name] = summary.distances[look].value
            found.append(row)
    return found


def tables(finished: Finished, summaries: list[TaskSummary]) -> list[str]:
    """Markdown lines: a table a task, what failed, what every method was told, and the check on a Gaussian."""
    config, distance = finished.results.config, finished.space.frechet_name
    lines: list[str] = []
    for summary in summaries:
        measured = rows(finished, summary)
        if not measured:
            lines += [f"{summary.task}: none of these methods is for it.", ""]
            continue
        title = f"{measured[0]['task']}, σ = {measured[0]['sigma']:g}"
        metrics = [metric for metric in METRICS if any(metric in row for row in measured)]
        head = [title, "evaluations", *(METRICS[metric][0] for metric in metrics), f"{distance} ↓"]
        cells = [_cells(row, summary, metrics, distance) for row in measured]
        lines += [*markdown([*head, "s a picture", "failed"], cells), ""]
        lines += [f"{line}." for line in unanswered(summary)]
        lines += [""] if summary.unanswered else []
    lines += conditions(finished, summaries)
    used = f"deepinv {config['deepinv']}; " if config["deepinv"] else ""
    lines += [
        f"{used}batches of {config['batch']}, and seconds are a batch's over its pictures; ± is the standard "
        f"deviation over pictures. {distance} is of what a method gave, to all originals.",
        "",
    ]
    told = {method["name"]: method["settings"] for method in config["methods"]}
    lines += [f"- {name}: {settings}." for name, settings in told.items()]
    if any(method["name"] == DeepinvDDRM.name for method in config["methods"]):
        from benchmarks.comparison.unconditional import table as unconditional

        lines += ["", *unconditional(config["nfe"][-1], config["outer"])]
    return lines


def text_of(finished: Finished, summaries: list[TaskSummary]) -> str:
    """All rows of all tasks as JSON, for programs."""
    found = [row for summary in summaries for row in rows(finished, summary)]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _cells(row: dict[str, Any], summary: TaskSummary, metrics: Sequence[str], distance: str) -> list[str]:
    look = Look(row["method"], "returned", row["evaluations"])
    means = summary.means.get(look, {})
    cells = [_cell(means.get(metric, Mean()), METRICS[metric][1]) for metric in metrics]
    cells += [f"{row[distance]:.3g}" if distance in row else "—", f"{row['seconds']:.3g}" if means else "—"]
    failed = f"{row['failed']} of {row['pictures']}" if row["failed"] else "0"
    return [look.run, f"{look.nfe:,}", *cells, failed]


def _cell(mean: Mean, digits: int) -> str:
    if not mean.count:
        return "—"
    return f"{mean.mean:.{digits}f}" + (f" ± {mean.std:.{digits}f}" if mean.count > 1 else "")
