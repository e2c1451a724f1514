"""``restore-bench``: the options of its commands."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.commands.cli_options import (
    Aim,
    Batch,
    Data,
    Device,
    Eta,
    EtaB,
    FidWeights,
    Fit,
    Grid,
    Limit,
    LpipsWeights,
    Output,
    Overwrite,
    Precision,
    Prior,
    ReferenceStats,
    Sampler,
    Tasks,
    Workers,
    numbers,
    save,
    tell,
)
from benchmarks.commands.generate_cli import generate
from benchmarks.engine.command_line import typed
from restoration.commands import console
from restoration.commands.interrupt import INTERRUPTED, Interrupt
from restoration.commands.settings import SamplerSettings
from restoration.tasks import TASKS

if TYPE_CHECKING:  # torch loads after --help and option errors
    from benchmarks.engine.setup import Options

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True
)


@app.callback()
def restore_bench() -> None:
    """Measure restorations as the paper does, and what "anytime" is worth."""


@app.command()
def table2(
    data: Data,
    output: Output,
    prior: Prior = "celebahq-256",
    tasks: Tasks = "denoise,sr16,colorize,inpaint",
    outer: Annotated[int, typer.Option(help="Outer steps.")] = 3,
    inner: Annotated[int, typer.Option(help="Inner steps of each.")] = 10,
    limit: Limit = None,
    fit: Fit = False,
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    fid_weights: FidWeights = None,
    lpips_weights: LpipsWeights = None,
    reference_stats: ReferenceStats = None,
    workers: Workers = "here",
    overwrite: Overwrite = False,
) -> int:
    """The paper's Table 2: PSNR and FID of nested previews and of plain DDRM, beside the paper's numbers."""
    given = dict(locals())
    if outer < 1 or inner < 1:
        raise ValueError(f"--outer and --inner must be at least 1: got {outer} and {inner}")
    from benchmarks.commands import table2 as command

    options = _options(given)
    finished, summaries = command.measure(options, tasks.split(","), outer, inner)
    if not finished.complete:
        return INTERRUPTED
    tell(output / "table2.md", command.tables(finished, summaries, outer, inner))
    return 0


@app.command()
def anytime(
    data: Data,
    output: Output,
    prior: Prior = "faces-64",
    tasks: Tasks = "inpaint",
    total: Annotated[int, typer.Option(help="Evaluations to be split.")] = 60,
    splits: Annotated[
        str, typer.Option(metavar="1,2,3", help="Numbers of outer steps; 1 is a plain run.")
    ] = "1,2,3,4,6,12",
    allocation: Annotated[
        list[str] | None, typer.Option(metavar="30,18,12", help="Inner steps of every outer step; repeatable.")
    ] = None,
    sampler: Sampler = None,
    aim: Aim = None,
    grid: Grid = None,
    eta: Eta = None,
    eta_b: EtaB = None,
    limit: Limit = None,
    fit: Fit = False,
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    fid_weights: FidWeights = None,
    lpips_weights: LpipsWeights = None,
    workers: Workers = "here",
    overwrite: Overwrite = False,
) -> int:
    """Quality against evaluations for splits of one budget, and the area under the log FID curve."""
    given = dict(locals())
    from benchmarks.commands import anytime as command
    from benchmarks.report.figure import write_figure

    options = _options(given)
    finished, summaries = command.measure(
        options,
        tasks.split(","),
        total,
        numbers("--splits", splits),
        tuple(numbers("--allocation", text) for text in allocation or []),
    )
    if not finished.complete:
        return INTERRUPTED
    for summary in summaries:
        write_figure(output / f"anytime-{summary.task}.svg", summary)
    tell(output / "anytime.md", command.tables(finished, summaries))
    return 0


app.command()(generate)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder that an earlier command wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="RESULTS/report.html unless given.")
    ] = None,
) -> int:
    """One self-contained page of HTML: pictures, curves, tables, conditions."""
    from benchmarks.report.page import write

    typer.echo(write(results, output))
    return 0


@app.command()
def consistency(
    data: Data,
    output: Output,
    prior: Prior = "faces-64",
    tasks: Tasks = "denoise,sr16,colorize,inpaint",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what restore tells of a preview's change: PRIOR/calibration.json."
        ),
    ] = None,
    sampler: Sampler = None,
    aim: Aim = None,
    grid: Grid = None,
    eta: Eta = None,
    eta_b: EtaB = None,
    limit: Limit = None,
    fit: Fit = False,
    batch: Batch = 32,
    device: Device = "auto",
    precision: Precision = "auto",
    clip: Annotated[
        str | None, typer.Option(metavar="FOLDER|ID", help="CLIP in transformers' format, if it is not cached.")
    ] = None,
    lpips_weights: LpipsWeights = None,
    workers: Workers = "here",
    overwrite: Overwrite = False,
) -> int:
    """How far previews are from the end of their own run, as the paper's Appendix B; 30 evaluations, 5 splits."""
    given = dict(locals())
    from benchmarks.commands import consistency as command

    options = _options(given)
    finished, summaries = command.measure(options, tasks.split(","))
    if not finished.complete:
        return INTERRUPTED
    if calibrate is not None:
        command.calibrate(finished, summaries, options.posterior, calibrate)
    tell(output / "consistency.md", command.tables(finished, summaries))
    return 0


@app.command()
def coverage(
    data: Data,
    output: Output,
    prior: Prior = "brain-mri-128",
    tasks: Annotated[
        str,
        typer.Option(metavar="TASK[:SIGMA],…", help="Simulated, each with its noise, as denoise:0.1,sr4,mri4."),
    ] = "denoise:0.1,sr4,inpaint,mri4",
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Count on these pictures instead; then all of --data calibrate. Repeatable."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Restorations drawn of every picture.")] = 8,
    outer: Annotated[int, typer.Option(help="Outer steps; it is looked at after each.")] = 3,
    inner: Annotated[int, typer.Option(help="Inner steps of each.")] = 10,
    level: Annotated[float, typer.Option(help="Percent of the uncertain pixels that intervals are to hold.")] = 90,
    confidence: Annotated[
        float | None,
        typer.Option(help="Percent of calibrations that are to keep it, e.g. 90.  [default: in expectation]"),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it where restore --interval reads it: PRIOR/calibration.json."),
    ] = None,
    sampler: Sampler = None,
    aim: Aim = "natural",
    grid: Grid = None,
    eta: Eta = None,
    eta_b: EtaB = None,
    limit: Limit = None,
    device: Device = "auto",
    precision: Precision = "auto",
    overwrite: Overwrite = False,
) -> int:
    """Calibrate intervals of samples on one half of held-out pictures, and count on the other what they hold."""
    if outer < 1 or inner < 1:
        raise ValueError(f"--outer and --inner must be at least 1: got {outer} and {inner}")
    from benchmarks.commands import coverage as command
    from benchmarks.engine.case import cases
    from restoration.commands.job import sampler_of
    from restoration.pictures.sources import find
    from restoration.priors import load_prior

    share = None if confidence is None else confidence / 100
    plan = command.Plan(samples, (inner,) * outer, level / 100, share)
    ddrm = eta is not None or eta_b is not None or sampler == "ddrm"
    settings = sampler_of(SamplerSettings(sampler, None if ddrm else aim, grid, eta, eta_b))
    asked = [command.simulated(case) for case in cases(tasks.split(","), 0.0).values()]
    calibrating = [replace(one, name=f"data/{one.name}") for one in find(tuple(data))[:limit]]
    trying = [replace(one, name=f"test/{one.name}") for one in find(tuple(test))[:limit]] if test else []
    sources = [*calibrating, *trying]
    network = load_prior(prior, device, precision)
    book = command.Book(output / command.FILE, command.told_of(network, settings, plan, True), overwrite=overwrite)
    interrupt = Interrupt()

    def watch(task: str, name: str) -> bool:
        typer.echo(f"{task}: {name}, {len(book.losses[task])} of {len(sources)}", err=True)
        return interrupt.asked

    with interrupt.heard():
        complete = command.measure(
            network, settings, asked, sources, plan, book, watch, lambda line: typer.echo(line, err=True)
        )
    if not complete:
        return INTERRUPTED
    names, tried = ([source.name for source in some] for some in (calibrating, trying))
    found = command.coverages(book, asked, settings, plan, names, tried)
    if calibrate is not None:
        command.calibrate(found, network.fingerprint(), calibrate)
    tell(output / "coverage.md", command.tables(found, plan))
    return 0


@app.command()
def familiarity(
    data: Data,
    prior: Prior = "brain-mri-128",
    others: Annotated[
        list[Path] | None,
        typer.Option("--others", help="Folder or tar of other pictures, to tell how many are found strange."),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it where restore reads it: PRIOR/calibration.json.")
    ] = None,
    limit: Limit = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> int:
    """How well a prior knows held-out pictures, by which restore tells of others that it has never seen such."""
    from benchmarks.commands import familiarity as command
    from restoration.priors import load_prior

    network = load_prior(prior, device, precision)
    measured = command.measure(network, data, limit)
    if calibrate is not None:
        command.calibrate(measured, network.fingerprint(), calibrate)
    strange = {str(path): command.ratios(network, [path], limit) for path in others or []}
    typer.echo("\n".join(command.tables(measured, strange)))
    return 0


@app.command()
def compare(
    data: Data,
    output: Output,
    prior: Prior = "faces-64",
    tasks: Annotated[
        str,
        typer.Option(
            metavar="TASK[:SIGMA],…",
            help=f"Among {','.join(TASKS)}, as for restore, inpaint-scratch, inpaint-holeN (N pixels a side) and "
            "inpaint-mask; with the noise of each, as sr4:0.05.",
        ),
    ] = "denoise,sr4,colorize,inpaint",
    methods: Annotated[
        str,
        typer.Option(
            help="all, or among pinv,one,classic,nlm,bicubic,lanczos,wiener,richardson-lucy,plain,nested,faithful,"
            "nested-faithful,natural,nested-natural,mean,ddrm,diffpir,dps; plain and nested are DDRM, the last "
            "three are deepinv's."
        ),
    ] = "pinv,one,plain,nested,ddrm,diffpir,dps",
    nfe: Annotated[
        str,
        typer.Option(metavar="10,20,30", help="Evaluations: of plain runs one each; nested runs take the most."),
    ] = "30",
    outer: Annotated[int, typer.Option(help="Outer steps of nested runs; they divide the most of --nfe.")] = 3,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Noise of tasks that are given none, [0, 1] units.  [default: 0.5 of denoise, 0.05 of others]"
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of inpaint-mask: a picture, white where to fill.")
    ] = None,
    dps_nfe: Annotated[int | None, typer.Option(help="DPS once more, with so many evaluations.")] = None,
    dps_weight: Annotated[float | None, typer.Option(help="DPS once more, with this weight.")] = None,
    limit: Limit = None,
    fit: Fit = False,
    size: Annotated[
        int | None,
        typer.Option(help="Restore pictures of so many pixels a side, in tiles.  [default: the prior's]"),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Restore every picture at its own size, in tiles, one at a time."),
    ] = False,
    batch: Batch = 8,
    device: Device = "auto",
    precision: Precision = "auto",
    lpips_weights: LpipsWeights = None,
    workers: Workers = "here",
    overwrite: Overwrite = False,
) -> int:
    """Beside deepinv's samplers, on the same prior, pictures, noise and evaluations; needs the extra deepinv."""
    given = dict(locals())
    from benchmarks.commands import compare as command
    from benchmarks.engine.case import cases

    budgets = command.Budgets(numbers("--nfe", nfe), outer)
    chosen = command.chosen(methods.split(","), budgets, dps_nfe, dps_weight)
    asked = cases(tasks.split(","), sigma, mask)
    finished, summaries = command.measure(_options(given), asked, budgets, chosen, mask)
    if not finished.complete:
        return INTERRUPTED
    save(output / command.COMPARED, command.text_of(finished, summaries))
    tell(output / "compare.md", command.tables(finished, summaries))
    return 0


@app.command()
def speed(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="For speed.md and speed.json.")],
    prior: Prior = "faces-64",
    architecture: Annotated[
        str | None,
        typer.Option(metavar="celeba_hq", help="That network with random weights, in place of a prior."),
    ] = None,
    batches: Annotated[
        str | None, typer.Option(help="Pictures at a time: 1,4,16; of celeba_hq 1.", show_default=False)
    ] = None,
    outer: Annotated[int, typer.Option(help="Outer steps of a restoration.")] = 2,
    inner: Annotated[
        int | None, typer.Option(help="Inner steps of each: 2; of celeba_hq 1.", show_default=False)
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Of each: 7; of celeba_hq 3.", show_default=False)] = None,
    clock: Annotated[str, typer.Option(help="wall, or processor: of all threads, on a busy machine.")] = "wall",
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: the CPU and the GPU, where there is one.")
    ] = "auto",
) -> int:
    """What restoring costs beside the bare network: ratios, memory, batch sizes, on the CPU and the GPU."""
    slow = architecture is not None
    asked = batches or ("1" if slow else "1,4,16")
    if not all(number.isdecimal() for number in asked.split(",")):
        raise ValueError(f"--batches must be numbers like 1,4,16: got {asked!r}")
    split = (outer, inner if inner is not None else 1 if slow else 2)
    from benchmarks.commands import speed as command

    sizes = [int(number) for number in asked.split(",")]
    turns = rounds if rounds is not None else 3 if slow else 7
    lines = command.run(prior, architecture, device, sizes, split, turns, clock, output)
    typer.echo("\n".join(lines))
    return 0


def _options(given: dict[str, Any]) -> Options:
    """What a command's arguments, by their names, tell of measuring; the rest of them is its own."""
    from benchmarks.engine.setup import Options
    from restoration.commands.job import sampler_of

    shared = {field.name: given[field.name] for field in fields(Options) if field.name in given}
    if "sampler" in given:
        chosen = SamplerSettings(given["sampler"], given["aim"], given["grid"], given["eta"], given["eta_b"])
        shared["posterior"] = sampler_of(chosen)
    return Options(**{**shared, "data": tuple(given["data"]), "argv": typed()})


def script() -> None:
    """The console script."""
    console.script("restore-bench", app)
