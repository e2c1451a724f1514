"""What a way to spend 30 evaluations is worth: split evenly or not, and where outer steps restart.

Run: ``python -m benchmarks.studies.effort --data ../shared/data/faces/test.tar --limit 64 -o effort.json``.

Told is the PSNR of what would be returned if the run were stopped: after the last evaluation, and its mean over
all of them (the area under the PSNR-NFE curve over its length). Differences are per picture, beside three equal
steps.
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
from benchmarks.studies.effort_arms import Arm, Shared, arms
from degradations import Measurement
from nested import atomic_write
from restoration.pictures.sources import Source, find
from restoration.priors import load_prior, prior_for
from restoration.restorer import Restorer
from restoration.tasks import Problem
from solvers import FIRE, Prior
from solvers.posteriors.fire import Aim

TASKS = "denoise:0.25,sr4:0,inpaint:0,inpaint-scratch:0,inpaint-hole16:0,colorize:0"
LOOKS = (10, 20)
"""Evaluations at which the PSNR is told, beside the last."""


def curves(
    prior: Prior, case: Case, sources: Sequence[Source], ways: Sequence[Arm], batch: int, aim: Aim
) -> dict[str, Tensor]:
    """What is told of every arm, (3, NFE, pictures) on the CPU, by its name: see ``Shared.told``; PSNR in dB."""
    restorer = Restorer(prior, FIRE.Settings(aim))
    found: dict[str, list[Tensor]] = {arm.name: [] for arm in ways}
    for first in range(0, len(sources), batch):
        some = sources[first : first + batch]
        problems = [problem_of(case, source, prior.image_shape) for source in some]
        sampler = restorer.posterior(Measurement.stack([problem.measurement for problem in problems]))
        runs = Shared(sampler, [seed_of(source.name) for source in some], _Score(restorer, problems))
        for arm in ways:
            found[arm.name].append(runs.told(arm).cpu())
    return {name: torch.cat(parts, dim=2) for name, parts in found.items()}


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


def told(values: Tensor) -> str:
    """A paired difference: its mean and standard error."""
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.zeros(())
    return f"{float(values.mean()):+.2f} ± {float(error):.2f}"


def table(task: str, found: dict[str, Tensor]) -> list[str]:
    """Markdown: an arm a row, the first one as it is and the others beside it."""
    (_, (base, *_)), *_ = found.items()
    rows: list[list[str]] = []
    for name, (curve, *_) in found.items():
        at = [f"{float(curve[nfe - 1].mean()):.2f}" for nfe in (*LOOKS, len(curve)) if nfe <= len(curve)]
        gains = [told(curve.mean(0) - base.mean(0)), told(curve[-1] - base[-1])]
        rows.append([name, f"{float(curve.mean()):.2f}", *at, *(gains if rows else ["", ""])])
    looks = [f"at {nfe}" for nfe in (*LOOKS, len(base)) if nfe <= len(base)]
    return markdown([task, "mean over the run, dB", *looks, "gain of the mean", "gain at the end"], rows)


def _numbers(told: Tensor) -> dict[str, list[list[float]]]:
    """Of every picture a curve, by what it is of."""
    names = ("psnr", "change", "residual")
    return {
        name: [[round(value, 5) for value in curve] for curve in part.T.tolist()]
        for name, part in zip(names, told, strict=True)
    }


def main(
    data: shared.Data,
    limit: shared.Limit = 2,
    prior: str = "faces-64",
    tasks: Annotated[str, typer.Option(help="As of restore-bench compare: TASK or TASK:SIGMA.")] = TASKS,
    nfe: Annotated[int, typer.Option(help="Evaluations of every arm, a multiple of 30.")] = 30,
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
    known = load_prior(prior, device, precision)
    channels, rows, columns = known.image_shape
    used = prior_for(known, (channels, size or rows, size or columns), tile_batch=256)
    sources, ways = find(tuple(data))[:limit], arms(nfe)
    measured: dict[str, dict[str, Tensor]] = {}
    for name, case in cases([text.strip() for text in tasks.split(",")]).items():
        found = curves(used, case.fitted(True), sources, ways, batch, aim)  # type: ignore[arg-type]
        shared.tell(*table(name, found), "")
        measured[name] = found
    conditions = (
        f"{len(sources)} pictures of {data[0].name}, {used.image_shape[2]}×{used.image_shape[1]}, {prior}, "
        f"FIRE {aim}, {hardware(known.device)}, torch {torch.__version__}"
    )
    shared.tell(conditions)
    if output is not None:
        parts = {task: {name: _numbers(told) for name, told in found.items()} for task, found in measured.items()}
        pictures = [source.name for source in sources]
        text = json.dumps({"conditions": conditions, "pictures": pictures, "measured": parts})
        atomic_write(output, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    typer.run(main)
