"""What makes a training run count: short runs that differ in one thing, and a long one with all that helped.

Run: ``python -m benchmarks.studies.training "DATA… --crop --init photos-64" --images 50000 -o runs``. Every run
is ``restore-train`` with the same pictures and seed and as many images, so that what is compared is what an image
teaches; it is measured by its RMSE of x̂₀ on the pictures that training holds out, at every noise level, against
the first run's. With ``--total MINUTES`` the time that is left then is
one more run, which takes all options that made the mean smaller, of those that exclude each other the better.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.studies.shared import show, tell
from restoration.priors.diffusion import FACTS

BATCH = 256
VARIANTS = {
    "base": "--rate 0.001",
    "rate 5e-4": "--rate 0.0005",
    "batch 128": "--batch 128",
    "rate 2e-3": "--rate 0.002",
    "low noise .75": "--low-noise 0.75",
    "min-SNR 5": "--min-snr 5",
}
"""What each run does otherwise than the base."""
MATTERS = 0.001
"""A mean that is smaller by less is no gain: it is what another seed changes."""

Errors = Mapping[str, tuple[float, float]]


def told(folder: Path) -> dict[str, Errors]:
    """RMSE by level of a finished run, after it and before."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return {"after": facts["by_level"], "before": facts["by_level_before"]}


def mean_ratio(errors: Errors, base: Errors) -> float:
    """The geometric mean over the levels of RMSE ÷ that of the base."""
    return math.exp(sum(math.log(errors[k][1] / base[k][1]) for k in base) / len(base))


def train(data: str, output: Path, length: list[str], options: str) -> Path:
    """One run of ``restore-train``, in a process of its own; its log lies beside it.

    Raises:
        RuntimeError: it failed; the last line it printed.
    """
    given = {"--batch": str(BATCH), "--rate": "0.001"}
    given |= dict(zip(*[iter(shlex.split(options))] * 2, strict=True))
    argv = [*shlex.split(data), *length, "--checkpoint-minutes", "2", "-o", str(output)]
    if "--steps" in length:
        steps = int(length[length.index("--steps") + 1])
        argv[argv.index("--steps") + 1] = str(steps * BATCH // int(given["--batch"]))
    command = [
        sys.executable,
        "-m",
        "restoration.training",
        *argv,
        *(word for pair in given.items() for word in pair),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output.with_suffix(".log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{output.name}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return output


def main(
    data: Annotated[str, typer.Argument(help="What every restore-train gets: pictures and options, in quotes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the runs.")],
    images: Annotated[int, typer.Option(help="Images that each short run sees.")] = 50_000,
    variants: Annotated[str, typer.Option(help="Names, apart by commas; the first is the base.")] = ",".join(
        VARIANTS
    ),
    at_once: Annotated[int, typer.Option(help="Short runs at a time.")] = 1,
    total: Annotated[float | None, typer.Option(help="Minutes of all runs: what is left is a long one.")] = None,
) -> None:
    """Print a table of the short runs, in Markdown; then train the long one."""
    began = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    chosen = variants.split(",")
    if unknown := [name for name in chosen if name not in VARIANTS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(VARIANTS)}")
    length = ["--steps", str(images // BATCH)]

    def short(name: str) -> Path:
        return train(data, output / name.replace(" ", "-"), length, VARIANTS[name])

    with ThreadPoolExecutor(at_once) as threads:
        folders = dict(zip(chosen, threads.map(short, chosen), strict=True))
    runs = {name: told(folder) for name, folder in folders.items()}
    base = runs[chosen[0]]["after"]
    ratios = {name: mean_ratio(run["after"], base) for name, run in runs.items()}
    rows = (
        [["before", *(f"{e[1]:.4f}" for e in runs[chosen[0]]["before"].values()), "–"]]
        if runs[chosen[0]]["before"]
        else []
    )
    rows += [
        [name, *(f"{e[1]:.4f}" for e in run["after"].values()), f"{ratios[name]:.4f}"]
        for name, run in runs.items()
    ]
    show(["RMSE at k =", *base, "÷ base"], rows, f"{images:,} images each, {data}")
    helped = sorted((n for n in chosen[1:] if ratios[n] < 1 - MATTERS), key=lambda n: -ratios[n])
    tell(f"what helped: {', '.join(reversed(helped)) or 'nothing'}")
    if total is None:
        return
    minutes = total - (time.monotonic() - began) / 60
    options = " ".join(VARIANTS[name] for name in helped)  # of two rates the better comes last and counts
    train(data, output / "long", ["--minutes", f"{minutes:.2f}"], options)
    after = told(output / "long")
    rows = [[n, *(f"{e[1]:.4f}" for e in after[n].values())] for n in ("before", "after") if after[n]]
    show(["RMSE at k =", *base], rows, f"{minutes:.1f} minutes, {options or 'as the base'}")


if __name__ == "__main__":
    typer.run(main)
