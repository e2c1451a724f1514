"""What enters a deblurred picture from beyond its frame: errors of the rim and of the rest.

Run: ``python -m benchmarks.studies.frame --data ../shared/data/photos/val.tar``. The middle of each picture is
blurred together with what is around it, as a camera does, and rounded to 8 bits; only the middle is restored from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.comparison.deconvolution import richardson_lucy, wiener
from benchmarks.studies.shared import Data, Limit, clean_pictures, middle, show
from degradations import Blur, Measurement
from restoration.priors import DiffusionPrior, load_prior, prior_for
from restoration.restorer import Restorer
from restoration.tasks import Task, pose
from solvers import DDRM, FIRE

RIM = 8  # pixels


def photographed(picture: Tensor, kernel: Tensor, side: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The clean middle, and what a camera sees of it: blurred with what is around it, noisy, in 8 bits."""
    reach = max(kernel.shape) // 2
    whole = middle(picture, side + 2 * reach)
    blurred = middle(Blur(whole.shape, kernel)(whole[None])[0], side)
    noise = torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    return middle(picture, side), ((blurred + sigma * noise).clamp(0, 1) * 255).round() / 255


def restored(y: Tensor, spec: str, sigma: float, prior: DiffusionPrior) -> Iterator[tuple[str, Tensor]]:
    """Pictures (C, H, W) by how they were made."""
    yield "blurred", y
    task = Task("deblur", sigma or None, kernel=spec)
    problem = pose(task, y, prior.image_shape)
    filled = problem.measurement
    periodic = Measurement(y[None], task.kind.operator((3, *y.shape[1:]), None), filled.sigma)
    mirrored = Measurement(problem.frame.pad(y)[None], filled.operator, filled.sigma)
    for name, classic in (("Wiener", wiener), ("Richardson–Lucy, 30 rounds", richardson_lucy)):
        yield f"{name}, periodic", classic(periodic)[0]
        yield f"{name}, frame filled", problem.crop(classic(filled))[0]
    known = prior_for(prior, filled.operator.image_shape)
    for name, settings, measurement in (
        ("DDRM, frame mirrored", DDRM.Settings(), mirrored),
        ("DDRM", DDRM.Settings(), filled),
        ("FIRE natural", FIRE.Settings("natural"), filled),
        ("FIRE faithful", FIRE.Settings("faithful"), filled),
    ):
        result = Restorer(known, settings).restore(measurement, outer=3, inner=10, seeds=[1])
        yield name, problem.finished(result.image)[0].cpu()


def errors(clean: Tensor, picture: Tensor) -> tuple[float, float, float]:
    """PSNR in dB of all, of the rim and of the rest."""
    error = (picture.clamp(0, 1) - clean).square().mean(dim=0)
    inside = torch.zeros_like(error, dtype=torch.bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    parts = (error.mean(), error[~inside].mean(), error[inside].mean())
    return tuple(float(-10 * part.log10()) for part in parts)  # type: ignore[return-value]


@torch.no_grad()
def main(
    data: Data,
    limit: Limit = 3,
    side: Annotated[int, typer.Option(help="Pixels a side of what is photographed.")] = 96,
    kernel: Annotated[str, typer.Option(help="As restore's.")] = "gaussian:1.6",
    sigma: Annotated[float, typer.Option(help="Of noise, besides rounding to 8 bits.")] = 0.0,
    prior: str = "photos-64",
) -> None:
    """Print a table, in Markdown."""
    known, weights = load_prior(prior), Task("deblur", kernel=kernel).kind
    found: dict[str, list[tuple[float, float, float]]] = {}
    pictures = clean_pictures(data, limit)
    for picture in pictures:
        clean, y = photographed(picture, weights.weights, side, sigma)  # type: ignore[attr-defined]
        for name, result in restored(y, kernel, sigma, known):
            found.setdefault(name, []).append(errors(clean, result))
    rows = [[name, *(f"{mean:.2f}" for mean in np.mean(values, axis=0))] for name, values in found.items()]
    told = f"{len(pictures)} pictures of {data[0].name}, {side}×{side}, {prior}"
    show([f"{kernel}, σ = {sigma:g}", "PSNR ↑ dB", f"outermost {RIM}", "inside"], rows, told)


if __name__ == "__main__":
    typer.run(main)
