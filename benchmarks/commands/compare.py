"""Our samplers, deepinv's and one-shot baselines: the same prior, pictures, noise and number of evaluations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.comparison.classic import Classic
from benchmarks.comparison.deconvolution import RichardsonLucy, Wiener
from benchmarks.comparison.deepinv_samplers import DPS, DeepinvDDRM, DiffPIR, require_deepinv
from benchmarks.comparison.unconditional import table as unconditional
from benchmarks.engine import paper
from benchmarks.engine.markdown import conditions, markdown
from benchmarks.engine.methods import Method, OneEvaluation, Ours, PseudoInverse
from benchmarks.engine.setup import Finished, Options, measure_all
from benchmarks.engine.summary import Mean, TaskSummary, summarise
from benchmarks.engine.trials import Look
from benchmarks.report.conditions import unanswered
from restoration.tasks import Task
from solvers import FIRE

PAPER, NATURAL, FAITHFUL = paper.POSTERIOR, FIRE.Settings("natural"), FIRE.Settings("faithful")
METRICS = {"psnr": ("PSNR ↑ dB", 2), "ssim": ("SSIM ↑", 3), "lpips": ("LPIPS ↓", 3)}

MOST = 1000
"""Evaluations: as many as ``NoiseSchedule.linear`` has levels, which the table on a Gaussian runs through."""


@dataclass(frozen=True)
class Budget:
    """How many evaluations, and in how many outer steps nested DDRM spends them.

    Raises:
        ValueError: fewer than 2 evaluations, more than the check on a Gaussian has noise levels, or outer steps
            that do not divide them.
    """

    nfe: int
    outer: int

    @property
    def split(self) -> tuple[int, ...]:
        """Inner steps of every outer step."""
        return (self.nfe // self.outer,) * self.outer

    def __post_init__(self) -> None:
        if self.nfe < 2:
            raise ValueError(f"--nfe must be at least 2: got {self.nfe}")
        if self.nfe > MOST:
            raise ValueError(f"--nfe must be at most {MOST}, the number of noise levels: got {self.nfe}")
        if self.outer < 1 or self.nfe % self.outer:
            raise ValueError(f"--outer must divide --nfe, {self.nfe}: got {self.outer}")


MAKERS: Mapping[str, Callable[[Budget], Method]] = {
    "pinv": lambda _: PseudoInverse(),
    "one": lambda _: OneEvaluation(),
    "classic": lambda _: Classic(),
    "wiener": lambda _: Wiener(),
    "richardson-lucy": lambda _: RichardsonLucy(),
    "plain": lambda budget: Ours("DDRM", (budget.nfe,), PAPER),
    "nested": lambda budget: Ours("nested DDRM", budget.split, PAPER),
    "faithful": lambda budget: Ours("FIRE faithful", (budget.nfe,), FAITHFUL),
    "nested-faithful": lambda budget: Ours("nested FIRE faithful", budget.split, FAITHFUL),
    "natural": lambda budget: Ours("FIRE natural", (budget.nfe,), NATURAL),
    "nested-natural": lambda budget: Ours("nested FIRE natural", budget.split, NATURAL),
    "ddrm": lambda budget: DeepinvDDRM(budget.nfe),
    "diffpir": lambda budget: DiffPIR(budget.nfe),
    "dps": lambda budget: DPS(budget.nfe),
}
"""By the names that ``--methods`` takes, in the order of the tables."""


def chosen(
    names: Sequence[str], budget: Budget, dps_nfe: int | None = None, dps_weight: float | None = None
) -> tuple[Method, ...]:
    """Those methods, in the order of ``MAKERS``; where asked for, DPS once more with another budget or weight.

    Raises:
        ValueError: a name that is not there, fewer than 2 evaluations, a weight that is not above 0.
    """
    unknown = [name for name in names if name not in MAKERS]
    if unknown:
        raise ValueError(f"--methods must be among {', '.join(MAKERS)}: got {unknown[0]!r}")
    methods = tuple(make(budget) for name, make in MAKERS.items() if name in names)
    if dps_nfe is None and dps_weight is None:
        return methods
    if dps_nfe is not None and dps_nfe < 2:
        raise ValueError(f"--dps-nfe must be at least 2: got {dps_nfe}")
    if dps_weight is not None and not 0 < dps_weight < math.inf:
        raise ValueError(f"--dps-weight must be above 0: got {dps_weight}")
    nfe, weight = dps_nfe or budget.nfe, dps_weight or 1.0
    return (*methods, DPS(nfe, f"deepinv DPS, {nfe:,}, weight {weight:g}", weight))


def posed(names: Sequence[str], sigma: float) -> dict[str, Task]:
    """Tasks by name, with noise σ ([0, 1] units) where the task does not bring its own.

    Raises:
        ValueError: a name that is not known, or a negative σ.
    """
    tasks = paper.chosen(names)
    Task("inpaint", sigma)  # says what is wrong with a σ that no task here needs
    return {
        name: replace(task, sigma=task.sigma or sigma) if task.kind.takes_sigma else task
        for name, task in tasks.items()
    }


def measure(
    options: Options, tasks: Sequence[str], sigma: float, budget: Budget, methods: tuple[Method, ...]
) -> tuple[Finished, list[TaskSummary]]:
    """Measure, or go on, and summarise.

    Raises:
        RestorationError, ValueError: one line.
    """
    told = {
        "methods": {method.name: method.settings for method in methods},
        "nfe": budget.nfe,
        "outer": budget.outer,
        "sigma": sigma,
        "deepinv": require_deepinv(),
    }
    alone = replace(options, distances=False)
    finished = measure_all("compare", alone, posed(tasks, sigma), (), methods, told)
    if not finished.complete:
        return finished, []
    return finished, [summarise(finished.results, task) for task in dict.fromkeys(tasks)]


def tables(finished: Finished, summaries: list[TaskSummary]) -> list[str]:
    """Markdown lines: a table a task, what failed, what every method was told, and the check on a Gaussian."""
    config = finished.results.config
    lines: list[str] = []
    for summary in summaries:
        sigma = posed([summary.task], config["sigma"])[summary.task].sigma
        told = summary.unanswered
        metrics = [metric for metric in METRICS if any(metric in means for means in summary.means.values())]
        title = summary.task if sigma is None else f"{summary.task}, σ = {sigma:g}"  # jpeg's noise is its own
        head = [title, "evaluations", *(METRICS[metric][0] for metric in metrics)]
        rows = [_row(summary, name, metrics, told.get(name)) for name in config["methods"]]
        lines += [*markdown([*head, "s a picture", "failed"], rows), ""]
        lines += [f"{line}." for line in unanswered(summary)]
        lines += [""] if told else []
    lines += conditions(finished, summaries)
    lines += [
        f"deepinv {config['deepinv']}; every picture by itself, ± is the standard deviation over pictures.",
        "",
    ]
    lines += [f"- {name}: {settings}." for name, settings in config["methods"].items()]
    return [*lines, "", *unconditional(config["nfe"], config["outer"])]


def _row(summary: TaskSummary, name: str, metrics: Sequence[str], failed: Counter[str] | None) -> list[str]:
    look, means = next(
        ((look, means) for look, means in summary.means.items() if look.run == name),
        (Look(name, "returned", 0), {}),
    )
    cells = [_cell(means.get(metric, Mean()), METRICS[metric][1]) for metric in metrics]
    spent = f"{look.nfe:,}" if means else "—"
    count = f"{failed.total()} of {summary.images}" if failed else "0"
    return [name, spent, *cells, f"{summary.seconds.get(name, 0):.2f}", count]


def _cell(mean: Mean, digits: int) -> str:
    if not mean.count:
        return "—"
    return f"{mean.mean:.{digits}f}" + (f" ± {mean.std:.{digits}f}" if mean.count > 1 else "")
