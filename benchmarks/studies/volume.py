"""Flicker between restored slices: with noise of their own, with shared noise, and drawn together along z.

Run: ``python -m benchmarks.studies.volume --data brain-mri-test.tar``. Two volumes: one slice moved by a smooth
field a little further from slice to slice, which is made up but sharp, and the real one that nibabel ships for its
tests (``example4d.nii.gz``, thick slices). Flicker is the RMS, over pixels of the head, of how the error, restored
less clean, changes from one slice to the next; PSNR is over the head, too.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional

from benchmarks.studies.mri import HEAD
from benchmarks.studies.shared import show
from degradations import Measurement
from degradations.arguments import whole
from restoration.pictures import images
from restoration.pictures.sources import find
from restoration.priors import load_prior
from restoration.priors.volume import VolumePrior
from restoration.restorer import Restorer
from restoration.tasks import Task, pose, with_channels
from solvers import FIRE

SHIFT = 1.5
"""Pixels by which the field moves from slice to slice where it moves most."""
ARMS = {
    "own noise": (False, 0.0),
    "shared noise": (True, 0.0),
    "shared, together 0.25": (True, 0.25),
    "shared, together 0.5": (True, 0.5),
    "shared, together 1": (True, 1.0),
}


def moved(picture: Tensor, slices: int) -> Tensor:
    """(D, 1, H, W): a slice (1, H, W), moved by a smooth field a little further from one to the next."""
    height, width = picture.shape[1:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    field = torch.stack([torch.sin(2 * y + 1), torch.cos(3 * x)], dim=-1) * 2 * SHIFT / max(height, width)
    still = torch.stack([x, y], dim=-1)
    grids = torch.stack([still + field * (d - slices / 2) for d in range(slices)])
    many = picture.expand(slices, -1, -1, -1)
    return functional.grid_sample(many, grids, mode="bicubic", align_corners=True).clamp(0, 1)


def shipped(slices: int, side: int) -> Tensor:
    """(D, 1, side, side): the middle of nibabel's example, its first volume, padded by air."""
    import nibabel

    folder = Path(nibabel.__file__).parent / "tests" / "data"
    volume = np.asarray(nibabel.load(folder / "example4d.nii.gz").dataobj[..., 0], np.float32)
    first = (volume.shape[2] - slices) // 2
    stack = torch.from_numpy(volume[..., first : first + slices]).permute(2, 1, 0)[:, None].flip(2)
    stack = (stack / float(stack.quantile(0.999) if stack.numel() < 10**7 else stack.max())).clamp(0, 1)
    rows, columns = (side - length for length in stack.shape[2:])
    return functional.pad(stack, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def measured(restored: Tensor, clean: Tensor) -> tuple[float, float]:
    """PSNR in dB and flicker of volumes (D, 1, H, W), over what is brighter than air."""
    error, inside = restored - clean, clean > HEAD
    psnr = -10 * math.log10(float(error[inside].square().mean()))
    both = inside[1:] & inside[:-1]
    return psnr, float(error.diff(dim=0)[both].square().mean().sqrt())


def main(
    data: Annotated[Path, typer.Option(help="Folder or tar of slices; the first is moved.")],
    slices: Annotated[int, typer.Option(help="Of each volume.")] = 8,
    tasks: Annotated[str, typer.Option(help="TASK or TASK:SIGMA, parted by commas.")] = "denoise:0.1,sr4,mri4",
    prior: str = "brain-mri-128",
    evaluations: Annotated[int, typer.Option(help="Of a slice.")] = 10,
    aim: str = "faithful",
    device: str = "auto",
) -> None:
    """Print the table, in Markdown."""
    whole("slices", slices, 2)
    network = load_prior(prior, device)
    source = find((data,))[0]
    picture = with_channels(images.decode(source.read(), source.name), 1)[0]
    volumes = {"moved": moved(picture, slices), "nibabel's": shipped(slices, network.image_shape[1])}
    rows = []
    for name, volume in volumes.items():
        for text in tasks.split(","):
            title, _, sigma = text.partition(":")
            task = Task(title, float(sigma) if sigma else None, simulate=True)
            posed = [pose(task, one, network.image_shape, seed=d).measurement for d, one in enumerate(volume)]
            measurement = Measurement.stack(posed)
            for arm, (shared, together) in ARMS.items():
                whole_volume = VolumePrior(network, slices, together)
                restorer = Restorer(whole_volume, FIRE.Settings().replaced({"aim": aim}))
                seeds = [7] * slices if shared else list(range(slices))
                done = restorer.restore(measurement, allocation=(evaluations,), seeds=seeds)
                psnr, flicker = measured(done.image.cpu(), volume)
                rows.append([name, text, arm, f"{psnr:.2f}", f"{flicker:.4f}"])
    told = (
        f"{slices} slices, {evaluations} evaluations, FIRE {aim}, {network.name} {network.weights_sha256[:12]}, "
        f"{network.device.type}"
    )
    show(["volume", "task", "slices have", "PSNR, dB", "flicker"], rows, told)


if __name__ == "__main__":
    typer.run(main)
