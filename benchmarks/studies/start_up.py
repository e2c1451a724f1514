"""What happens between Enter and the first evaluation, and how long each part of it takes.

Run: ``python -m benchmarks.studies.start_up``, or with ``--tree A --tree B`` to measure two checkouts of this
repository in turn. Every run is a new process; the first, which fills the disk's cache, is not counted. CPU time
depends less than wall time on what else the machine does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

PARTS = (
    "Python",
    "torch",
    "ours without diffusers",
    "priors with diffusers",
    "the command",
    "weights",
    "evaluation",
)
HERE = Path(__file__).resolve().parents[2]
CHILD = """
import json, sys, time
clocks = [(time.process_time(), 0.0)]
start = time.perf_counter()
def reached():
    clocks.append((time.process_time(), time.perf_counter() - start))
import torch; reached()
import degradations, solvers, nested, restoration.errors; reached()
import restoration.priors; reached()
import restoration.commands.restore, restoration.commands.job; reached()
prior = restoration.priors.load_prior(sys.argv[1], "cpu"); reached()
prior.denoise(torch.zeros(1, *prior.image_shape), 500); reached()
print(json.dumps(clocks))
"""


def measure(tree: Path, prior: str) -> list[tuple[float, float]]:
    """Seconds of CPU and on the wall for each of ``PARTS`` (Python's own start: CPU only), in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, prior], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    clocks = [(0.0, 0.0), *json.loads(done.stdout)]
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(clocks)]


def table(trees: Sequence[Path], runs: int, prior: str) -> list[str]:
    """Rows in Markdown: medians of CPU and wall seconds by part, a column a tree; trees are measured in turn."""
    for tree in trees:
        measure(tree, prior)
    measured: dict[Path, list[list[tuple[float, float]]]] = {tree: [] for tree in trees}
    for _ in range(runs):
        for tree in trees:
            measured[tree].append(measure(tree, prior))
    rows = [f"| CPU s (wall s), medians of {runs} | " + " | ".join(tree.name for tree in trees) + " |"]
    rows.append("|---" * (len(trees) + 1) + "|")
    beyond = slice(PARTS.index("torch") + 1, None)
    for name, part in (*((name, slice(i, i + 1)) for i, name in enumerate(PARTS)), ("after torch", beyond)):
        cells = []
        for tree in trees:
            cpu, wall = (median(sum(p[clock] for p in run[part]) for run in measured[tree]) for clock in (0, 1))
            cells.append(f"{cpu:.2f} ({wall:.2f})")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def main(
    tree: Annotated[list[Path] | None, typer.Option(help="A checkout; repeatable.  [default: this one]")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Processes a checkout.")] = 5,
    prior: Annotated[str, typer.Option(help="An embedded prior.")] = "photos-64",
) -> None:
    """Print a table, in Markdown."""
    console = Console(soft_wrap=True, highlight=False)
    for row in table([path.resolve() for path in tree or [HERE]], runs, prior):
        console.print(row, markup=False)


if __name__ == "__main__":
    typer.run(main)
