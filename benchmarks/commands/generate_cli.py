"""``restore-bench generate``: its options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.cli_options import (
    Device,
    FidWeights,
    Limit,
    Output,
    Overwrite,
    Precision,
    ReferenceStats,
    numbers,
    tell,
)
from benchmarks.engine.command_line import typed
from restoration.commands.interrupt import INTERRUPTED


def generate(
    output: Output,
    prior: Annotated[
        str, typer.Option(metavar="NAME|PATH|ID", help="A prior as for restore, or a diffusers pipeline.")
    ] = "faces-64",
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder or uncompressed tar of real pictures to compare with; repeatable."),
    ] = None,
    reference_stats: ReferenceStats = None,
    totals: Annotated[str, typer.Option(metavar="60,100", help="Evaluations to be split.")] = "60",
    splits: Annotated[
        str, typer.Option(metavar="2,5", help="Numbers of outer steps; 1, vanilla diffusion, is always measured.")
    ] = "5",
    inner: Annotated[str, typer.Option(help="Inner solver: ddim, ddpm or dpmsolver++2s.")] = "ddim",
    eta: Annotated[float, typer.Option(help="η of an inner ddim.")] = 0.85,
    dpm: Annotated[
        str | None, typer.Option(metavar="10,20", help="Totals to be split with DPM-Solver++(2S), too.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Images drawn by every run.")] = 500,
    batch: Annotated[int, typer.Option(help="Images at a time: what is stored and resumed, too.")] = 50,
    seed: Annotated[int, typer.Option(help="With a sample's name, of its noise.")] = 0,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts of a text pipeline, one a line.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="207,360", help="Of a class-conditional pipeline; all unless given.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="7.5 of text, 1.5 of classes.", show_default=False)
    ] = None,
    limit: Limit = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Crop and resample real pictures to the samples' size.")
    ] = False,
    feature_prior: Annotated[
        str, typer.Option(metavar="NAME|PATH|ID", help="Whose features, where a pipeline has no FID.")
    ] = "photos-64",
    clip: Annotated[
        str | None, typer.Option(metavar="FOLDER|ID", help="CLIP model of the scores; an id must be in the cache.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    fid_weights: FidWeights = None,
    overwrite: Overwrite = False,
) -> int:
    """The paper's Tables 3 and 1: what previews of nested and of vanilla generation are worth."""
    given = dict(locals())
    from benchmarks.commands import generate as command
    from benchmarks.generation.pipelines import Conditions
    from benchmarks.generation.tables import tables
    from benchmarks.report.figure import write_figure

    parsed = {
        "argv": typed(),
        "data": tuple(data or ()),
        "totals": numbers("--totals", totals),
        "splits": numbers("--splits", splits),
        "dpm": numbers("--dpm", dpm) if dpm else (),
        "conditions": Conditions(
            _lines_of(prompts) if prompts is not None else (),
            numbers("--classes", classes) if classes is not None else None,
            guidance,
        ),
    }
    shared = {field.name: given[field.name] for field in fields(command.Options) if field.name in given}
    options = command.Options(**{**shared, **parsed})
    finished, summary = command.measure(options)
    if not finished.complete:
        return INTERRUPTED
    write_figure(output / "generate.svg", summary)
    tell(output / "generate.md", tables(finished, summary))
    return 0


def _lines_of(file: Path) -> tuple[str, ...]:
    """The lines that are not empty; ValueError where there is none."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: is no text in UTF-8") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise ValueError(f"{file}: holds no prompt, one a line")
    return lines
