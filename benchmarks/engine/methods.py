"""Ways to restore that are compared as a whole, whoever wrote them: a batch of pictures at a time."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from degradations import Measurement
from nested import NestedDiffusion
from restoration.restorer import DEFAULT, Restorer
from solvers import NoiseSource, Prior, Spectral, record_of
from solvers.units import from_model, to_model


class Method(ABC):
    """One way to restore.

    Attributes:
        name: of its rows in every table; the same method with other numbers of evaluations has the same.
        foreign: whether another package wrote it: what it raises is then a finding, not an error of ours.
    """

    name: str
    foreign: ClassVar[bool] = False

    @property
    @abstractmethod
    def settings(self) -> str:
        """What it was told beside the number of evaluations, in words."""

    @property
    @abstractmethod
    def allocation(self) -> tuple[int, ...]:
        """Network evaluations until its first picture, and from each to the next."""

    @property
    def stops(self) -> tuple[int, ...]:
        """After how many evaluations it has a picture, rising."""
        return tuple(accumulate(self.allocation))

    def applies(self, measurement: Measurement) -> bool:
        """Whether it can say anything of such a measurement; where not, it has no row."""
        return True

    @abstractmethod
    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Pictures (B, C, H, W), unclipped, at every stop, of a measurement in [0, 1] units; one seed an image."""


@dataclass(frozen=True)
class Ours(Method):
    """One of our samplers, plain or nested.

    Args:
        name: of its rows.
        split: inner steps of every outer step; a single number is a plain run.
        posterior: the sampler's settings.
    """

    name: str
    split: tuple[int, ...]
    posterior: Spectral.Settings = DEFAULT

    @property
    def allocation(self) -> tuple[int, ...]:
        """The split: every inner run ends in a picture."""
        return self.split

    @property
    def settings(self) -> str:
        """The sampler's settings."""
        return ", ".join(f"{name} {value}" for name, value in record_of(self.posterior).items())

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """The ends of all inner runs."""
        posterior = Restorer(prior, self.posterior).posterior(measurement)
        nested = NestedDiffusion(posterior, self.allocation)
        noise = NoiseSource(seeds, posterior.measurement.y.device)
        for estimate in nested.run(nested.begin(noise)):
            if estimate.complete:
                yield from_model(estimate.x0)


@dataclass(frozen=True)
class MeanOfSamples(Method):
    """The mean of several samples: nearer to the truth than any of them.

    Args:
        name: of its row.
        nfe: evaluations of each, a plain run.
        count: of samples.
        posterior: the sampler's settings.
    """

    name: str
    nfe: int
    count: int
    posterior: Spectral.Settings

    @property
    def allocation(self) -> tuple[int, ...]:
        """Of all samples together."""
        return (self.nfe * self.count,)

    @property
    def settings(self) -> str:
        """The samples' own."""
        return f"{self.count} × {self.nfe} evaluations; {self._one.settings}"

    @property
    def _one(self) -> Ours:
        return Ours(self.name, (self.nfe,), self.posterior)

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """The mean; the samples' seeds differ from all others'."""
        total = torch.zeros(())
        for i in range(self.count):
            own = [joint_seed((seed, i)) for seed in seeds]
            (sample,) = self._one.restore(prior, measurement, own)
            total = total.to(sample.device) + sample
        yield total / self.count


@dataclass(frozen=True)
class PseudoInverse(Method):
    """A⁺ y: what linear algebra alone makes of the measurement."""

    name: str = "A⁺y"
    allocation: tuple[int, ...] = (0,)

    @property
    def settings(self) -> str:
        """What it is."""
        return "the image of least norm that explains y best; no evaluation"

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """A⁺ y."""
        yield measurement.operator.pinv(measurement.y)


@dataclass(frozen=True)
class OneEvaluation(Method):
    """x̂₀ of y itself at the noise level nearest to its own, where y is the picture with white noise."""

    name: str = "one evaluation"
    allocation: tuple[int, ...] = (1,)

    @property
    def settings(self) -> str:
        """What it is."""
        return "x̂₀ of A⁺y at the level whose σ_k is nearest to σ_y/s; for tasks that measure everything alike"

    def applies(self, measurement: Measurement) -> bool:
        """Where all singular values are one number above 0: denoising."""
        s = measurement.operator.singular_values
        return bool((s == s.flatten()[0]).all()) and bool(s.flatten()[0] > 0)

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """x̂₀, once; no noise is added."""
        sigma = 2 * torch.as_tensor(measurement.sigma).max() / measurement.operator.singular_values.max().cpu()
        k = int(prior.schedule.level(sigma.clamp(min=prior.schedule.sigma(1))).round())
        x = to_model(measurement.operator.pinv(measurement.y))
        yield from_model(prior.denoise(math.sqrt(prior.schedule.alpha_bar(k)) * x, k))


def joint_seed(seeds: Sequence[int]) -> int:
    """A seed for samplers that take one for a batch: an image's own, or one made of all of theirs."""
    if len(seeds) == 1:
        return seeds[0]
    return int.from_bytes(hashlib.sha256(f"{list(seeds)}".encode()).digest()[:7], "big")
