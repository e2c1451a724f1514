"""A checkpoint in ``celeba_hq.ckpt``'s exact format with random weights: what loading costs, what it restores.

Run on Linux: ``python -m benchmarks.studies.checkpoint --picture ../shared/data/celebahq/00.png``. Loading happens
in a process of its own, whose peak memory the system tells. The restored picture is noise, since the weights are;
that it reproduces the measurement holds for any network, and is asserted.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from restoration.pictures import images
from restoration.priors import load_prior
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.layout import Layout, build
from restoration.priors.formats.reading import read_tensors
from restoration.priors.formats.renaming import sources
from restoration.restorer import Restorer
from restoration.tasks import Task, pose

CELEBA_HQ = Layout(
    in_channels=3,
    out_channels=3,
    time_channels=128,
    widths=(128, 128, 256, 256, 512, 512),
    blocks=2,
    attention=(False, False, False, False, True, False),
    resampling="conv",
    scale_shift=False,
    classes=None,
)
"""The published configuration: ch 128, ch_mult 1 1 2 2 4 4, two blocks, attention at 16 × 16."""


def write_random(path: Path) -> int:
    """Write a checkpoint with every name and shape of the published one; its size in bytes."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, source in sources(DDPM, CELEBA_HQ, build(CELEBA_HQ, DDPM)).items():
        scale = 1 / math.sqrt(math.prod(source.shape[1:]) or 1)
        tensors[name] = torch.randn(source.shape, generator=generator) * scale
    torch.save(tensors, path)
    return path.stat().st_size


def load_once(path: Path) -> None:
    """In a process of its own: JSON of seconds, of peak memory beyond what it began with, and of the network."""
    read_tensors(path)  # once, so that libraries and disk cache are warm
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from here
    before = memory("VmRSS")
    start = time.perf_counter()
    prior = load_prior(path, "cpu")
    seconds = time.perf_counter() - start
    network = sum(tensor.nbytes for tensor in prior.network.state_dict().values())
    sys.stdout.write(json.dumps([seconds, memory("VmHWM") - before, network]))


def memory(kind: str) -> int:
    """Bytes of this process, as Linux tells: VmRSS now, VmHWM at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(kind))
    return 1024 * int(line.split()[1])


def main(
    picture: Annotated[Path, typer.Option(help="A 256 × 256 picture to restore.")],
    steps: Annotated[int, typer.Option(help="Inner steps of each of two outer steps.")] = 1,
    load: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print what loading costs, and restore a picture."""
    if load is not None:
        load_once(load)
        return
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "celeba_hq.ckpt"
        size = write_random(path)
        command = [
            sys.executable,
            "-m",
            "benchmarks.studies.checkpoint",
            "--picture",
            str(picture),
            "--load",
            str(path),
        ]
        seconds, peak, network = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        console.print(
            f"load: {seconds:.2f} s, peak {peak / 1e6:.0f} MB for a checkpoint of {size / 1e6:.0f} MB "
            f"and a network of {network / 1e6:.0f} MB: {peak / (size + network):.2f} of both together"
        )
        prior = load_prior(path)
    for task in (Task("inpaint", simulate=True), Task("sr16", simulate=True), Task("colorize", simulate=True)):
        problem = pose(task, images.load(picture), prior.image_shape, seed=0)
        measurement = problem.measurement
        posterior = Restorer(prior).posterior(measurement)
        start = time.perf_counter()
        done = Restorer(prior).restore(measurement, outer=2, inner=steps, seeds=[0])
        x0 = done.preview.state.x0
        assert x0 is not None
        error = float((posterior.measurement.operator(x0) - posterior.measurement.y).abs().max())
        console.print(f"{task.name}: A x − y is at most {error:.1e}, {time.perf_counter() - start:.1f} s")
        assert error < 1e-4, "a noiseless result must reproduce its measurement"


if __name__ == "__main__":
    typer.run(main)
