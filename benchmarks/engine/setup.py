"""From a command's options to a bench and a results folder: what the benchmark commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.engine.campaign import Measurer, Piece, S, T, carry_out, check_sizes, here, jobs
from benchmarks.engine.case import Case
from benchmarks.engine.chunk import Bench, Chunk, PairMetric
from benchmarks.engine.methods import Method
from benchmarks.engine.results import Results
from benchmarks.engine.trials import Trial
from benchmarks.engine.workers import on_ray
from benchmarks.metrics.availability import available
from benchmarks.metrics.clip import DEFAULT as CLIP
from benchmarks.metrics.clip import ClipScore
from benchmarks.metrics.dreamsim import DreamSim
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import Features, FeatureSpace
from benchmarks.metrics.inception import InceptionFeatures
from benchmarks.metrics.lpips import LPIPS
from benchmarks.metrics.mse import mse
from benchmarks.metrics.prior_features import PriorFeatures
from benchmarks.metrics.statistics import Statistics
from restoration.cluster import count_of, require_ray
from restoration.commands.interrupt import Interrupt
from restoration.errors import OutputError
from restoration.pictures.sources import Source, find
from restoration.priors import EMBEDDED, DiffusionPrior, load_prior, prior_for
from restoration.priors.library.catalogue import KNOWN
from restoration.priors.tiled import TILE_BATCH
from restoration.restorer import DEFAULT
from restoration.version import own_version
from solvers import Spectral, record_of


@dataclass(frozen=True)
class Options:
    """What every measuring command asks its user for."""

    data: tuple[Path, ...]
    prior: str
    output: Path
    limit: int | None = None
    fit: bool = False
    size: int | None = None
    whole: bool = False
    batch: int = 32
    device: str = "auto"
    precision: str = "auto"
    fid_weights: Path | None = None
    lpips_weights: Path | None = None
    reference_stats: Path | None = None
    workers: str = "here"
    overwrite: bool = False
    posterior: Spectral.Settings = DEFAULT
    shown: int = 6
    distances: bool = True
    inception: bool = True
    clip: str | None = None
    to_final: bool = False
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """What a measuring command leaves to those that draw conclusions."""

    results: Results
    space: FeatureSpace
    notes: tuple[str, ...]
    complete: bool
    reference: Statistics | None = None


def measure_all(
    command: str,
    options: Options,
    tasks: dict[str, Case],
    trials: tuple[Trial, ...],
    methods: tuple[Method, ...] = (),
    told: Mapping[str, Any] | None = None,
) -> Finished:
    """Measure every task on every picture, but for what an earlier call has measured.

    Args:
        methods: whole restorations to compare, besides trials.
        told: what else the numbers depend on, for the results' configuration.

    Raises:
        RestorationError, ValueError: it cannot be done; the message is one line.
    """
    if options.batch < 1 or (options.limit is not None and options.limit < 1):
        raise ValueError(f"--batch and --limit must be at least 1: got {options.batch} and {options.limit}")
    if options.whole:
        if options.fit or options.size is not None:
            raise ValueError("--whole takes pictures as they are: it goes with neither --fit nor --size")
        options = replace(options, batch=1, shown=0)  # pictures of several sizes make no grid
    if options.workers != "here":
        count_of(options.workers)
        require_ray()
        options = _absolute(options)
    sources = _unique(find(options.data))[: options.limit]
    prior = load_prior(options.prior, options.device, options.precision)
    shape = restored_shape(options, prior)
    if not options.fit and not options.whole:
        check_sizes(sources, shape[1:])
    bench, space, notes = build_bench(options, prior, trials, methods)
    reference = known_reference(options.reference_stats, space)
    config = _config(command, options, bench, told or {})
    results = Results(options.output, config, overwrite=options.overwrite)
    asked = [case.fitted(options.fit) for case in tasks.values()]
    facts = {
        case.name: {"task": case.title, "sigma": case.task.sigma or 0.0, "factor": case.task.factor}
        for case in asked
    }
    todo = jobs(asked, sources, options.batch, results, {"tasks": facts, "notes": notes}, options.argv)
    measurer = _measurer(command, options, bench, config, told or {})
    complete = watched(todo, measurer, results, len(sources) * len(tasks))
    return Finished(results, space, notes, complete, reference)


def build_bench(
    options: Options, prior: DiffusionPrior, trials: tuple[Trial, ...], methods: tuple[Method, ...] = ()
) -> tuple[Bench, FeatureSpace, tuple[str, ...]]:
    """The metrics that can be had here, their features' space, and a line for each that cannot."""
    wanted = options.distances and options.inception
    can = available(
        prior=True,
        fid_weights=options.fid_weights,
        lpips_weights=options.lpips_weights,
        download=True,
        inception=wanted,
    )
    inception = wanted and (can["FID"] or options.fid_weights)  # given weights must load, or it ends
    features: Features = (
        InceptionFeatures(options.fid_weights, prior.device) if inception else PriorFeatures(prior)
    )
    lpips = LPIPS(options.lpips_weights, prior.device) if can["LPIPS"] or options.lpips_weights else None
    notes = tuple(str(can[metric]) for metric in ("FID",) * wanted + ("LPIPS",) if not can[metric])
    measured = features if options.distances else None
    to_final, missing = _to_final(options, prior.device) if options.to_final else ({}, ())
    whole = prior_for(prior, restored_shape(options, prior), tile_batch=max(options.batch, TILE_BATCH))
    bench = Bench(whole, trials, options.posterior, measured, lpips, True, options.shown, methods, to_final)
    bench = replace(bench, whole=options.whole)
    return bench, features.space, (*notes, *missing)


def restored_shape(options: Options, prior: DiffusionPrior) -> tuple[int, int, int]:
    """(C, H, W) of what is restored: the prior's own, or a square of ``size`` that it describes in tiles.

    Raises:
        ValueError: a size below the prior's.
    """
    if options.size is None:
        return prior.image_shape
    least = max(prior.image_shape[1:])
    if options.size < least:
        raise ValueError(f"--size must be at least the prior's, {least}: got {options.size}")
    return (prior.image_shape[0], options.size, options.size)


def _to_final(options: Options, device: torch.device) -> tuple[dict[str, PairMetric], tuple[str, ...]]:
    """What compares a preview with the end of its run, where it can be had, and a line for each that cannot."""
    found: dict[str, PairMetric] = {"mse_to_final": mse}
    notes = []
    try:
        found["clip_to_final"] = ClipScore(options.clip or CLIP, device).alike
    except MetricError as error:
        if options.clip is not None:
            raise
        notes.append(f"CLIP image score: not available: {error}")
    try:
        found["dreamsim_to_final"] = DreamSim(device)
    except MetricError as error:
        notes.append(f"DreamSim: not available: {error}")
    return found, tuple(notes)


def _config(command: str, options: Options, bench: Bench, told: Mapping[str, Any]) -> dict[str, Any]:
    prior = bench.prior
    return {
        "command": command,
        "data": [path.resolve().name for path in options.data],
        "fit": options.fit,
        "batch": options.batch,
        "prior": prior.name,
        "prior fingerprint": prior.fingerprint(),
        "precision": options.precision,
        "image shape": None if bench.whole else list(prior.image_shape),
        **(record_of(bench.posterior) if bench.trials else {}),
        "runs": [
            [trial.name, list(trial.allocation), list(trial.stops), list(trial.kinds)] for trial in bench.trials
        ],
        **told,
        "features": None if bench.features is None else vars(bench.features.space),
        "lpips": bench.lpips is not None,
        "to final": sorted(bench.to_final),
        "values": "floats in [0, 1], clamped for every metric; features of uint8",
        "seeds": "of each picture's name; with the operator's hash beside its rows",
        "device": str(prior.device.type),
        "torch": torch.__version__,
        "nested-restoration": own_version(),
    }


@dataclass(frozen=True)
class _Build:
    """A worker's bench, made where it is called."""

    command: str
    options: Options
    trials: tuple[Trial, ...]
    methods: tuple[Method, ...]
    told: Mapping[str, Any]

    def __call__(self) -> tuple[Bench, dict[str, Any]]:
        prior = load_prior(self.options.prior, self.options.device, self.options.precision)
        bench, _, _ = build_bench(self.options, prior, self.trials, self.methods)
        return bench, _config(self.command, self.options, bench, self.told)


def _measurer(
    command: str, options: Options, bench: Bench, config: dict[str, Any], told: Mapping[str, Any]
) -> Measurer:
    if options.workers == "here":
        return here(bench)
    device = bench.prior.device.type
    build = _Build(command, replace(options, device=device), bench.trials, bench.methods, told)
    return on_ray(build, config, device, options.workers)


def _absolute(options: Options) -> Options:
    """As another process can use them, on another machine too."""

    def anywhere(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    local = options.prior not in (*EMBEDDED, *KNOWN) and Path(options.prior).exists()
    return replace(
        options,
        data=tuple(path.absolute() for path in options.data),
        prior=str(Path(options.prior).absolute()) if local else options.prior,
        fid_weights=anywhere(options.fid_weights),
        lpips_weights=anywhere(options.lpips_weights),
    )


def known_reference(file: Path | None, space: FeatureSpace) -> Statistics | None:
    """What the user's file holds; None where there is no file yet. It is refused before hours of measuring."""
    if file is None:
        return None
    if not file.exists():
        if not file.parent.is_dir():
            raise OutputError(f"{file}: there is no folder {file.parent}")
        return None
    statistics = Statistics.load(file)
    if statistics.space != space:
        raise MetricError(f"{file}: holds statistics of other features: {statistics.space}, not {space}")
    return statistics


def _unique(sources: list[Source]) -> list[Source]:
    """Sources under names of their own: a picture's seed is its name's."""
    name, count = Counter(source.name for source in sources).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} pictures are called {name}: a picture's seed is made of its name")
    return sources


def watched(
    todo: Sequence[Piece[T, S]],
    measurer: Callable[[Sequence[Piece[T, S]]], Generator[tuple[Piece[T, S], Chunk], None, None]],
    results: Results,
    total: int,
    what: str = "restorations",
) -> bool:
    """Measure with a bar, until done (true) or a Ctrl-C (false)."""
    console, interrupt = Console(stderr=True), Interrupt()
    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
    )
    columns = (*columns, TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    left = sum(len(job.sources) for job in todo)
    if left < total:
        console.print(f"{total - left} of {total} {what} are there already", highlight=False)
    with interrupt.heard(), bar:
        shown = bar.add_task("", total=total, completed=total - left)

        def watch(job: Piece[T, S], chunk: Chunk) -> bool:
            bar.update(shown, advance=len(job.sources), description=job.task.name)
            return interrupt.asked

        carry_out(todo, measurer, results, watch)
    return not interrupt.asked
