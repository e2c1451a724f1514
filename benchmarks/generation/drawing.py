"""Samples drawn through the nested scheduler, looked at on the way: what ``restore-bench generate`` stores."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from benchmarks.engine.campaign import Piece
from benchmarks.engine.chunk import Chunk, hardware
from benchmarks.engine.trials import Look, Trial
from benchmarks.metrics.clip import ClipScore
from benchmarks.metrics.features import Features
from benchmarks.metrics.mse import mse
from benchmarks.metrics.pixels import to_uint8
from restoration import NestedScheduler
from restoration.priors import DiffusionPrior
from restoration.restorer import synchronise
from restoration.tasks import derived_seed
from solvers.units import from_model

SHARES = (20, 40, 60, 80, 100)
"""Percent of a run at which the paper's Table 3 looks; pictures are kept there."""


@dataclass(frozen=True)
class SolverTrial(Trial):
    """A trial with an inner solver of its own; ``eta`` is an inner ``ddim``'s."""

    inner: str = "ddim"
    eta: float = 0.85

    def at(self, share: int) -> int:
        """The evaluations at a percentage of the run."""
        return shared(sum(self.allocation), share)


def shared(total: int, share: int) -> int:
    """A percentage of so many evaluations, rounded, at least one."""
    return max(round(total * share / 100), 1)


@dataclass(frozen=True)
class ImageRequest:
    """One image to be drawn.

    Args:
        name: its noise is made from the command's seed and this, wherever and whenever it is drawn.
        prompt: of a text pipeline. label: of a class-conditional one.
    """

    name: str
    prompt: str = ""
    label: int = 0


class Model(Protocol):
    """A prior or a pipeline that draws."""

    name: str
    fingerprint: str
    image_shape: tuple[int, int, int]
    device: torch.device

    def scheduler(self, trial: SolverTrial) -> NestedScheduler:
        """As a user would set it for this trial; ValueError where it cannot be."""
        ...

    def draw(
        self,
        scheduler: NestedScheduler,
        outer: int,
        requests: Sequence[ImageRequest],
        generators: list[torch.Generator],
    ) -> None:
        """Run ``scheduler`` to its end; what is wanted is heard by its ``on_step``."""
        ...

    def decode(self, x0: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [0, 1] units, float32, of an estimate."""
        ...


class PriorModel:
    """A prior's network, unconditional, from x_T ~ N(0, 1): diffusers' DDPM loop with a float32 state."""

    def __init__(self, prior: DiffusionPrior) -> None:
        self.prior = prior
        self.name, self.fingerprint = prior.name, prior.fingerprint()
        self.image_shape, self.device = prior.image_shape, prior.device

    def scheduler(self, trial: SolverTrial) -> NestedScheduler:
        """On the prior's schedule, for what its network predicts."""
        alpha_bars = self.prior.schedule.alpha_bars
        config = self.prior.network.config
        made: NestedScheduler = NestedScheduler(
            num_train_timesteps=self.prior.schedule.K,
            trained_betas=(1 - alpha_bars[1:] / alpha_bars[:-1]).tolist(),
            inner_steps=trial.allocation[0],
            inner=trial.inner,
            inner_eta=trial.eta,
            prediction_type=self.prior.prediction,
            variance_type="learned_range" if config.out_channels > config.in_channels else "fixed_small",
        )
        return made

    @torch.no_grad()
    def draw(
        self,
        scheduler: NestedScheduler,
        outer: int,
        requests: Sequence[ImageRequest],
        generators: list[torch.Generator],
    ) -> None:
        """One network call a step of the scheduler."""
        network, label = self.prior.network, self.prior.class_label
        scheduler.set_timesteps(outer)
        x = randn_tensor((len(requests), *self.image_shape), generator=generators, device=self.device)
        labels = None if label is None else torch.full((len(x),), label, device=self.device)
        for t in scheduler.timesteps:
            output = network(x.to(network.dtype), int(t), class_labels=labels).sample
            x = scheduler.step(output.float(), t, x, generator=generators).prev_sample

    def decode(self, x0: Tensor) -> Tensor:
        """From the network's [-1, 1] scale; not clamped."""
        return from_model(x0)


def follow(
    model: Model, trial: SolverTrial, requests: Sequence[ImageRequest], generators: list[torch.Generator]
) -> dict[Look, Tensor]:
    """What stopping at every point would leave: estimates, not decoded, the same tensor where none is newer."""
    scheduler = model.scheduler(trial)
    looks: dict[Look, Tensor] = {}

    def look(scheduler: NestedScheduler) -> None:
        nfe = scheduler.progress.nfe
        if nfe in trial.stops and scheduler.last_estimate is not None:
            looks[Look(trial.name, "returned", nfe)] = scheduler.last_estimate

    scheduler.on_step, scheduler.generator = look, generators
    model.draw(scheduler, len(trial.allocation), requests, generators)
    return looks


@dataclass(frozen=True)
class DrawingBench:
    """What measures: one model, the trials to compare, the metrics.

    Args:
        seed: of all samples, with their names.
        features: of a Fréchet distance.
        clip: for text pipelines, where its weights are here.
        shown: of so many of the first samples, the images themselves are kept.
    """

    model: Model
    trials: tuple[SolverTrial, ...]
    seed: int
    features: Features
    clip: ClipScore | None = None
    shown: int = 0


@dataclass(frozen=True)
class Generation:
    """The one task of samples."""

    name: str = "generate"


Drawn = Piece[Generation, ImageRequest]
"""A chunk of samples to be drawn."""


def here(bench: DrawingBench, todo: Sequence[Drawn]) -> Generator[tuple[Drawn, Chunk], None, None]:
    """Draw and measure chunks in this process."""
    for piece in todo:
        yield piece, measure(bench, piece.sources, piece.first)


def measure(bench: DrawingBench, requests: Sequence[ImageRequest], first: int) -> Chunk:
    """Draw some samples by every trial, and measure what is seen of them on the way.

    Args:
        first: how many samples come before these.
    """
    chunk = Chunk([request.name for request in requests], hardware=hardware(bench.model.device))
    kept = max(min(bench.shown - first, len(requests)), 0)
    for trial in bench.trials:
        _measure_trial(bench, trial, requests, kept, chunk)
    return chunk


def _measure_trial(
    bench: DrawingBench, trial: SolverTrial, requests: Sequence[ImageRequest], kept: int, chunk: Chunk
) -> None:
    model = bench.model
    seeds = [derived_seed(bench.seed, name) for name in chunk.names]
    generators = [torch.Generator(model.device).manual_seed(seed) for seed in seeds]
    synchronise(model.device)
    begun = time.perf_counter()
    looks = follow(model, trial, requests, generators)
    synchronise(model.device)
    chunk.seconds[trial.name] = time.perf_counter() - begun
    final = model.decode(looks[Look(trial.name, "returned", trial.stops[-1])])
    if not bool(final.isfinite().all()):
        raise ValueError("the network answered NaN; another precision (fp32, bf16) may do")
    newest: Tensor | None = None
    for look, x0 in looks.items():
        if x0 is not newest:  # an outer step long, nothing newer is there to be measured
            newest, pictures = x0, model.decode(x0)
            features = bench.features(pictures, chunk.names).cpu()
            scores = _scores(bench, pictures, final, requests)
        chunk.features[look.key] = features.clone()  # a file holds no tensor twice
        for i, name in enumerate(chunk.names):
            told = {metric: values[i] for metric, values in scores.items()}
            chunk.rows.append(
                {"image": name, "run": trial.name, "kind": look.kind, "nfe": look.nfe, **told, "task": "generate"}
            )
        if kept and look.nfe in {trial.at(share) for share in SHARES}:
            chunk.pictures[look.key] = to_uint8(pictures[:kept]).cpu().contiguous()


def _scores(
    bench: DrawingBench, pictures: Tensor, final: Tensor, requests: Sequence[ImageRequest]
) -> dict[str, list[float]]:
    scores = {"rmse_to_final": mse(pictures, final).sqrt().tolist()}
    if bench.clip is not None:
        scores["clip"] = bench.clip(pictures, [request.prompt for request in requests]).tolist()
    return scores
