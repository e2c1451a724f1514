"""What a server of restorations keeps under load: deadlines, first pictures, quality. Three ways to serve.

Run: ``python -m benchmarks.studies.load --faces faces.tar --photos photos.tar``. Requests arrive as a Poisson
process at 0.5 to 10 × the rate of whole restorations one after another, whoever is served (open loop), each with a
deadline drawn from 1 to 10 s: 64 × 64 faces with one prior, or photographs of two sizes with another. The arms:

- **planned**: the engine as it is; effort follows the deadline and the load, hopeless requests are refused.
- **stepped**: the same engine, 3 × 10 evaluations for everyone, nobody is refused.
- **fifo**: whole requests one after another, 3 × 10 evaluations each; the picture is sent when it is done.

A deadline is kept where the result is there in time, and is the end of an inner run; in the two other arms, where
the whole restoration is. Capacity is measured in the same process, before each load.

With ``--clock cpu`` all is told in seconds of CPU time, as if the process had a core of its own: on a machine that
others use, too, nothing else can be repeated. It then has one thread: requests are taken in between two calls.
"""

from __future__ import annotations

import io
import json
import platform
import random
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from benchmarks.studies.load_arms import ARMS, CLOCKS, TASKS, WHOLE, Clock, Outcome, arrivals, driven, posed
from nested import Fixed
from restoration.priors import load_prior, prior_for
from restoration.restorer import Restorer
from restoration.service.engine import Engine
from restoration.service.work import Work
from solvers import Prior

PHOTOS = ((96, 96), (128, 96))


@dataclass(frozen=True)
class Summary:
    """What one arm did at one load.

    Args:
        requests, refused: all, and those that were turned away.
        kept: share of those taken in whose deadline was kept.
        seen: share of those taken in that had any picture, the end of an inner run, by their deadline.
        first_p50_s, first_p95_s: seconds to the first picture, of those that got one.
        psnr, nfe: means over those whose deadline was kept; None where there are none.
    """

    requests: int
    refused: int
    kept: float | None
    seen: float | None
    first_p50_s: float | None
    first_p95_s: float | None
    psnr: float | None
    nfe: float | None


def summed(outcomes: Sequence[Outcome]) -> Summary:
    """One row of the table."""
    taken = [outcome for outcome in outcomes if not outcome.refused]
    kept = [outcome for outcome in taken if outcome.kept]
    firsts = [outcome.first_s for outcome in taken if outcome.first_s is not None]
    psnrs = [outcome.psnr for outcome in kept if outcome.psnr is not None]
    return Summary(
        len(outcomes),
        len(outcomes) - len(taken),
        len(kept) / len(taken) if taken else None,
        sum(outcome.seen for outcome in taken) / len(taken) if taken else None,
        float(np.quantile(firsts, 0.5)) if firsts else None,
        float(np.quantile(firsts, 0.95)) if firsts else None,
        sum(psnrs) / len(psnrs) if psnrs else None,
        sum(outcome.nfe for outcome in kept) / len(kept) if kept else None,
    )


def capacity(prior: Prior, pictures: Sequence[torch.Tensor], repeats: int, clock: Clock) -> float:
    """Whole restorations a second, one after another, as the machine is now."""
    draw = random.Random(1)
    requests = posed(pictures, [0.0] * (repeats + 1), draw)
    began = 0.0
    for i, request in enumerate(requests):
        if i == 1:  # the one before warms up
            began = clock()
        tiled = prior_for(prior, request.measurement.operator.image_shape)
        Restorer(tiled).restore(request.measurement, allocation=WHOLE, seeds=[request.seed])
    return repeats / (clock() - began)


@dataclass(frozen=True)
class Throughput:
    """A full engine against the bare network at the same batch.

    Args:
        batch: pieces of every call.
        bare, engine: pieces a second.
        share: of the engine's busy time that the network took.
    """

    batch: int
    bare: float
    engine: float
    share: float


def throughput(prior: Prior, pictures: Sequence[torch.Tensor], batch: int, calls: int, clock: Clock) -> Throughput:
    """Measured in turns, so that what else the machine does weighs on both; the best of each counts.

    Args:
        prior, pictures: pictures of the prior's own size.
        batch: pieces of every call, each of a run of its own.
        calls: of every turn.
    """
    requests = posed(pictures, [0.0] * batch, random.Random(2))
    x = torch.randn((batch, *prior.image_shape), generator=torch.Generator().manual_seed(0)).to(prior.device)
    levels = torch.arange(batch) * 400 // batch + 100
    engine = Engine(prior, batch=batch, clock=clock)
    bare, full = [], []
    for _ in range(5):
        began = clock()
        for _ in range(calls):
            prior.denoise(x, levels).cpu()
        bare.append(batch * calls / (clock() - began))
        for request in requests:
            engine.submit(Work(request.measurement, seed=request.seed, effort=Fixed((calls,))))
        began = clock()
        while engine.step():
            pass
        full.append(batch * calls / (clock() - began))
    stats = engine.stats
    return Throughput(batch, max(bare), max(full), stats.network_s / stats.busy_s)


def read(path: Path, count: int, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """The first so many pictures of a tar, in turn shrunk and cropped to each (width, height)."""
    pictures = []
    with tarfile.open(path) as tar:
        members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)[:count]
        for i, member in enumerate(members):
            file = tar.extractfile(member)
            assert file is not None
            picture = Image.open(io.BytesIO(file.read())).convert("RGB")
            width, height = sizes[i % len(sizes)]
            scale = max(width / picture.width, height / picture.height)
            shrunk = picture.resize(
                (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX
            )
            left, top = (shrunk.width - width) // 2, (shrunk.height - height) // 2
            pixels = np.asarray(shrunk.crop((left, top, left + width, top + height)), dtype=np.float32) / 255
            pictures.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    return pictures


def main(
    faces: Annotated[Path | None, typer.Option(help="A tar of faces, for faces-64.")] = None,
    photos: Annotated[Path | None, typer.Option(help="A tar of photographs, for photos-64.")] = None,
    loads: Annotated[str, typer.Option(help="Multiples of capacity.")] = "0.5,1,2,5,10",
    arms: Annotated[str, typer.Option(help="planned, stepped, fifo.")] = "planned,stepped,fifo",
    seconds: Annotated[float, typer.Option(help="Of requests, at every load.")] = 20.0,
    batch: Annotated[int | None, typer.Option(help="Of the engine; measured if not given.")] = None,
    device: str = "auto",
    clock: Annotated[str, typer.Option(help="wall, or cpu: CPU seconds, with one thread.")] = "wall",
    repeats: Annotated[int, typer.Option(help="Whole restorations that measure capacity.")] = 4,
    full: Annotated[str, typer.Option(help="Batches at which a full engine is measured.")] = "1,4",
    out: Annotated[Path | None, typer.Option(help="Every outcome, as JSON lines.")] = None,
) -> None:
    """Print a table of each kind of pictures, in Markdown."""
    console = Console(soft_wrap=True, highlight=False)
    kinds = [("faces-64", faces, ((64, 64),)), ("photos-64", photos, PHOTOS)]
    for name, path, sizes in kinds:
        if path is None:
            continue
        prior, pictures = load_prior(name, device), read(path, 32, sizes)
        console.print(f"\n{name}, {', '.join(f'{w}×{h}' for w, h in sizes)}\n", markup=False)
        console.print(
            "| load | arm | capacity, /s | requests | refused | deadlines kept | picture in time | first p50, s "
            "| p95, s | PSNR, dB | NFE |\n" + "|---" * 11 + "|",
            markup=False,
        )
        for load in map(float, loads.split(",")):
            for arm in arms.split(","):
                rate = capacity(prior, pictures, repeats, CLOCKS[clock]())
                draw = random.Random(round(100 * load))
                requests = posed(pictures, arrivals(load * rate, seconds, draw), draw)
                running = CLOCKS[clock]()
                server = ARMS[arm](prior, batch, running)
                running.restart()
                outcomes = driven(server, requests, running)
                _tell(console, load, arm, rate, summed(outcomes))
                if out is not None:
                    with out.open("a", encoding="utf-8") as file:
                        for outcome in outcomes:
                            file.write(
                                json.dumps({"prior": name, "load": load, "arm": arm, **asdict(outcome)}) + "\n"
                            )
        if sizes == ((64, 64),):
            for size in map(int, full.split(",")):
                told = throughput(prior, pictures, size, 12, CLOCKS[clock]())
                console.print(_compared(told), markup=False)
        console.print(
            f"{prior.name} {prior.weights_sha256[:12]}, {seconds:g} s of requests by the {clock} clock, "
            f"tasks {', '.join(TASKS)}, "
            f"{platform.machine()}, {prior.device.type}, {torch.get_num_threads()} threads, "
            f"torch {torch.__version__}",
            markup=False,
        )


def _compared(told: Throughput) -> str:
    return (
        f"full engine at batch {told.batch}: {told.engine:.1f} pieces/s, bare network {told.bare:.1f}, ratio "
        f"{told.engine / told.bare:.3f}; the network takes {told.share:.1%} of the engine's time"
    )


def _tell(console: Console, load: float, arm: str, rate: float, row: Summary) -> None:
    def said(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    console.print(
        f"| {load:g} | {arm} | {rate:.2f} | {row.requests} | {row.refused} | {said(row.kept, '.1%')} "
        f"| {said(row.seen, '.1%')} "
        f"| {said(row.first_p50_s, '.2f')} | {said(row.first_p95_s, '.2f')} | {said(row.psnr, '.2f')} "
        f"| {said(row.nfe, '.1f')} |",
        markup=False,
    )


if __name__ == "__main__":
    typer.run(main)
