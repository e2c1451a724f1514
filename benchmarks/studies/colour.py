"""Why nested runs may end with worse colours than plain ones: step count, η, schedule, the first run's commitment.

Run: ``python -m benchmarks.studies.colour --data faces.tar --prior faces-64``, and again with a prior that
predicts ε (``python -m benchmarks.studies.epsilon_twin``). A line a run: PSNR after each inner run; of the last
picture the error of its mean colour, which is most of what a wrong hue costs; and how alike the errors of mean
colour of the first and the last preview are, over pictures: 1 is a hue that the first inner run decided for good.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.engine.case import Case
from benchmarks.engine.chunk import problem_of, seed_of
from benchmarks.engine.trials import Look, Trial, follow, nested_trial
from benchmarks.metrics.psnr import psnr
from degradations import Measurement
from restoration.pictures.sources import find
from restoration.priors import DiffusionPrior, load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task
from solvers import DDRM


class Blend:
    """A prior whose x̂₀ is `share` of one's and the rest another's: an ε-network with so much of its errors."""

    def __init__(self, one: DiffusionPrior, other: DiffusionPrior, share: float) -> None:
        self.one, self.other, self.share = one, other, share
        self.schedule, self.image_shape, self.device = one.schedule, one.image_shape, one.device
        self.name = f"{share:g} {one.name}, {1 - share:g} {other.name}"

    def fingerprint(self) -> str:
        """Of both, and the share."""
        return f"{self.share} {self.one.fingerprint()} {self.other.fingerprint()}"

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ (B, C, H, W), two evaluations."""
        return self.share * self.one.denoise(x_k, k) + (1 - self.share) * self.other.denoise(x_k, k)


@dataclass(frozen=True)
class Setting:
    """Inner steps of every outer step, and DDRM's η."""

    allocation: tuple[int, ...]
    eta: float = 0.85


SETTINGS = (
    Setting((30,)),
    Setting((10, 10, 10)),
    *(Setting((n,)) for n in (10, 20, 60)),
    *(Setting((30,), eta) for eta in (0.0, 0.5, 1.0)),
    *(Setting((10, 10, 10), eta) for eta in (0.0, 0.5, 1.0)),
    *(Setting(steps) for steps in ((15, 15), (6, 6, 6, 6, 6), (16, 8, 6), (20, 5, 5), (6, 8, 16))),
    Setting((16, 8, 6), 1.0),
)


def mean_error(restored: Tensor, clean: Tensor) -> Tensor:
    """(B, C): the error of each picture's mean colour, [0, 1] units."""
    return (restored.clamp(0, 1) - clean).double().mean(dim=(2, 3))


def alike(first: Tensor, last: Tensor) -> float:
    """The correlation, over pictures and channels, of two sets of errors."""
    return float((first * last).sum() / (first.square().sum() * last.square().sum()).sqrt())


def main(
    data: Annotated[list[Path], typer.Option(help="Folder or tar of clean colour pictures.")],
    prior: Annotated[str, typer.Option(help="Embedded prior, or any other.")] = "faces-64",
    limit: Annotated[int, typer.Option(help="How many pictures.")] = 48,
    share: Annotated[float, typer.Option(help="Of the prior's x̂₀; the rest is --other's.")] = 1.0,
    other: Annotated[str, typer.Option(help="What it is blended with.")] = "faces-64",
    precision: str = "auto",
    device: str = "auto",
) -> None:
    """Print a table, in Markdown."""
    network, console = load_prior(prior, device, precision), Console(soft_wrap=True, highlight=False)
    solved = network if share == 1 else Blend(network, load_prior(other, device, precision), share)
    task, sources = Task("colorize", simulate=True, fit=True), find(tuple(data))[:limit]
    problems = [problem_of(Case(task), source, network.image_shape) for source in sources]
    measurement = Measurement.stack(problem.measurement for problem in problems)
    clean = torch.stack([problem.original for problem in problems if problem.original is not None])
    seeds = [seed_of(source.name) for source in sources]
    console.print("| inner steps | η | PSNR after each, dB | mean colour's error | first to last |", markup=False)
    console.print("|---" * 5 + "|", markup=False)
    start = time.perf_counter()
    for setting in SETTINGS:
        trial: Trial = nested_trial(setting.allocation, tuple(accumulate(setting.allocation)))
        found, _ = follow(trial, Restorer(solved, DDRM.Settings(eta=setting.eta)).posterior(measurement), seeds)
        pictures = [found[Look(trial.name, "returned", nfe)].cpu() for nfe in trial.stops]
        quality = ", ".join(f"{float(psnr(picture, clean).mean()):.2f}" for picture in pictures)
        errors = [mean_error(picture, clean) for picture in pictures]
        kept = f"{alike(errors[0], errors[-1]):.2f}" if len(errors) > 1 else ""
        console.print(
            f"| {', '.join(map(str, setting.allocation))} | {setting.eta:g} | {quality} "
            f"| {float(errors[-1].square().mean().sqrt()):.4f} | {kept} |",
            markup=False,
        )
    console.print(
        f"{len(sources)} pictures of {data[0].name}, {share:g} of {prior} (predicts {network.prediction}), η_b 1, "
        f"{network.device.type}, torch {torch.__version__}, {time.perf_counter() - start:.0f} s",
        markup=False,
    )


if __name__ == "__main__":
    typer.run(main)
