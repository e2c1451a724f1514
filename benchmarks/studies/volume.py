"""Flicker between restored slices: with noise of their own, with shared noise, and drawn together along z.

Run: ``python -m benchmarks.studies.volume --data brain-mri-test.tar --volumes 4``. Two kinds of volume: single
slices, each moved by a smooth field a little further from slice to slice, which are made up but sharp, and the
real one that nibabel ships for its tests (``example4d.nii.gz``, thick slices). Flicker is the RMS, over pixels of
the head, of how the error, restored less clean, changes from one slice to the next; PSNR is over the head, too.
Both are means over volumes; how much less flicker there is than with noise of their own is told volume by volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
OWN = "own noise"


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


def arms(weights: Sequence[float]) -> dict[str, tuple[bool, float]]:
    """Whether slices share noise and how strongly they are drawn together, by name; the first is compared with."""
    drawn = {f"shared, together {weight:g}": (True, weight) for weight in weights}
    return {OWN: (False, 0.0), "shared noise": (True, 0.0), **drawn}


def less(flicker: Sequence[float], than: Sequence[float]) -> str:
    """The change of flicker in percent, the mean over volumes and from which to which."""
    changes = [100 * (one / other - 1) for one, other in zip(flicker, than, strict=True)]
    mean = f"{sum(changes) / len(changes):+.1f} %"
    return mean if len(changes) == 1 else f"{mean} ({min(changes):+.1f} … {max(changes):+.1f})"


def main(
    data: Annotated[Path, typer.Option(help="Folder or tar of slices, of which some are moved.")],
    volumes: Annotated[int, typer.Option(help="Of moved slices, which are spread evenly over the data.")] = 1,
    slices: Annotated[int, typer.Option(help="Of each volume.")] = 8,
    tasks: Annotated[str, typer.Option(help="TASK or TASK:SIGMA, parted by commas.")] = "denoise:0.1,sr4,mri4",
    together: Annotated[str, typer.Option(help="Weights, parted by commas.")] = "0.25,0.5,1",
    prior: str = "brain-mri-128",
    evaluations: Annotated[int, typer.Option(help="Of a slice.")] = 10,
    aim: str = "faithful",
    moved_only: Annotated[bool, typer.Option("--moved-only", help="Leave out what nibabel ships.")] = False,
    device: str = "auto",
) -> None:
    """Print the table, in Markdown."""
    whole("slices", slices, 2)
    whole("volumes", volumes, 1)
    network = load_prior(prior, device)
    found = find((data,))
    sources = found[:: max(1, len(found) // volumes)][:volumes]
    pictures = [with_channels(images.decode(source.read(), source.name), 1)[0] for source in sources]
    kinds = {"moved": [moved(picture, slices) for picture in pictures]}
    if not moved_only:
        kinds["nibabel's"] = [shipped(slices, network.image_shape[1])]
    compared = arms([float(weight) for weight in together.split(",")])
    sampler = FIRE.Settings().replaced({"aim": aim})
    rows = []
    for name, several in kinds.items():
        for text in tasks.split(","):
            title, _, sigma = text.partition(":")
            task = Task(title, float(sigma) if sigma else None, simulate=True)
            scores: dict[str, list[tuple[float, float]]] = {arm: [] for arm in compared}
            for v, volume in enumerate(several):
                own = range(v * slices, (v + 1) * slices)
                posed = [
                    pose(task, one, network.image_shape, seed=d).measurement
                    for d, one in zip(own, volume, strict=True)
                ]
                measurement = Measurement.stack(posed)
                for arm, (shared, weight) in compared.items():
                    restorer = Restorer(VolumePrior(network, range(slices), weight), sampler)
                    seeds = [7] * slices if shared else list(own)
                    done = restorer.restore(measurement, allocation=(evaluations,), seeds=seeds)
                    scores[arm].append(measured(done.image.cpu(), volume))
            flickers = {arm: [flicker for _, flicker in scored] for arm, scored in scores.items()}
            for arm, scored in scores.items():
                psnr = sum(one for one, _ in scored) / len(scored)
                flicker = sum(flickers[arm]) / len(scored)
                change = "" if arm == OWN else less(flickers[arm], flickers[OWN])
                rows.append([name, text, arm, f"{psnr:.2f}", f"{flicker:.4f}", change])
    told = (
        f"{volumes} moved, {slices} slices, {evaluations} evaluations, FIRE {aim}, {network.name} "
        f"{network.weights_sha256[:12]}, {network.device.type}"
    )
    show(["volume", "task", "slices have", "PSNR, dB", "flicker", "flicker, to own noise"], rows, told)


if __name__ == "__main__":
    typer.run(main)
