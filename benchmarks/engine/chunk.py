"""A few pictures, degraded, restored by every run and measured: the unit of work that is stored."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine.methods import Method, attempt, warm_up
from benchmarks.engine.trials import Look, Trial, follow
from benchmarks.metrics.features import Features
from benchmarks.metrics.lpips import LPIPS
from benchmarks.metrics.mse import mse
from benchmarks.metrics.pixels import to_uint8
from benchmarks.metrics.psnr import psnr
from benchmarks.metrics.ssim import ssim
from degradations import Measurement
from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.sources import Source
from restoration.priors import DiffusionPrior
from restoration.restorer import DEFAULT, Restorer, synchronise
from restoration.tasks import Problem, Task, derived_seed, pose, with_channels
from solvers import Spectral

PairMetric = Callable[[Tensor, Tensor], Tensor]
"""(B,) of two batches (B, C, H, W) in [0, 1]."""
ORIGINAL = "original"
"""The key of the clean pictures' features."""


@dataclass(frozen=True)
class Bench:
    """What measures: one prior, the trials to compare, the metrics.

    Args:
        posterior: the sampler's settings, the same for all trials.
        features: of a Fréchet distance.
        lpips: None where its weights are not to be had.
        shown: of so many of the first pictures, the images themselves are kept.
        methods: whole restorations to compare besides, a picture at a time.
        to_final: what compares a preview with the end of its own run, by the metric's name.
    """

    prior: DiffusionPrior
    trials: tuple[Trial, ...]
    posterior: Spectral.Settings = DEFAULT
    features: Features | None = None
    lpips: LPIPS | None = None
    ssim: bool = True
    shown: int = 0
    methods: tuple[Method, ...] = ()
    to_final: Mapping[str, PairMetric] = field(default_factory=dict)


@dataclass
class Chunk:
    """What was found out about some pictures, all on the CPU.

    Args:
        names: of all that were asked for, in order.
        rows: one for every picture that could be read and every look; of a method that failed, why in place of
            its scores.
        failed: a line for every picture that could not be read, by name.
        features: (B, dim) of the readable ones, by ``Look.key`` and ``ORIGINAL``.
        pictures: (B', C, H, W) uint8 of the first few, by ``Look.key``, ``ORIGINAL`` and "degraded".
        seconds: of solving, by the name of a trial or method.
        hardware: on which it was measured.
        seeds: of every readable picture's noise, mask and restoration.
        operators: the beginning of each one's fingerprint, its mask in it.
    """

    names: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hardware: str = ""
    seeds: dict[str, int] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)

    @property
    def readable(self) -> list[str]:
        """The names of the pictures that were measured, in order."""
        return [name for name in self.names if name not in self.failed]


def seed_of(name: str) -> int:
    """A picture's seed: of its simulated noise, its mask and its restoration, wherever and whenever it is run."""
    return derived_seed(0, name)


def problem_of(task: Task, source: Source, prior_shape: tuple[int, int, int]) -> Problem:
    """What is to be restored of a picture, seeded by its name.

    Raises:
        ImageError, OSError: it cannot be read or used.
    """
    picture, _ = with_channels(images.decode(source.read(), source.name), prior_shape[0])  # grey ones among others
    return pose(task, picture, prior_shape, seed=seed_of(source.name))


def measure(bench: Bench, task: Task, sources: Sequence[Source], first: int) -> Chunk:
    """Degrade, restore and measure some pictures.

    Args:
        first: how many pictures come before these.
    """
    chunk = Chunk([source.name for source in sources], hardware=hardware(bench.prior.device))
    originals, measurements, degraded = [], [], []
    for source in sources:
        try:
            problem = problem_of(task, source, bench.prior.image_shape)
        except (ImageError, OSError) as error:
            chunk.failed[source.name] = str(error)
            continue
        assert problem.original is not None  # Task.simulate
        chunk.seeds[source.name] = seed_of(source.name)
        chunk.operators[source.name] = problem.measurement.operator.fingerprint()[:16]
        originals.append(problem.original)
        measurements.append(problem.measurement)
        degraded.append(problem.degraded)
    if not originals:
        return chunk
    names = chunk.readable
    clean = torch.stack(originals).to(bench.prior.device)
    posterior = Restorer(bench.prior, bench.posterior).posterior(Measurement.stack(measurements))
    kept = max(min(bench.shown - first, len(names)), 0)
    _keep(chunk, ORIGINAL, clean, kept)
    _keep(chunk, "degraded", torch.stack(degraded), kept)
    if bench.features is not None:
        chunk.features[ORIGINAL] = bench.features(clean, names).cpu()
    for trial in bench.trials:
        _measure_trial(bench, trial, posterior, clean, names, kept, chunk)
    if bench.methods:
        warm_up(bench.prior, measurements[0].to(clean.device))
    for method in bench.methods:
        _measure_method(bench, method, measurements, clean, names, kept, chunk)
    for row in chunk.rows:
        row["task"] = task.name
    return chunk


def _measure_trial(
    bench: Bench, trial: Trial, posterior: Spectral, clean: Tensor, names: list[str], kept: int, chunk: Chunk
) -> None:
    synchronise(clean.device)
    begun = time.perf_counter()
    looks, final = follow(trial, posterior, [seed_of(name) for name in names])
    synchronise(clean.device)
    chunk.seconds[trial.name] = time.perf_counter() - begun
    if not bool(final.isfinite().all()):
        raise ValueError("the network answered NaN; another precision (fp32, bf16) may do")
    for look, restored in looks.items():
        scores = {**_scores(bench, restored, clean), "rmse_to_final": mse(restored, final).sqrt()}
        if bench.lpips is not None:
            scores["lpips_to_final"] = bench.lpips(restored, final)
        scores |= {name: metric(restored, final) for name, metric in bench.to_final.items()}
        if bench.features is not None:
            chunk.features[look.key] = bench.features(restored, names).cpu()
        columns = {metric: values.tolist() for metric, values in scores.items()}
        for i, name in enumerate(names):
            told = {metric: values[i] for metric, values in columns.items()}
            chunk.rows.append({"image": name, "run": trial.name, "kind": look.kind, "nfe": look.nfe, **told})
        _keep(chunk, look.key, restored, kept)


def _measure_method(
    bench: Bench,
    method: Method,
    measurements: Sequence[Measurement],
    clean: Tensor,
    names: list[str],
    kept: int,
    chunk: Chunk,
) -> None:
    shown = torch.zeros_like(clean[:kept])  # a failed picture stays black
    nfe = 0
    chunk.seconds[method.name] = 0.0
    for i, name in enumerate(names):
        done = attempt(method, bench.prior, measurements[i].to(clean.device), seed_of(name))
        nfe = max(nfe, done.nfe)
        chunk.seconds[method.name] += done.seconds
        row: dict[str, Any] = {"image": name, "run": method.name, "kind": "returned", "nfe": done.nfe}
        if done.image is None:
            chunk.rows.append({**row, "failed": done.failed})
            continue
        scores = _scores(bench, done.image, clean[i : i + 1])
        chunk.rows.append({**row, **{metric: float(values[0]) for metric, values in scores.items()}})
        if i < kept:
            shown[i] = done.image[0]
    _keep(chunk, Look(method.name, "returned", nfe).key, shown, kept)


def _scores(bench: Bench, restored: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """(B,) of every metric that compares with the original alone."""
    scores = {"psnr": psnr(restored, clean)}
    if bench.ssim:
        scores["ssim"] = ssim(restored, clean)
    if bench.lpips is not None:
        scores["lpips"] = bench.lpips(restored, clean)
    return scores


def _keep(chunk: Chunk, key: str, pictures: Tensor, count: int) -> None:
    if count:
        chunk.pictures[key] = to_uint8(pictures[:count]).cpu()


def hardware(device: torch.device) -> str:
    """What it runs on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type}"
