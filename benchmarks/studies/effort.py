"""What a way to spend 30 evaluations is worth: split evenly or not, and where outer steps restart.

Run: ``python -m benchmarks.studies.effort --data ../shared/data/faces/test.tar --limit 64 -o effort.json``.

Told is the PSNR of what would be returned if the run were stopped: after the last evaluation, and its mean over
all of them (the area under the PSNR-NFE curve over its length). Differences are per picture, beside three equal
steps, which ``Budget(30)`` is. An adaptive run that has ended keeps its result for the rest of its curve; with it
is told what pictures cost, by how well three equal steps restore them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.engine.case import Case, cases
from benchmarks.engine.chunk import hardware, problem_of, seed_of
from benchmarks.engine.markdown import markdown
from benchmarks.metrics.psnr import psnr
from benchmarks.studies import shared
from benchmarks.studies.effort_arms import Arm, Shared, arms, decided
from degradations import Measurement
from nested import Adaptive, atomic_write
from restoration.pictures.sources import Source, find
from restoration.priors import load_prior, prior_for
from restoration.restorer import Restorer, informed
from restoration.tasks import Problem
from solvers import FIRE, Prior
from solvers.posteriors.fire import Aim

TASKS = "denoise:0.25,sr4:0,inpaint:0,inpaint-scratch:0,inpaint-hole16:0,colorize:0"
ADAPTIVE = "adaptive"
THIRDS = ("of the best restored third", "of the middle", "of the worst")
LOOKS = (10, 20)
"""Evaluations at which the PSNR is told, beside the last."""


def curves(
    prior: Prior,
    case: Case,
    sources: Sequence[Source],
    ways: Sequence[Arm],
    batch: int,
    aim: Aim,
    effort: Adaptive | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """What every arm would return after each evaluation, and how many an adaptive run makes.

    Returns:
        PSNR in dB, (NFE, pictures) on the CPU, by the arm's name; and (pictures,) evaluations.
    """
    restorer = Restorer(prior, FIRE.Settings(aim))
    found: dict[str, list[Tensor]] = {arm.name: [] for arm in ways}
    spent: list[Tensor] = []
    for first in range(0, len(sources), batch):
        some = sources[first : first + batch]
        problems = [problem_of(case, source, prior.image_shape) for source in some]
        sampler = restorer.posterior(Measurement.stack([problem.measurement for problem in problems]))
        seeds, score = [seed_of(source.name) for source in some], _Score(restorer, problems)
        runs = Shared(sampler, seeds, score)
        for arm in ways:
            found[arm.name].append(runs.scores(arm).cpu())
        if effort is not None:
            alone = [restorer.posterior(problem.measurement) for problem in problems]
            known = [informed(effort, None, restorer.expects(problem.measurement)) for problem in problems]
            scores, evaluations = decided(alone, seeds, known, score)
            found.setdefault(ADAPTIVE, []).append(scores.cpu())
            spent.append(evaluations)
    nfe = torch.cat(spent) if spent else torch.zeros(0)
    return {name: torch.cat(parts, dim=1) for name, parts in found.items()}, nfe


class _Score:
    """PSNR of x₀ as it is shown, beside the clean pictures."""

    def __init__(self, restorer: Restorer, problems: Sequence[Problem]) -> None:
        self._shown, self._problems = restorer.shown, problems
        self._clean: Tensor | None = None

    def __call__(self, x0: Tensor) -> Tensor:
        pictures = [
            problem.finished(image[None]) for problem, image in zip(self._problems, self._shown(x0), strict=True)
        ]
        if self._clean is None:
            clean = [problem.original for problem in self._problems]
            self._clean = torch.stack([image for image in clean if image is not None]).to(x0.device)
        return psnr(torch.cat(pictures), self._clean)


def beside(values: Tensor) -> str:
    """A paired difference: its mean and standard error."""
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.zeros(())
    return f"{float(values.mean()):+.2f} ± {float(error):.2f}"


def table(task: str, found: dict[str, Tensor]) -> list[str]:
    """Markdown: an arm a row, the first one as it is and the others beside it."""
    (_, base), *_ = found.items()
    rows: list[list[str]] = []
    for name, curve in found.items():
        at = [f"{float(curve[nfe - 1].mean()):.2f}" for nfe in (*LOOKS, len(curve)) if nfe <= len(curve)]
        gains = [beside(curve.mean(0) - base.mean(0)), beside(curve[-1] - base[-1])]
        rows.append([name, f"{float(curve.mean()):.2f}", *at, *(["", ""] if curve is base else gains)])
    looks = [f"at {nfe}" for nfe in (*LOOKS, len(base)) if nfe <= len(base)]
    return markdown([task, "mean over the run, dB", *looks, "gain of the mean", "gain at the end"], rows)


def _numbers(curve: Tensor) -> list[list[float]]:
    """A curve of every picture."""
    return [[round(value, 4) for value in one] for one in curve.T.tolist()]


def by_difficulty(nfe: Tensor, base: Tensor) -> str:
    """Evaluations of adaptive runs, by thirds of the pictures as three even steps restore them."""
    order = base.argsort(descending=True).tensor_split(3)
    thirds = [f"{float(nfe[part].double().mean()):.1f} {name}" for part, name in zip(order, THIRDS, strict=True)]
    told = (
        f"adaptive: {float(nfe.double().mean()):.1f} evaluations a picture, {int(nfe.min())} to {int(nfe.max())}"
    )
    return f"{told}; {', '.join(thirds)}"


def main(
    data: shared.Data,
    limit: shared.Limit = 2,
    prior: str = "faces-64",
    tasks: Annotated[str, typer.Option(help="As of restore-bench compare: TASK or TASK:SIGMA.")] = TASKS,
    nfe: Annotated[int, typer.Option(help="Evaluations of every arm, a multiple of 30.")] = 30,
    only: Annotated[str | None, typer.Option(help="Some of the arms, by name, with ; between them.")] = None,
    tolerance: Annotated[float, typer.Option(help="Of adaptive runs.")] = Adaptive.tolerance,
    size: Annotated[int | None, typer.Option(help="Side of the pictures, in tiles; the prior's own.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 64,
    aim: str = "faithful",
    device: str = "auto",
    precision: str = "auto",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file of all curves.")] = None,
) -> None:
    """Print a table a task, in Markdown."""
    if nfe < 30 or nfe % 30:
        raise typer.BadParameter(f"--nfe must be a multiple of 30: got {nfe}")
    wanted = None if only is None else {name.strip() for name in only.split(";")}
    if wanted is not None and not wanted <= {ADAPTIVE, *(arm.name for arm in arms(nfe))}:
        raise typer.BadParameter(f"--only must name arms: got {only}")
    known = load_prior(prior, device, precision)
    channels, rows, columns = known.image_shape
    used = prior_for(known, (channels, size or rows, size or columns), tile_batch=256)
    sources = find(tuple(data))[:limit]
    first, *others = arms(nfe)
    ways = [first, *(arm for arm in others if wanted is None or arm.name in wanted)]
    effort = Adaptive(tolerance, nfe) if wanted is None or ADAPTIVE in wanted else None
    measured: dict[str, dict[str, Tensor]] = {}
    costs = {}
    for name, case in cases([text.strip() for text in tasks.split(",")]).items():
        found, spent = curves(used, case.fitted(True), sources, ways, batch, aim, effort)  # type: ignore[arg-type]
        shared.tell(*table(name, found), "")
        if effort is not None:
            shared.tell(by_difficulty(spent, found[first.name][-1]), "")
            costs[name] = spent.tolist()
        measured[name] = found
    conditions = (
        f"{len(sources)} pictures of {data[0].name}, {used.image_shape[2]}×{used.image_shape[1]}, {prior}, "
        f"FIRE {aim}, {hardware(known.device)}, torch {torch.__version__}"
    )
    shared.tell(conditions)
    if output is not None:
        parts = {
            task: {name: _numbers(curve) for name, curve in found.items()} for task, found in measured.items()
        }
        told = {"conditions": conditions, "pictures": [source.name for source in sources]}
        text = json.dumps({**told, "psnr": parts, "adaptive evaluations": costs})
        atomic_write(output, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    typer.run(main)
