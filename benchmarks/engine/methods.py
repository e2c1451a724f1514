"""Ways to restore a picture that are compared as a whole, whoever wrote them: one picture at a time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from benchmarks.engine.trials import Trial, follow
from degradations import Measurement
from restoration.errors import first_line
from restoration.priors import DiffusionPrior
from restoration.restorer import DEFAULT, Restorer, synchronise
from solvers import NoiseSource, Spectral, record_of
from solvers.units import from_model


class Method(Protocol):
    """One way to restore."""

    @property
    def name(self) -> str:
        """Of its rows in every table."""
        ...

    @property
    def settings(self) -> str:
        """What it was told, in words."""
        ...

    @property
    def foreign(self) -> bool:
        """Whether another package wrote it: what it raises is then a finding, not an error of ours."""
        ...

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """The picture (1, C, H, W), unclipped, of a measurement of one picture; both in [0, 1] units."""
        ...


@dataclass(frozen=True)
class Ours:
    """Plain or nested DDRM.

    Args:
        name: of its rows.
        allocation: inner steps of every outer step; a single number is plain DDRM.
    """

    name: str
    allocation: tuple[int, ...]
    posterior: Spectral.Settings = DEFAULT
    foreign: bool = False

    @property
    def settings(self) -> str:
        """Steps, and the sampler's settings."""
        steps = ", ".join(map(str, self.allocation))
        told = ", ".join(f"{name} {value}" for name, value in record_of(self.posterior).items())
        return f"{steps} evaluations, {told}"

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """The end of the run."""
        posterior = Restorer(prior, self.posterior).posterior(measurement)
        trial = Trial(self.name, self.allocation, (sum(self.allocation),))
        return follow(trial, posterior, [seed])[1]


@dataclass(frozen=True)
class PseudoInverse:
    """A⁺ y: what linear algebra alone makes of the measurement."""

    name: str = "A⁺y"
    settings: str = "the image of least norm that explains y best; no evaluation"
    foreign: bool = False

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """A⁺ y."""
        return measurement.operator.pinv(measurement.y)


@dataclass(frozen=True)
class OneEvaluation:
    """x̂₀ of a single evaluation, in its known part drawn to the measurement as DDRM's last step does."""

    name: str = "one evaluation"
    settings: str = (
        "x̂₀ of x_k ~ q(x_k | y), at the lowest level k with σ_k ≥ σ_y/s everywhere; at K where something is not "
        "measured"
    )
    foreign: bool = False

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """x̂₀, once."""
        posterior = Restorer(prior).posterior(measurement)
        s, schedule = posterior.measurement.operator.singular_values, prior.schedule
        nu = float(posterior.measurement.sigma) / float(s.min()) if bool((s > 0).all()) else torch.inf
        k = min(1 + int((schedule.sigma(range(1, schedule.K + 1)) < nu).sum()), schedule.K)
        noise = NoiseSource([seed], measurement.y.device)
        *_, x0 = posterior.sample(posterior.initial(k, noise), k, 1, noise)
        return from_model(x0)


@dataclass(frozen=True)
class Attempt:
    """What became of one picture.

    Args:
        image: (1, C, H, W), unclipped, None where it failed.
        nfe: evaluations of the network that were counted.
        seconds: until then.
        failed: why, in one line, or "".
    """

    image: Tensor | None
    nfe: int
    seconds: float
    failed: str = ""


def warm_up(prior: DiffusionPrior, measurement: Measurement) -> None:
    """One evaluation that nobody is charged for: the first of a process costs more than others."""
    OneEvaluation().restore(prior, measurement, 0)


def attempt(method: Method, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Attempt:
    """Restore one picture. A foreign sampler may use the global generators: they are forked and put back.

    Raises:
        ValueError: one of ours answers NaN. Whatever one of ours raises.
    """
    device = measurement.y.device
    synchronise(device)
    begun, failed, image = time.perf_counter(), "", None
    with _counted(prior) as passes:
        try:
            if method.foreign:
                with _apart(device, seed):
                    image = method.restore(prior, measurement, seed).detach()
            else:
                image = method.restore(prior, measurement, seed)
        except Exception as error:
            if not method.foreign:
                raise
            failed = f"{type(error).__name__}: {first_line(error)}"
    synchronise(device)
    seconds = time.perf_counter() - begun
    if image is not None:
        failed = _problem(image, prior.image_shape)
    if failed and not method.foreign:
        raise ValueError(f"{method.name}: {failed}; another precision (fp32, bf16) may do")
    return Attempt(None if failed else image, len(passes), seconds, failed)


def _problem(image: Tensor, wanted: Sequence[int]) -> str:
    if tuple(image.shape) != (1, *wanted):
        return f"the answer has shape {tuple(image.shape)}"
    bad = 1 - float(image.isfinite().double().mean())
    return f"{bad:.0%} of the answer is NaN or infinite" if bad else ""


@contextmanager
def _counted(prior: DiffusionPrior) -> Iterator[list[None]]:
    """A list that grows by one whenever the network is evaluated, whoever asks."""
    passes: list[None] = []
    hook = prior.network.register_forward_pre_hook(lambda *_: passes.append(None))
    try:
        yield passes
    finally:
        hook.remove()


@contextmanager
def _apart(device: torch.device, seed: int) -> Iterator[None]:
    """Global generators with a seed of this picture's, which are afterwards as before; no warnings of others."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield
