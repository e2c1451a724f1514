"""What a network in half precision, or compiled, changes in the final picture, and what it gains in time.

Run: ``python -m benchmarks.precision --data ../shared/data/faces/test.tar``. Same seeds and measurements for all;
PSNR is between the float32 network's result and the other's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.chunk import stacked
from benchmarks.faces64 import TASKS, faces, measure, psnr
from degradations import Measurement
from restoration.priors import load_prior
from restoration.restorer import Restorer


def results(
    measurements: dict[str, Measurement], prior: str, device: str, precision: str, compiled: bool
) -> tuple[dict[str, Tensor], float]:
    """Final pictures by task, and seconds after one evaluation that warms up."""
    restorer = Restorer(load_prior(prior, device, precision, compile=compiled))
    first = next(iter(measurements.values()))
    restorer.restore(first, outer=1, inner=1, seeds=range(len(first)))
    start = time.perf_counter()
    pictures = {name: restorer.restore(m, seeds=range(len(m))).image for name, m in measurements.items()}
    return pictures, time.perf_counter() - start


def main(
    data: Annotated[Path, typer.Option(help="A tar of face pictures.")],
    limit: Annotated[int, typer.Option(help="How many of them.")] = 4,
    prior: Annotated[str, typer.Option(help="Embedded prior, or any other.")] = "faces-64",
    device: str = "auto",
) -> None:
    """Print a table, in Markdown."""
    size = load_prior(prior, "cpu").image_shape[1]
    originals = faces(data, limit, size)
    measurements = {name: stacked(measure(task, originals)) for name, task in TASKS.items()}
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
        cells = [f"{psnr(reference[task].cpu(), pictures[task]):.1f} dB" for task in TASKS]
        console.print(f"| {name} | " + " | ".join(cells) + f" | {took / seconds:.2f} |", markup=False)
    console.print(
        f"{limit} pictures of {data.name}, {prior}, torch {torch.__version__}, {seconds:.0f} s in float32"
    )


if __name__ == "__main__":
    typer.run(main)
