"""``make demo``: a face restored on the paper's four tasks, previews coming in, and a contact sheet of it all.

The face is scikit-image's astronaut (Eileen Collins, NASA, public domain); the prior is the embedded faces-64.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from skimage.data import astronaut
from torch import Tensor

from benchmarks.commands.sheet import Cell, contact_sheet
from benchmarks.metrics.psnr import psnr
from nested import atomic_write
from restoration.pictures import images
from restoration.priors import load_prior
from restoration.restorer import Preview, Restorer
from restoration.tasks import Task, pose

TASKS = {
    "denoise\nsigma 0.5": Task("denoise", sigma=0.5, simulate=True, fit=True),
    "enlarge\n16 x": Task("sr16", simulate=True, fit=True),
    "colorize": Task("colorize", simulate=True, fit=True),
    "inpaint\n50 %": Task("inpaint", simulate=True, fit=True),
}
PREVIEWS = (10, 20, 30)
COLUMNS = ("original", "degraded", *(f"preview at {n} evaluations" for n in PREVIEWS), "plain DDRM at 30")


def face() -> Tensor:
    """(3, 128, 128) in [0, 1]: the astronaut's face, cropped as the prior's training faces are."""
    return torch.from_numpy(astronaut()[50:178, 160:288].copy()).permute(2, 0, 1).float() / 255


def table(scores: dict[str, list[float]]) -> Table:
    """PSNRs so far, a row a task."""
    drawn = Table("task", "degraded", *(f"{n} evaluations" for n in PREVIEWS), "DDRM, 30", title="PSNR, dB")
    for name in TASKS:
        drawn.add_row(name.replace("\n", " "), *(f"{value:.2f}" for value in scores.get(name, [])))
    return drawn


def main(
    output: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Repeats a run.")] = 0,
) -> None:
    """Restore a face on four tasks, show the PSNR of every preview as it comes, and draw a contact sheet."""
    console, start = Console(), time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    restorer = Restorer(load_prior("faces-64"))
    ddrm = Restorer(restorer.prior, "ddrm")
    rows: list[tuple[str, list[Cell]]] = []
    scores: dict[str, list[float]] = {}
    with Live(console=console, auto_refresh=False) as live:
        for name, task in TASKS.items():
            problem = pose(task, face(), restorer.prior.image_shape, seed=seed)
            original = problem.original
            assert original is not None  # simulated
            cells = [Cell(original)]
            scores[name] = []
            rows.append((name, cells))

            def add(picture: Tensor, name: str = name, original: Tensor = original) -> None:
                scores[name].append(float(psnr(picture[None], original[None])))
                rows[-1][1].append(Cell(picture, f"{scores[name][-1]:.2f} dB"))
                live.update(table(scores), refresh=True)

            def watch(preview: Preview, add: Callable[[Tensor], None] = add) -> None:
                if preview.complete:
                    add(preview.image[0])

            add(problem.degraded)
            restorer.restore(problem.measurement, seeds=[seed], watch=watch)
            ddrm.restore(problem.measurement, seeds=[seed], watch=watch, vanilla=True)
    if not console.is_terminal:
        console.print()  # a live table ends its last line only there
    images.save(output / "face.png", face(), {})
    sheet = contact_sheet("One face, four degradations, one prior: Nested FIRE, 3 x 10 evaluations", COLUMNS, rows)
    atomic_write(output / "contact-sheet.png", lambda file: sheet.save(file, "PNG"))
    console.print(f"{output / 'contact-sheet.png'} written, {time.perf_counter() - start:.0f} s", highlight=False)
    console.print(
        f"Try: .venv/bin/restore {output / 'face.png'} --task sr4 --simulate --fit --prior faces-64 "
        f"-o {output / 'sr4.png'}",
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
