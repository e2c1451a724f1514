"""Nested against vanilla generation: the distance of previews to real pictures, the paper's Tables 1 and 3."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine.campaign import jobs
from benchmarks.engine.curve import POINTS
from benchmarks.engine.results import Results
from benchmarks.engine.setup import Finished, known_reference, watched
from benchmarks.engine.summary import TaskSummary, summarise
from benchmarks.generation import reference
from benchmarks.generation.drawing import (
    SHARES,
    DrawingBench,
    Drawn,
    Generation,
    ImageRequest,
    Model,
    PriorModel,
    SolverTrial,
    here,
    shared,
)
from benchmarks.generation.pipelines import Conditions, PipelineModel, open_model
from benchmarks.metrics.clip import DEFAULT, ClipScore
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import Features
from benchmarks.metrics.inception import InceptionFeatures
from benchmarks.metrics.prior_features import PriorFeatures
from benchmarks.metrics.statistics import Statistics
from restoration.plugins.diffusers.scheduler_config import INNER
from restoration.priors import load_prior
from restoration.version import own_version


@dataclass(frozen=True)
class Options:
    """What ``restore-bench generate`` asks its user for."""

    output: Path
    prior: str
    data: tuple[Path, ...] = ()
    reference_stats: Path | None = None
    totals: tuple[int, ...] = (60,)
    splits: tuple[int, ...] = (5,)
    inner: str = "ddim"
    eta: float = 0.85
    dpm: tuple[int, ...] = ()
    samples: int = 500
    batch: int = 50
    seed: int = 0
    conditions: Conditions = field(default_factory=Conditions)
    limit: int | None = None
    fit: bool = False
    feature_prior: str = "photos-64"
    clip: str | None = None
    device: str = "auto"
    precision: str = "auto"
    fid_weights: Path | None = None
    overwrite: bool = False
    shown: int = 6
    argv: tuple[str, ...] = ()


def trials(
    totals: tuple[int, ...], splits: tuple[int, ...], inner: str, eta: float, dpm: tuple[int, ...] = ()
) -> tuple[SolverTrial, ...]:
    """Each total spent at once ("vanilla", one outer step) and in each split; so too with DPM-Solver++(2S).

    Each is looked at after 20, 40, 60, 80 and 100 % and at ``POINTS`` more, evenly spread.

    Raises:
        ValueError: a total or split below 1, or a split that does not divide a total.
    """
    if min(*totals, *splits, *dpm, 1) < 1:
        raise ValueError(f"--totals, --splits and --dpm must be at least 1: got {totals}, {splits}, {dpm}")
    made = [_trial(total, outer, inner, eta) for total in dict.fromkeys(totals) for outer in _outer(total, splits)]
    solver = "dpmsolver++2s"
    made += [_trial(t, outer, solver, eta, "dpm++ ") for t in dict.fromkeys(dpm) for outer in _outer(t, splits)]
    return tuple(made)


def _outer(total: int, splits: tuple[int, ...]) -> list[int]:
    for outer in splits:
        if total % outer:
            raise ValueError(f"--splits must divide every total: got {outer} for {total}")
    return list(dict.fromkeys((1, *splits)))


def _trial(total: int, outer: int, inner: str, eta: float, prefix: str = "") -> SolverTrial:
    evenly = {max(round(total * (i + 1) / POINTS), 1) for i in range(POINTS)}
    stops = tuple(sorted(evenly | {shared(total, share) for share in SHARES}))
    name = f"vanilla {total}" if outer == 1 else f"nested {outer}x{total // outer}"
    return SolverTrial(prefix + name, (total // outer,) * outer, stops, ("returned",), inner, eta)


def measure(options: Options) -> tuple[Finished, TaskSummary]:
    """Draw and measure all samples, but for what an earlier call has, and summarise.

    Raises:
        RestorationError, ValueError: it cannot be done; the message is one line.
    """
    _check(options)
    planned = trials(options.totals, options.splits, options.inner, options.eta, options.dpm)
    model = open_model(options.prior, options.conditions, options.device, options.precision)
    for trial in planned:  # what a scheduler refuses, it refuses before hours of drawing
        model.scheduler(trial).set_timesteps(len(trial.allocation))
    features, notes = _features(options, model)
    clip, clip_notes = _clip(options, model)
    real, left_out = _reference(options, features, model)
    bench = DrawingBench(model, planned, options.seed, features, clip, options.shown)
    results = Results(options.output, _config(options, bench, real), overwrite=options.overwrite)
    real.save(options.output / reference.FILE)
    told = {"notes": (*notes, *clip_notes)}
    requests = _requests(options, model)
    todo: list[Drawn] = jobs([Generation()], requests, options.batch, results, told, options.argv)
    complete = watched(todo, lambda pieces: here(bench, pieces), results, options.samples, "samples")
    finished = Finished(results, features.space, (*notes, *clip_notes, *left_out), complete, real)
    if not complete:
        return finished, TaskSummary(Generation.name)
    return finished, summarise(results, Generation.name, features.space, real)


def _check(options: Options) -> None:
    if options.inner not in INNER:
        raise ValueError(f"--inner must be one of {', '.join(INNER)}: got {options.inner!r}")
    if options.samples < 2:
        raise ValueError(f"--samples must be at least 2, for a distance: got {options.samples}")
    if options.batch < 1 or (options.limit is not None and options.limit < 2):
        raise ValueError(f"--batch must be at least 1 and --limit 2: got {options.batch} and {options.limit}")
    guidance = options.conditions.guidance
    if guidance is not None and not 1 <= guidance < math.inf:
        raise ValueError(f"--guidance must be a number of at least 1, which is none: got {guidance}")
    file = options.reference_stats
    if not options.data and (file is None or not file.exists()):
        raise ValueError("--data FOLDER|TAR of real pictures is needed, or --reference-stats FILE of them")


def _features(options: Options, model: Model) -> tuple[Features, tuple[str, ...]]:
    """Inception's where its weights can be had, else a prior's: the drawing one's, where it is one."""
    try:
        return InceptionFeatures(options.fid_weights, model.device), ()
    except MetricError as error:
        if options.fid_weights is not None:
            raise
        note = f"FID: not available: {error}"
    prior = (
        model.prior
        if isinstance(model, PriorModel)
        else load_prior(options.feature_prior, options.device, options.precision)
    )
    features = PriorFeatures(prior)
    try:
        features(torch.zeros(1, *model.image_shape), ["size"])
    except ValueError as error:
        raise ValueError(f"--feature-prior does not fit: {error}") from None
    return features, (note, f"FD-prior on the features of {prior.name}")


def _clip(options: Options, model: Model) -> tuple[ClipScore | None, tuple[str, ...]]:
    if not isinstance(model, PipelineModel) or model.takes != "prompt":
        if options.clip is not None:
            raise ValueError(f"--clip is of text pipelines, and {model.name} is none")
        return None, ()
    try:
        return ClipScore(options.clip or DEFAULT, model.device), ()
    except MetricError as error:
        if options.clip is not None:
            raise
        return None, (f"CLIP score: not available: {error}",)


def _reference(options: Options, features: Features, model: Model) -> tuple[Statistics, tuple[str, ...]]:
    known = known_reference(options.reference_stats, features.space)
    if known is not None and options.reference_stats is not None:
        try:
            known.factor()  # kept; what no distance can be had from is refused before hours of drawing
        except MetricError as error:
            raise MetricError(f"{options.reference_stats}: {error}") from None
        return known, (f"the real pictures' statistics are those of {options.reference_stats.name}",)
    real, notes = reference.measure_reference(
        options.data,
        features,
        model.image_shape,
        limit=options.limit,
        fit=options.fit,
        batch=options.batch,
    )
    if options.reference_stats is not None:
        real.save(options.reference_stats)
    return real, notes


def _requests(options: Options, model: Model) -> list[ImageRequest]:
    prompts: tuple[str, ...] = ("",)
    classes: tuple[int, ...] = (0,)
    if isinstance(model, PipelineModel):
        prompts, classes = (
            (options.conditions.prompts, classes) if model.takes == "prompt" else (prompts, model.classes)
        )
    return [
        ImageRequest(f"sample-{i:05d}", prompts[i % len(prompts)], classes[i % len(classes)])
        for i in range(options.samples)
    ]


def _config(options: Options, bench: DrawingBench, real: Statistics) -> dict[str, Any]:
    model, file = bench.model, options.reference_stats
    told: dict[str, Any] = {
        "command": "generate",
        "data": [path.resolve().name for path in options.data],
        "reference pictures": real.count,
        "fit": options.fit,
        "batch": options.batch,
        "prior": model.name,
        "prior fingerprint": model.fingerprint,
        "image shape": list(model.image_shape),
        "inner": options.inner,
        "eta": options.eta,
        "totals": list(options.totals),
        "splits": list(options.splits),
        "dpm": list(options.dpm),
        "runs": [
            [trial.name, list(trial.allocation), list(trial.stops), list(trial.kinds)] for trial in bench.trials
        ],
        "features": vars(bench.features.space),
        "clip": None if bench.clip is None else bench.clip.name,
        "values": "floats in [0, 1], clamped for every metric; features of uint8",
        "seed": options.seed,
        "seeds": "of the seed and each sample's name",
        "device": str(model.device.type),
        "torch": torch.__version__,
        "nested-restoration": own_version(),
    }
    if file is not None and not options.data:
        told["reference statistics"] = file.name
    if isinstance(model, PipelineModel):
        if isinstance(bench.features, PriorFeatures):
            told["feature prior"] = bench.features.prior.name
        told["guidance"] = model.guidance
        told["classes"] = list(options.conditions.classes or ["all"]) if model.takes == "class_labels" else None
        text = "\n".join(options.conditions.prompts)
        told["prompts"] = hashlib.sha256(text.encode()).hexdigest() if text else None
    return told
