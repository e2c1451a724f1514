"""Single-coil MRI from 4 and 8 times fewer lines: the prior beside zero-filling, A⁺ and total variation.

Run: ``python -m benchmarks.studies.mri --data brain-mri-test.tar``. Clean magnitude slices are the truth; their
k-space is computed, a mask drops most of it, and what is restored is compared over the head, the largest part of
the slice that is brighter than ``HEAD``, its holes filled. A magnitude image is real, so that F x at −k is known
where F x at k is: A⁺, total variation and the prior all use that, and only zero-filling does not. Total variation
is min ‖A x − y‖²/2 + w TV(x) by FISTA (Beck and Teboulle, 2009) with deepinv's proximal step; of several w the
one that is best on the very slices that are reported stands in the table, which flatters it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.engine.chunk import seed_of
from benchmarks.studies.shared import Data, Limit, show, tell
from degradations import FourierSampling, Measurement
from restoration.pictures import images
from restoration.pictures.sources import find
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task, pose, with_channels
from solvers import FIRE

HEAD = 0.08
"""Of white: what is darker is air."""
STEPS = (10, 10, 10)
WEIGHTS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
ITERATIONS = 150
Restored = Iterator[tuple[str, Tensor]]


def head(picture: Tensor) -> Tensor:
    """(H, W), True where the head is in a slice (1, H, W)."""
    from scipy import ndimage

    bright = ndimage.binary_closing(picture[0].numpy() > HEAD, iterations=2)
    labels, count = ndimage.label(bright)
    if count == 0:
        return torch.ones(picture.shape[1:], dtype=torch.bool)
    largest = 1 + int(np.argmax(ndimage.sum(bright, labels, range(1, count + 1))))
    return torch.from_numpy(ndimage.binary_fill_holes(labels == largest))


def scores(restored: Tensor, clean: Tensor, where: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM of one slice (1, H, W), over the pixels of (H, W) that are True."""
    from skimage.metrics import structural_similarity

    x, y = (picture[0].cpu().double().clamp(0, 1).numpy() for picture in (restored, clean))
    inside = where.numpy()
    mse = max(float(((x - y)[inside] ** 2).mean()), 1e-10)
    _, alike = structural_similarity(
        x, y, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return float(-10 * np.log10(mse)), float(alike[inside].mean())


def total_variation(measurement: Measurement, weight: float, iterations: int = ITERATIONS) -> Tensor:
    """(B, 1, H, W) of least ‖A x − y‖²/2 + weight · TV(x)."""
    from deepinv.models import TVDenoiser

    operator, y = measurement.operator, measurement.y
    step = TVDenoiser(n_it_max=25)
    x = at = operator.adjoint(y)
    t = 1.0
    for _ in range(iterations):
        before, gradient = x, operator.adjoint(operator(at) - y)
        x = step(at - gradient, weight)
        t, last = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        at = x + (last - 1) / t * (x - before)
    return x


def rows_of(
    measurement: Measurement, restorers: dict[str, Restorer], seeds: list[int], weights: tuple[float, ...]
) -> Restored:
    """Every method's pictures (B, 1, H, W), by name."""
    operator, y = measurement.operator, measurement.y
    assert isinstance(operator, FourierSampling)
    yield "zero-filled", operator.zero_filled(y)
    yield "A⁺ (real image)", operator.pinv(y)
    for weight in weights:
        yield f"TV {weight:g}", total_variation(measurement, weight)
    for name, restorer in restorers.items():
        for preview in restorer.stream(measurement, allocation=STEPS, seeds=seeds):
            if preview.complete and (name != "natural" or preview.nfe == preview.total_nfe):
                yield f"{name}, {preview.nfe} NFE", preview.image


def measure(
    clean: dict[str, Tensor],
    task: Task,
    restorers: dict[str, Restorer],
    weights: tuple[float, ...],
    batch: int,
    keep: Callable[[str, str, Tensor], None] = lambda name, method, picture: None,
) -> dict[str, list[tuple[float, float]]]:
    """PSNR and SSIM over the head of every slice, by method; of total variation those of its best weight.

    Args:
        clean: slices (1, H, W) of the prior's size, by name, which seeds mask and noise.
        keep: is given every restored slice.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    names = list(clean)
    (prior,) = {restorer.prior for restorer in restorers.values()}
    for first in range(0, len(names), batch):
        some = names[first : first + batch]
        seeds = [seed_of(name) for name in some]
        posed = [
            pose(task, clean[name], prior.image_shape, seed=seed) for name, seed in zip(some, seeds, strict=True)
        ]
        measurement = Measurement.stack([problem.measurement for problem in posed]).to(prior.device)
        for method, pictures in rows_of(measurement, restorers, seeds, weights):
            for name, picture in zip(some, pictures.cpu(), strict=True):
                found.setdefault(method, []).append(scores(picture, clean[name], head(clean[name])))
                keep(name, method, picture)
    tried = [method for method in found if method.startswith("TV ")]
    best = max(tried, key=lambda method: mean(found[method])[0], default="")
    return {method: rows for method, rows in found.items() if method not in tried or method == best}


def mean(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """Of PSNRs and of SSIMs."""
    return sum(psnr for psnr, _ in rows) / len(rows), sum(ssim for _, ssim in rows) / len(rows)


def main(
    data: Data,
    limit: Limit = 64,
    prior: Annotated[str, typer.Option(help="Of grey slices of one size.")] = "brain-mri-128",
    accelerations: Annotated[str, typer.Option(help="Parted by commas.")] = "4,8",
    masks: Annotated[str, typer.Option(help="Among equispaced, random, poisson.")] = "equispaced,random,poisson",
    sigma: Annotated[float, typer.Option(help="Noise of either part of k-space, [0, 1] units.")] = 0.0,
    batch: Annotated[int, typer.Option(help="Slices at once.")] = 16,
    device: str = "auto",
    output: Annotated[Path | None, typer.Option(help="Folder for the first slice, by every method.")] = None,
) -> None:
    """Print a table for every acceleration and mask."""
    network = load_prior(prior, device)
    samplers = {"faithful": FIRE.Settings(aim="faithful"), "natural": FIRE.Settings(aim="natural")}
    restorers = {name: Restorer(network, settings) for name, settings in samplers.items()}
    clean = {
        source.name: with_channels(images.decode(source.read(), source.name), 1)[0]
        for source in find(tuple(data))[:limit]
    }
    shown = next(iter(clean))
    for acceleration in accelerations.split(","):
        for kind in masks.split(","):
            task = Task("mri", sigma, simulate=True, acceleration=float(acceleration), mask_kind=kind)

            def keep(name: str, method: str, picture: Tensor, path: str = f"{acceleration}x-{kind}") -> None:
                if output is not None and name == shown:
                    place = output / path
                    place.mkdir(parents=True, exist_ok=True)
                    images.save(place / f"{method.replace(' ', '-').replace('/', '')}.png", picture, {})

            began = time.perf_counter()
            found = measure(clean, task, restorers, WEIGHTS, batch, keep)
            table = []
            for method, rows in found.items():
                psnr, ssim = mean(rows)
                table.append([method, f"{psnr:.2f}", f"{ssim:.3f}"])
            told = (
                f"{len(clean)} slices, {acceleration}× {kind}, σ {sigma:g}, {network.name} "
                f"{network.weights_sha256[:12]}, FIRE, {'+'.join(map(str, STEPS))} evaluations, over the head, "
                f"{time.perf_counter() - began:.0f} s, {network.device.type}"
            )
            show(["method", "PSNR, dB", "SSIM"], table, told)
            tell("")


if __name__ == "__main__":
    typer.run(main)
