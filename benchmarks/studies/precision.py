"""What a network in half precision, or compiled, changes in the final picture, and what it gains in time.

Run: ``python -m benchmarks.studies.precision --data ../shared/data/faces/test.tar``. Same seeds and measurements
for all; PSNR is between the float32 network's result and the other's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.engine.case import Case
from benchmarks.engine.chunk import problem_of
from benchmarks.engine.paper import TASKS
from benchmarks.metrics.psnr import psnr
from degradations import Measurement
from restoration.pictures.sources import Source, find
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task


def measured(task: Task, sources: list[Source], shape: tuple[int, int, int]) -> Measurement:
    """Simulated measurements of the pictures as one batch, each seeded by its name."""
    return Measurement.stack(problem_of(Case(task), source, shape).measurement for source in sources)


def results(
    measurements: dict[str, Measurement], prior: str, device: str, precision: str, compiled: bool
) -> tuple[dict[str, Tensor], float]:
    """Final pictures by task, and seconds after one evaluation that warms up."""
    restorer = Restorer(load_prior(prior, device, precision, compile=compiled))
    first = next(iter(measurements.values()))
    restorer.restore(first, outer=1, inner=1, seeds=range(len(first)))
    start = time.perf_counter()
    pictures = {name: restorer.restore(m, seeds=range(len(m))).image.cpu() for name, m in measurements.items()}
    return pictures, time.perf_counter() - start


def main(
    data: Annotated[list[Path], typer.Option(help="Folder or tar of clean pictures.")],
    limit: Annotated[int, typer.Option(help="How many of them.")] = 4,
    prior: Annotated[str, typer.Option(help="Embedded prior, or any other.")] = "faces-64",
    device: str = "auto",
) -> None:
    """Print a table, in Markdown."""
    shape = load_prior(prior, "cpu").image_shape
    sources = find(tuple(data))[:limit]
    tasks = {name: Task(name, task.sigma, simulate=True, fit=True) for name, task in TASKS.items()}
    measurements = {name: measured(task, sources, shape) for name, task in tasks.items()}
    reference, seconds = results(measurements, prior, device, "fp32", False)
    console = Console(soft_wrap=True, highlight=False)
    console.print("| network | " + " | ".join(TASKS) + " | time against float32 |", markup=False)
    console.print("|---" * (len(TASKS) + 2) + "|", markup=False)
    for name, precision, compiled in (
        ("bf16", "bf16", False),
        ("fp16", "fp16", False),
        ("compiled", "fp32", True),
    ):
        pictures, took = results(measurements, prior, device, precision, compiled)
        cells = [f"{float(psnr(pictures[task], reference[task]).mean()):.1f} dB" for task in TASKS]
        console.print(f"| {name} | " + " | ".join(cells) + f" | {took / seconds:.2f} |", markup=False)
    console.print(
        f"{len(sources)} pictures of {data[0].name}, {prior}, torch {torch.__version__}, {seconds:.0f} s in fp32"
    )


if __name__ == "__main__":
    typer.run(main)
