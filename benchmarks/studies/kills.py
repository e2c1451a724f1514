"""Kill ``restore-bench table2`` at random moments, run it again, and compare it with an undisturbed run.

``python -m benchmarks.studies.kills`` exits 1 where a single bit of a mean or a distance differs. Without
``--data`` it makes its own pictures and a tiny prior with random weights. Every command runs in a process of its
own, forked from one that has imported PyTorch already, so that a kill hits the measuring and not seconds of
importing.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import UNet2DModel
from rich.console import Console

from benchmarks.engine.results import Results
from benchmarks.engine.summary import summarise
from benchmarks.metrics.features import FeatureSpace
from restoration.pictures import images
from restoration.priors import DiffusionPrior
from restoration.priors.formats.convert import save_folder
from solvers import NoiseSchedule

PRELOADED = ["benchmarks.commands.table2", "benchmarks.commands.cli", "restoration.priors.library.loading"]
SIZE = 16


def write_tiny_prior(folder: Path, size: int = SIZE) -> None:
    """A U-Net of small square pictures with random weights, as a folder that ``--prior`` takes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=size,
            block_out_channels=(32, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
            attention_head_dim=8,
        )
    save_folder(DiffusionPrior(network.eval(), NoiseSchedule.linear(), "epsilon", "tiny"), folder)


def write_pictures(folder: Path, count: int, size: int = SIZE) -> None:
    """Smooth random pictures ``00.png``, …"""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        coarse = torch.rand(1, 3, 4, 4, generator=generator)
        picture = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[0]
        images.save(folder / f"{i:02d}.png", picture, {})


def started(context: ForkServerContext, arguments: Sequence[str]) -> BaseProcess:
    """``restore-bench`` with these arguments, under way."""
    process = context.Process(target=_command, args=(list(arguments),))
    process.start()
    return process


def _command(arguments: list[str]) -> None:
    from benchmarks.commands import cli

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    sys.argv = ["restore-bench", *arguments]
    cli.script()


def totals(folder: Path) -> dict[str, float]:
    """Every mean, spread and distance of a results folder, but for times."""
    results = Results.open(folder)
    found: dict[str, float] = {}
    for task in results.tasks():
        told = summarise(results, task, FeatureSpace(**results.config["features"]))
        found[f"{task} images"] = told.images
        for look, means in told.means.items():
            for metric, mean in means.items():
                found |= {f"{task} {look.key} {metric}": mean.mean, f"{task} {look.key} {metric} std": mean.std}
            found[f"{task} {look.key} distance"] = told.distances[look].value
    return found


def same(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    """Equal in every bit; NaN (the spread of one picture) equals itself."""
    pairs = ((value, theirs.get(name, math.inf)) for name, value in ours.items())
    return len(ours) == len(theirs) and all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def compare(arguments: Sequence[str], work: Path, kills: int, seed: int) -> tuple[int, int, list[str]]:
    """Kill and rerun: how many kills, how many runs ended in between, and what differed from undisturbed ones.

    A kill comes at a moment drawn evenly from none to all of what measuring takes; a run that ends before its
    kill is compared, and the next begins afresh.

    Raises:
        RuntimeError: a run that fails by itself.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    random_moment = random.Random(seed)
    whole, broken = work / "whole", work / "broken"
    _finish(started(context, ["--help"]))  # which starts the server
    begun = time.monotonic()
    _finish(started(context, [*arguments, "-o", str(whole)]))
    seconds = time.monotonic() - begun
    wanted, differing, done, ended = totals(whole), [], 0, 0
    while done < kills:
        process = started(context, [*arguments, "-o", str(broken)])
        process.join(random_moment.uniform(0, seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
            done += 1
        if process.exitcode == 0:
            ended += 1
            if not same(totals(broken), wanted):
                differing.append(f"after {done} kills")
            shutil.rmtree(broken)
        elif process.exitcode != -9:
            raise RuntimeError(f"restore-bench ended with {process.exitcode}")
    _finish(started(context, [*arguments, "-o", str(broken)]))
    if not same(totals(broken), wanted):
        differing.append("at the end")
    if left := list(broken.glob("**/.*")):
        differing.append(f"left behind: {left[0]}")
    return done, ended, differing


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"restore-bench ended with {process.exitcode}")


def main(
    kills: Annotated[int, typer.Option(help="How many.")] = 20,
    data: Annotated[Path | None, typer.Option(help="Clean pictures; made here if not given.")] = None,
    prior: Annotated[str, typer.Option(help="With --data.")] = "faces-64",
    limit: Annotated[int, typer.Option(help="Pictures.")] = 24,
    batch: Annotated[int, typer.Option(help="Pictures of a chunk.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill, rerun, compare; exits 1 where anything differs."""
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if data is None:
            data, prior = work / "pictures", str(work / "tiny")
            write_pictures(data, limit)
            write_tiny_prior(Path(prior))
        arguments = ["table2", "--data", str(data), "--prior", prior, "--limit", str(limit), "--batch", str(batch)]
        arguments += ["--device", "cpu", "--outer", "2", "--inner", "2"]
        done, ended, differing = compare(arguments, work, kills, seed)
    told = f"{done} kills, {ended} runs that ended in between: "
    Console(highlight=False).print(told + ("; ".join(differing) or "every total has the same bits"))
    raise typer.Exit(1 if differing else 0)


if __name__ == "__main__":
    typer.run(main)
