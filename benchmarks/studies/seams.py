"""Whether tiles show: gradient energy on their borders against elsewhere, by overlap, with and without shifting.

Run: ``python -m benchmarks.studies.seams photo.jpg``. Of every restoration it prints, at the lines where windows
of the last evaluation end, the ratio of the mean squared difference of neighbouring pixels to that of lines near
them; the same of the clean picture, which is what the first would be without seams; and the same of the error
(restoration − clean), where 1 is no seam whatever the picture shows.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.metrics.psnr import psnr
from nested import uniform
from restoration.pictures import images
from restoration.priors import TiledPrior, load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task, kind_of, pose

NEAR = (-8, -4, 4, 8)  # pixels from a border
SIGMA = 0.1  # of the noise in denoise, [0, 1] units


def seam_energy(picture: Tensor, tiles: TiledPrior, k: int = 1) -> float:
    """Mean squared difference of neighbours across the window borders of level k, over that of lines near them.

    Those are 4 and 8 pixels to either side: what is there looks alike, and SR4's blocks fall on them alike.

    Args:
        picture: (C, H, W).
    """
    places = tiles.windows(k)
    on = near = 0.0
    for axis, size in enumerate(tiles.prior.image_shape[1:]):
        differences = picture.double().diff(dim=axis + 1).square().transpose(1, axis + 1).mean(dim=(0, 2))
        energy = dict(enumerate(differences.tolist(), start=1))
        borders = {place[axis] + edge for place in places for edge in (0, size)} & energy.keys()
        for border in borders:
            beside = [energy[at] for step in NEAR if (at := border + step) in energy.keys() - borders]
            if beside:
                on += energy[border]
                near += sum(beside) / len(beside)
    return on / near


def crop(picture: Tensor, width: int, height: int) -> Tensor:
    """Its centre; all of it where 0 is asked."""
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width] if width and height else picture


def main(
    photo: Annotated[Path, typer.Argument(help="A picture without degradation.")],
    prior: Annotated[str, typer.Option(help="Embedded prior, or a diffusers folder.")] = "photos-64",
    width: Annotated[int, typer.Option(help="Of the centre that is used; 4 divides it.")] = 232,
    height: Annotated[int, typer.Option(help="Of the centre that is used; 4 divides it.")] = 176,
    tasks: Annotated[str, typer.Option(help="Parted by commas.")] = "inpaint,sr4,denoise",
    overlaps: Annotated[str, typer.Option(help="Pixels, parted by commas.")] = "0,8,16,24",
    seeds: Annotated[int, typer.Option(help="Runs whose mean is told.")] = 2,
    device: str = "auto",
) -> None:
    """Print the table, in Markdown."""
    network = load_prior(prior, device)
    original = crop(images.load(photo), width, height).contiguous()
    shape = (original.shape[0], original.shape[1], original.shape[2])
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        "| task | overlap | shift | windows | seconds | PSNR, dB | restored | clean | error |", markup=False
    )
    console.print("|---" * 9 + "|", markup=False)
    for name in tasks.split(","):
        task = Task(name, SIGMA if kind_of(name).needs_sigma else None, simulate=True)
        for overlap in map(int, overlaps.split(",")):
            for shift in (False, True):
                tiles = TiledPrior(network, shape, overlap, shift=shift)
                measurement = pose(task, original, shape, seed=0).measurement.expand(seeds)
                start = time.perf_counter()
                done = Restorer(tiles).restore(measurement, allocation=uniform(3, 5), seeds=range(seeds))
                seconds = (time.perf_counter() - start) / seeds
                pictures = done.image.cpu()
                restored, error = (
                    sum(seam_energy(x, tiles) for x in batch) / seeds for batch in (pictures, pictures - original)
                )
                console.print(
                    f"| {name} | {overlap} | {'yes' if shift else 'no'} | {len(tiles.windows(1))} | {seconds:.1f} "
                    f"| {float(psnr(pictures, original[None].expand_as(pictures)).mean()):.2f} "
                    f"| {restored:.3f} | {seam_energy(original, tiles):.3f} | {error:.3f} |",
                    markup=False,
                )
    console.print(
        f"{photo.name}, {shape[2]}×{shape[1]}, {network.name} {network.weights_sha256[:12]}, 3 × 5 evaluations, "
        f"denoise σ {SIGMA}, seeds 0–{seeds - 1}, {platform.machine()}, {network.device.type}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        markup=False,
    )


if __name__ == "__main__":
    typer.run(main)
