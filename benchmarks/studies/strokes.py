"""What strokes of colour are worth: errors of hue and chroma of colorized pictures, in the strokes and elsewhere.

Run: ``python -m benchmarks.studies.strokes --data ../shared/data/faces/test.tar --limit 32``, and with
``--data ../shared/data/photos/test.tar --prior photos-64``.

Five short lines at random places of each picture carry the mean chroma of the clean picture along them, as
somebody would pick it. The same seeds restore with and without them. Errors are √(Δa² + Δb²) in CIELAB, the
difference of colour at equal lightness.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from skimage.color import rgb2lab
from torch import Tensor

from benchmarks.commands.sheet import Cell, contact_sheet
from benchmarks.studies import shared
from degradations import Measurement
from nested import atomic_write
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.tasks import Problem, Strokes, Task, derived_seed, fit_to, pose
from solvers import FIRE

STROKES, LENGTH, WIDTH = 5, 11, 2
STEPS = (10, 10, 10)
HOW = {"without": None, "strokes alone, exact": (0.0, 0.0), "strokes": (0.03, 8.0)}
"""Noise and spread of strokes."""


def drawn(picture: Tensor, seed: int) -> Strokes:
    """Five lines at random places of a picture (3, H, W), with its mean chroma along them."""
    generator = torch.Generator().manual_seed(seed)
    _, height, width = picture.shape
    where, colours = torch.zeros(height, width, dtype=torch.bool), torch.zeros_like(picture)
    for _ in range(STROKES):
        place, angle = torch.rand(2, generator=generator), float(torch.rand(1, generator=generator)) * math.pi
        line = torch.zeros_like(where)
        middle = [
            LENGTH / 2 + float(share) * (side - LENGTH) for share, side in zip(place, (height, width), strict=True)
        ]
        for step in torch.linspace(-LENGTH / 2, LENGTH / 2, 4 * LENGTH).tolist():
            row, column = int(middle[0] + step * math.sin(angle)), int(middle[1] + step * math.cos(angle))
            line[max(row, 0) : row + WIDTH, max(column, 0) : column + WIDTH] = True
        colours[:, line] = picture[:, line].mean(dim=1, keepdim=True)
        where |= line
    return Strokes(colours, where)


def errors(restored: Tensor, clean: Tensor) -> Tensor:
    """√(Δa² + Δb²) in CIELAB of each pixel, (H, W)."""
    pair = np.stack(
        [image.detach().cpu().double().clamp(0, 1).permute(1, 2, 0).numpy() for image in (restored, clean)]
    )
    one, two = rgb2lab(pair)[..., 1:]
    return torch.from_numpy(np.sqrt(((one - two) ** 2).sum(axis=-1)))


def looks(restorer: Restorer, measurement: Measurement, seeds: list[int]) -> list[Tensor]:
    """The completed previews (B, 3, H, W) of a batch."""
    return [p.image.cpu() for p in restorer.stream(measurement, allocation=STEPS, seeds=seeds) if p.complete]


def main(
    data: shared.Data,
    limit: shared.Limit = 2,
    prior: str = "faces-64",
    aim: Annotated[str, typer.Option(help="faithful or natural.")] = "faithful",
    batch: Annotated[int, typer.Option(help="Pictures a call of the network.")] = 8,
    device: str = "auto",
    sheet: Annotated[Path | None, typer.Option(help="A PNG of the first batch.")] = None,
) -> None:
    """Print a table, in Markdown."""
    known = load_prior(prior, device)
    restorer = Restorer(known, FIRE.Settings("natural" if aim == "natural" else "faithful"))
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    pictures = [fit_to(one, *known.image_shape[1:], shrink=True) for one in shared.clean_pictures(data, limit)]
    for first in range(0, len(pictures), batch):
        clean = pictures[first : first + batch]
        seeds = [derived_seed(first + i, "strokes") % 2**31 for i in range(len(clean))]
        posed = [pose(Task("colorize", simulate=True), one, known.image_shape) for one in clean]
        painted = [drawn(one, seed) for one, seed in zip(clean, seeds, strict=True)]
        results = {}
        for how, options in HOW.items():
            measurement = Measurement.stack(_with(*pair, options) for pair in zip(posed, painted, strict=True))
            results[how] = looks(restorer, measurement, seeds)
            for nfe, images in zip((10, 20, 30), results[how], strict=True):
                for image, one, strokes in zip(images, clean, painted, strict=True):
                    error = errors(image, one)
                    pair = float(error[strokes.where].mean()), float(error[~strokes.where].mean())
                    found.setdefault((how, nfe), []).append(pair)
        shared.tell(f"{first + len(clean)} pictures")
        if sheet is not None and not first:
            _draw(sheet, posed, painted, clean, results, prior)
    rows = []
    base = {nfe: np.array(found["without", nfe]) for nfe in (10, 20, 30)}
    for (how, nfe), values in found.items():
        gain = np.array(values) - base[nfe]
        spread = gain.std(axis=0, ddof=min(1, len(values) - 1)) / len(values) ** 0.5
        mean = np.mean(values, axis=0)
        told = (f"{mean[j]:.2f} ({gain[:, j].mean():+.2f} ± {spread[j]:.2f})" for j in (0, 1))
        rows.append([how, str(nfe), *told])
    head = ["colorize", "evaluations", "Δab in the strokes", "elsewhere"]
    shared.show(head, rows, f"{len(pictures)} pictures of {data[0].name}, {prior}, {aim}, {known.device}")


def _with(problem: Problem, strokes: Strokes, options: tuple[float, float] | None) -> Measurement:
    if options is None:
        return problem.measurement
    return Strokes(strokes.colours, strokes.where, *options).put_on(problem.measurement)


def _draw(
    path: Path,
    posed: list[Problem],
    painted: list[Strokes],
    clean: list[Tensor],
    results: dict[str, list[Tensor]],
    prior: str,
) -> None:
    """A sheet: grey with strokes, the results with and without, the original."""
    rows = []
    for i, (problem, strokes, original) in enumerate(zip(posed, painted, clean, strict=True)):
        given = torch.where(strokes.where, strokes.colours, problem.degraded)
        ends = [
            Cell(images[-1][i], f"error {float(errors(images[-1][i], original).mean()):.1f}")
            for images in results.values()
        ]
        rows.append((str(i + 1), [Cell(given), *ends, Cell(original)]))
    made = contact_sheet(f"Colorizing with strokes: {prior}", ("given", *HOW, "original"), rows, side=128)
    atomic_write(path, lambda file: made.save(file, "PNG"))


if __name__ == "__main__":
    typer.run(main)
