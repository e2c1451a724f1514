"""A photograph larger than the prior, restored in tiles on three tasks, previews beside one another.

Run: ``python -m benchmarks.studies.photograph photo.jpg docs/photograph.jpg``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.commands.sheet import Cell, contact_sheet
from benchmarks.metrics.psnr import psnr
from nested import atomic_write
from restoration.pictures import images
from restoration.priors import load_prior, prior_for
from restoration.restorer import Preview, Restorer
from restoration.tasks import Task, pose

TASKS = {
    "inpaint\n50 %": Task("inpaint", simulate=True),
    "enlarge\n4 x": Task("sr4", simulate=True),
    "denoise\nsigma 0.1": Task("denoise", sigma=0.1, simulate=True),
}
PREVIEWS = (10, 20, 30)


def main(
    photo: Annotated[Path, typer.Argument(help="A picture of any size.")],
    output: Annotated[Path, typer.Argument(help="A PNG or JPEG.")],
    prior: Annotated[str, typer.Option(help="Embedded prior, or any other.")] = "photos-64",
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Restore it, tell the PSNR of every preview, and draw them all."""
    console = Console(highlight=False, soft_wrap=True)
    network, picture = load_prior(prior, device, precision), images.load(photo)
    rows: list[tuple[str, list[Cell]]] = []
    for name, task in TASKS.items():
        problem = pose(task, picture, network.image_shape, seed=seed)
        original = problem.original
        assert original is not None  # simulated
        restorer = Restorer(prior_for(network, problem.measurement.operator.image_shape))
        cells = [Cell(original), Cell(problem.degraded)]
        begun = time.perf_counter()

        def watch(preview: Preview, cells: list[Cell] = cells, original: torch.Tensor = original) -> None:
            if preview.complete:
                shown = problem.crop(preview.image[0]).cpu()  # noqa: B023  # called within this round
                cells.append(Cell(shown, f"{float(psnr(shown[None], original[None])):.2f} dB"))

        restorer.restore(problem.measurement, seeds=[seed], watch=watch)
        rows.append((name, cells))
        told = ", ".join(cell.caption for cell in cells[2:])
        console.print(f"{name.replace(chr(10), ' ')}: {told}; {time.perf_counter() - begun:.0f} s", markup=False)
    columns = ("original", "degraded", *(f"preview at {n} evaluations" for n in PREVIEWS))
    size = f"{picture.shape[2]} x {picture.shape[1]}"
    title = f"{size} in tiles of {network.image_shape[2]} x {network.image_shape[1]}: {network.name}"
    sheet = contact_sheet(title, columns, rows, side=320)
    form = "JPEG" if output.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    atomic_write(output, lambda file: sheet.save(file, form, quality=88))


if __name__ == "__main__":
    typer.run(main)
