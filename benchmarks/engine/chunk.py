"""A few pictures, degraded, restored by every run and measured: the unit of work that is stored."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine.attempt import attempt, warm_up
from benchmarks.engine.case import Case
from benchmarks.engine.methods import Method
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
from restoration.priors import prior_for
from restoration.restorer import DEFAULT, Restorer, synchronise
from restoration.tasks import Problem, derived_seed, fit_to, pose, with_channels
from solvers import Prior, Spectral

PairMetric = Callable[[Tensor, Tensor], Tensor]
"""(B,) of two batches (B, C, H, W) in [0, 1]."""
MULTIPLE = 16
"""Pixels that divide the sides of whole pictures: as super-resolution's factors and JPEG's blocks need."""
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
        methods: whole restorations to compare besides.
        to_final: what compares a preview with the end of its own run, by the metric's name.
        whole: whether every picture is restored at its own size, in the prior's tiles; then one at a time.
    """

    prior: Prior
    trials: tuple[Trial, ...]
    posterior: Spectral.Settings = DEFAULT
    features: Features | None = None
    lpips: LPIPS | None = None
    ssim: bool = True
    shown: int = 0
    methods: tuple[Method, ...] = ()
    to_final: Mapping[str, PairMetric] = field(default_factory=dict)
    whole: bool = False


@dataclass
class Chunk:
    """What was found out about some pictures, all on the CPU.

    Args:
        names: of all that were asked for, in order.
        rows: one for every picture that could be read and every look; of a method that failed, why in place of
            its scores, and of one that did not, its seconds a picture.
        failed: a line for every picture that could not be read, by name.
        features: (B, dim) of the readable ones that have scores, by ``Look.key`` and ``ORIGINAL``.
        pictures: (B', C, H, W) uint8 of the first few, by ``Look.key``, ``ORIGINAL`` and "degraded".
        seconds: of solving, by the name of a trial.
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


def problem_of(case: Case, source: Source, shape: tuple[int, int, int], *, whole: bool = False) -> Problem:
    """What is to be restored of a picture, seeded by its name: noise and mask are the same for whoever restores.

    Args:
        shape: (C, H, W) of what the prior describes.
        whole: take all of the picture but for what ``MULTIPLE`` leaves over at its borders.

    Raises:
        ImageError, OSError: it cannot be read or used.
    """
    picture, _ = with_channels(images.decode(source.read(), source.name), shape[0])  # grey ones among others
    if whole:
        picture = _whole(picture, shape, source.name)
        shape = (shape[0], picture.shape[1], picture.shape[2])
    seed = seed_of(source.name)
    if case.task.fit and tuple(picture.shape[1:]) != shape[1:]:
        picture = fit_to(picture, *shape[1:], shrink=True)
    rows, columns = picture.shape[1:]
    mask = None if case.mask is None else case.mask.fill(rows, columns, seed)
    return pose(case.task, picture, shape, mask=mask, seed=seed)


def _whole(picture: Tensor, shape: tuple[int, int, int], name: str) -> Tensor:
    """The middle of a picture (C, H, W), its sides the largest multiples of ``MULTIPLE``."""
    rows, columns = (side // MULTIPLE * MULTIPLE for side in picture.shape[1:])
    if rows < shape[1] or columns < shape[2]:
        raise ImageError(f"{name} is too small: {columns}×{rows} of it where {shape[2]}×{shape[1]} is needed")
    top, left = ((side - kept) // 2 for side, kept in zip(picture.shape[1:], (rows, columns), strict=True))
    return picture[:, top : top + rows, left : left + columns]


def measure(bench: Bench, case: Case, sources: Sequence[Source], first: int) -> Chunk:
    """Degrade, restore and measure some pictures.

    Args:
        first: how many pictures come before these.
    """
    chunk = Chunk([source.name for source in sources], hardware=hardware(bench.prior.device))
    originals, measurements, degraded = [], [], []
    for source in sources:
        try:
            problem = problem_of(case, source, bench.prior.image_shape, whole=bench.whole)
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
    if bench.whole:
        bench = replace(bench, prior=prior_for(bench.prior, measurements[0].operator.image_shape))
    names = chunk.readable
    clean = torch.stack(originals).to(bench.prior.device)
    together = Measurement.stack(measurements).to(clean.device)
    kept = max(min(bench.shown - first, len(names)), 0)
    _keep(chunk, ORIGINAL, clean, kept)
    _keep(chunk, "degraded", torch.stack(degraded), kept)
    if bench.features is not None:
        chunk.features[ORIGINAL] = bench.features(clean, names).cpu()
    if bench.trials:
        posterior = Restorer(bench.prior, bench.posterior).posterior(together)
    for trial in bench.trials:
        _measure_trial(bench, trial, posterior, clean, names, kept, chunk)
    if bench.methods:
        warm_up(bench.prior, together)
    for method in bench.methods:
        if method.applies(together):
            _measure_method(bench, method, together, clean, names, kept, chunk)
    for row in chunk.rows:
        row["task"] = case.name
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
    bench: Bench, method: Method, together: Measurement, clean: Tensor, names: list[str], kept: int, chunk: Chunk
) -> None:
    for answer in attempt(method, bench.prior, together, [seed_of(name) for name in names]):
        look = Look(method.name, "returned", answer.nfe)
        _keep(chunk, look.key, answer.images, kept)  # a failed picture stays black
        good = [i for i, why in enumerate(answer.failed) if not why]
        told: list[dict[str, Any]] = [{"failed": why} for why in answer.failed]
        if good:
            restored = answer.images[good]
            scores = _scores(bench, restored, clean[good])
            columns = {metric: values.tolist() for metric, values in scores.items()}
            for place, i in enumerate(good):
                told[i] = {metric: values[place] for metric, values in columns.items()}
                told[i]["seconds"] = answer.seconds
            if bench.features is not None:
                chunk.features[look.key] = bench.features(restored, [names[i] for i in good]).cpu()
        for name, row in zip(names, told, strict=True):
            chunk.rows.append({"image": name, "run": look.run, "kind": look.kind, "nfe": look.nfe, **row})


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
        chunk.pictures[key] = to_uint8(pictures[:count]).cpu().contiguous()


def hardware(device: torch.device) -> str:
    """What it runs on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type}"
