"""What a preview is worth: PSNR of nested and plain DDRM on held-out faces, at equal network evaluations.

Run: ``python -m benchmarks.faces64 --data ../shared/data/faces/test.tar``. It prints the table of the README.
"""

from __future__ import annotations

import io
import platform
import tarfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console
from torch import Tensor

from benchmarks.chunk import stacked
from benchmarks.metrics import psnr as metrics
from degradations import Measurement
from nested import NestedDiffusion, uniform
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task, pose
from solvers import DDRM, NoiseSource

TASKS = {
    "denoise, σ = 0.5": Task("denoise", sigma=0.5, simulate=True),
    "SR4": Task("sr4", simulate=True),
    "SR16": Task("sr16", simulate=True),
    "colorize": Task("colorize", simulate=True),
    "inpaint, 50 %": Task("inpaint", simulate=True),
}
OUTER, INNER = 3, 10


def faces(tar: Path, limit: int, size: int) -> Tensor:
    """The first ``limit`` pictures of a tar, area-averaged to size × size: (limit, 3, size, size) in [0, 1]."""
    pictures = []
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is None:
                continue
            picture = Image.open(io.BytesIO(file.read())).convert("RGB").resize((size, size), Image.Resampling.BOX)
            pictures.append(torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8))
            if len(pictures) == limit:
                break
    stacked = torch.stack(pictures).reshape(-1, size, size, 3)
    return stacked.permute(0, 3, 1, 2).float() / 255


def measure(task: Task, originals: Tensor) -> list[Measurement]:
    """One simulated measurement a picture, seeded by its position."""
    shape = (originals.shape[1], originals.shape[2], originals.shape[3])
    return [pose(task, picture, shape, seed=i).measurement for i, picture in enumerate(originals)]


def psnr(original: Tensor, restored: Tensor) -> float:
    """Mean over pictures (B, C, H, W) of ``benchmarks.metrics.psnr``."""
    return float(metrics.psnr(restored.cpu(), original).mean())


def row(posterior: DDRM, originals: Tensor) -> dict[str, float]:
    """PSNRs of one task."""
    scores: dict[str, float] = {}
    total = OUTER * INNER
    for plain, allocation in ((False, uniform(OUTER, INNER)), (True, (total,))):
        noise = NoiseSource(range(len(originals)), posterior.measurement.y.device)
        nested = NestedDiffusion(posterior, allocation)
        for estimate in nested.run(nested.start(posterior.initial(nested.schedule.K, noise), noise)):
            if plain and estimate.nfe % INNER == 0:
                scores[f"plain {estimate.nfe}"] = psnr(originals, (estimate.x0 + 1) / 2)
                if not estimate.complete:
                    scores[f"drawn {estimate.nfe}"] = psnr(originals, (posterior.preview(estimate.x0) + 1) / 2)
            elif estimate.complete:
                scores[f"nested {estimate.nfe}"] = psnr(originals, (estimate.x0 + 1) / 2)
    return scores


def main(
    data: Annotated[Path, typer.Option(help="A tar of face pictures.")],
    limit: Annotated[int, typer.Option(help="How many of them.")] = 64,
    prior: Annotated[str, typer.Option(help="Embedded prior, or a diffusers folder.")] = "faces-64",
    device: str = "auto",
) -> None:
    """Print the table, in Markdown."""
    network = load_prior(prior, device)
    originals = faces(data, limit, network.image_shape[1])
    restorer = Restorer(network)
    console = Console(soft_wrap=True, highlight=False)
    columns = ["nested 10", "nested 20", "nested 30", "plain 30", "plain 10", "plain 20", "drawn 10", "drawn 20"]
    console.print("| PSNR, dB | " + " | ".join(columns) + " |", markup=False)
    console.print("|---" * (len(columns) + 1) + "|", markup=False)
    start = time.perf_counter()
    for name, task in TASKS.items():
        scores = row(restorer.posterior(stacked(measure(task, originals))), originals)
        console.print(f"| {name} | " + " | ".join(f"{scores[c]:.2f}" for c in columns) + " |", markup=False)
    where = torch.cuda.get_device_name() if network.device.type == "cuda" else f"{platform.machine()} CPU"
    console.print(
        f"{len(originals)} pictures of {data.name}, {network.name} {network.weights_sha256[:12]}, η 0.85, η_b 1, "
        f"seeds 0–{len(originals) - 1}, {where}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{time.perf_counter() - start:.0f} s",
        markup=False,
    )


if __name__ == "__main__":
    typer.run(main)
