"""JPEG undone: quality against the decoded file, and how well the operator predicts what a file holds.

Run: ``python -m benchmarks.studies.jpeg --data ../shared/data/photos/val.tar``. The middle of each picture is
written by Pillow (4:2:0), and restored from the file in 3 × 10 evaluations; nothing else is read of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor

from benchmarks.studies.shared import Data, Limit, clean_pictures, middle, show
from restoration.pictures import images
from restoration.pictures.scores import scores_of
from restoration.priors import DiffusionPrior, load_prior, prior_for
from restoration.restorer import Restorer
from restoration.tasks import Problem, Task, pose
from solvers import DDRM, FIRE, Spectral

SAMPLERS: dict[str, Spectral.Settings] = {
    "DDRM": DDRM.Settings(),
    "FIRE natural": FIRE.Settings("natural"),
    "FIRE faithful": FIRE.Settings("faithful"),
}


def problem_of(clean: Tensor, quality: int, prior: DiffusionPrior) -> tuple[Problem, Tensor]:
    """What is to be restored of the file that Pillow writes, and what it decodes to."""
    pixels = np.ascontiguousarray((clean * 255).round().byte().permute(1, 2, 0).numpy())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        Image.fromarray(pixels).save(path, quality=quality)
        task, picture = Task("jpeg").opened(path)
        return pose(task, picture, prior.image_shape), images.load(path)


def predicted(problem: Problem, clean: Tensor) -> float:
    """The share of a file's coefficients that the operator, rounded, makes of the clean picture."""
    measurement = problem.measurement
    whole = problem.frame.pad(clean)[None]
    exact = measurement.operator(whole) - measurement.y  # y and the file's numbers differ by the same level
    return float((exact.abs() < 0.5).float().mean())


def previews(problem: Problem, prior: DiffusionPrior, settings: Spectral.Settings) -> Iterator[Tensor]:
    """(C, H, W) at 10, 20 and 30 evaluations."""
    restorer = Restorer(prior_for(prior, problem.measurement.operator.image_shape), settings)
    for preview in restorer.stream(problem.measurement, outer=3, inner=10, seeds=[1]):
        if preview.complete:
            yield problem.finished(preview.image)[0].cpu()


@torch.no_grad()
def main(
    data: Data,
    limit: Limit = 24,
    side: Annotated[int, typer.Option(help="Pixels a side of what is used of them.")] = 64,
    qualities: Annotated[str, typer.Option(help="Pillow's, with commas.")] = "10,20,40",
    prior: str = "photos-64",
) -> None:
    """Print a table, in Markdown."""
    known = load_prior(prior)
    pictures = [middle(picture, side) for picture in clean_pictures(data, limit)]
    rows = []
    for quality in map(int, qualities.split(",")):
        scores: dict[str, list[dict[str, float]]] = {}
        shares, again = [], []
        for clean in pictures:
            problem, decoded = problem_of(clean, quality, known)
            shares.append(predicted(problem, clean))
            scores.setdefault("decoded", []).append(scores_of(clean, decoded))
            for name, settings in SAMPLERS.items():
                for nfe, picture in zip((10, 20, 30), previews(problem, known, settings), strict=True):
                    scores.setdefault(f"{name}, {nfe}", []).append(scores_of(clean, picture))
                again.append(problem.task.kind.facts(picture)["reencoded"])
        for name, found in scores.items():
            mean = {metric: np.mean([score[metric] for score in found]) for metric in ("psnr", "ssim")}
            rows.append([str(quality), name, f"{mean['psnr']:.2f}", f"{mean['ssim']:.3f}"])
        told = f"predicted {np.mean(shares):.2%}, results re-encode to {np.mean(again):.2%}"
        rows.append([str(quality), told, "", ""])
    told = f"{len(pictures)} pictures of {data[0].name}, {side}×{side}, {prior}"
    show(["quality", "picture, evaluations", "PSNR ↑ dB", "SSIM ↑"], rows, told)


if __name__ == "__main__":
    typer.run(main)
