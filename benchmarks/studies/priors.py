"""What a prior restores, beside what a user would otherwise take: the tables of docs/priors.md.

Run: ``python -m benchmarks.studies.priors --data test.tar --prior photos-64 -o RESULTS/``. It measures every task
with every method, as ``restore-bench compare`` does, goes on where it stopped, and prints Markdown: PSNR, SSIM and
FD-prior of a method and task in each cell, seconds a picture, and where a classical method is ahead of faithful
FIRE. That is minutes on a GPU, and hours on a CPU. Of photographs three are also restored whole.

``--results FOLDER``, repeatable, shows what ``restore-bench compare`` left in other folders too, or alone: where
several hold the same method and task, the last one counts, and what was measured here counts most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands import compare
from benchmarks.commands.cli_options import save, tell
from benchmarks.engine.case import cases
from benchmarks.engine.setup import Options
from benchmarks.studies.priors_results import grouped
from benchmarks.studies.priors_table import tables
from restoration.commands import console
from restoration.commands.interrupt import INTERRUPTED
from restoration.priors import load_prior

BUDGETS = compare.Budgets((10, 20, 30), 3)
NOISES = ("denoise:0.05", "denoise:0.1", "denoise:0.25", "denoise:0.5")
HOLES = ("inpaint:0", "inpaint-scratch:0", "inpaint-hole24:0")
TASKS = (*NOISES, "sr2:0", "sr4:0", *HOLES, "colorize:0", "deblur-gaussian-1.6:0.01", "jpeg20")
CLASSICAL = ("pinv", "classic", "nlm", "bicubic", "lanczos", "wiener", "richardson-lucy")
OURS = ("one", "plain", "faithful", "nested-faithful", "natural", "nested-natural", "mean")
THEIRS = ("ddrm", "diffpir")
SIDE = 128
"""Pixels of the squares that photographs are shrunk to."""
WHOLE, WHOLE_TASKS = 3, ("denoise:0.1", "sr4:0", "inpaint:0")
WHOLE_METHODS = ("pinv", "classic", "nlm", "bicubic", "lanczos", "one", "faithful")


@dataclass(frozen=True)
class Campaign:
    """One call of ``restore-bench compare``.

    Args:
        options: as its command line would have them.
        tasks, methods: by the names that it takes.
    """

    options: Options
    tasks: tuple[str, ...]
    methods: tuple[str, ...]

    def measure(self) -> bool:
        """Measure, or go on; whether it came to its end."""
        methods = compare.chosen(self.methods, BUDGETS)
        finished, summaries = compare.measure(self.options, cases(self.tasks), BUDGETS, methods, None)
        if finished.complete:
            save(self.options.output / compare.COMPARED, compare.text_of(finished, summaries))
        return finished.complete


def planned(
    data: Sequence[Path], prior: str, output: Path, limit: int | None, batch: int, device: str, precision: str
) -> list[Campaign]:
    """What is measured of a prior: squares, and of photographs some whole ones.

    Args:
        limit: pictures; None is 64 of faces and 32 of all others, and 3 whole ones.

    Raises:
        RestorationError: there is no such prior.
    """
    known = load_prior(prior, "cpu")
    photographs, colours = known.name.startswith("photos"), known.image_shape[0] == 3
    most = limit if limit is not None else 64 if known.name.startswith("faces") else 32
    squares = Options(
        data=tuple(data),
        prior=prior,
        output=output / "squares",
        limit=most,
        fit=True,
        size=SIDE if photographs else None,
        batch=batch,
        device=device,
        precision=precision,
    )
    tasks = tuple(task for task in TASKS if colours or not task.startswith("colorize"))
    plan = [Campaign(squares, tasks, (*CLASSICAL, *OURS, *THEIRS))]
    if photographs:
        whole = replace(squares, output=output / "whole", limit=min(most, WHOLE), fit=False, size=None, whole=True)
        plan.append(Campaign(whole, WHOLE_TASKS, WHOLE_METHODS))
    return plan


def main(
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Folder or tar of clean test pictures; repeatable.")
    ] = None,
    prior: Annotated[str, typer.Option(metavar="NAME|PATH|ID", help="As for restore.")] = "photos-64",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RESULTS", help="Folder; what is there is gone on with."),
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option("--results", help="Show what an earlier compare left there; repeatable.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only so many pictures.  [default: 64 faces, 32 others]")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures at a time: what is stored and resumed, too.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the network: fp32, bf16, fp16, or auto (fp32).")] = "auto",
) -> int:
    """Measure a prior beside classical methods and deepinv's, and print the tables of docs/priors.md."""
    if bool(data) != (output is not None):
        raise ValueError("--data and -o belong together: what is measured is kept")
    if not data and not results:
        raise ValueError("nothing to do: give --data and -o, or --results")
    folders = list(results or [])
    if data and output is not None:
        for campaign in planned(data, prior, output, limit, batch, device, precision):
            if not campaign.measure():
                return INTERRUPTED
            folders.append(campaign.options.output)
    lines = [line for group in grouped(folders) for line in tables(group)]
    if output is None:
        typer.echo("\n".join(lines))
    else:
        tell(output / "priors.md", lines)
    return 0


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    console.script("benchmarks.studies.priors", app)
