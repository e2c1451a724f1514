"""A sampler never calls the network: it asks, and whoever runs it answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, Self

import torch
from torch import Tensor

from solvers.noise import NoiseSource
from solvers.prior import Prior
from solvers.schedule import NoiseSchedule, outer_levels
from solvers.update import ddim_update


@dataclass(frozen=True, eq=False)
class Question:
    """What a run needs next: the prior's x̂₀ of ``x`` at noise level ``k``.

    Args:
        x: (B, C, H, W), variance preserving, in the prior's units.
        k: the level of all images, or one an image: (B,) whole numbers.
    """

    x: Tensor
    k: int | Tensor

    def levels(self) -> Tensor:
        """The level of every image, (B,) int64 on the CPU."""
        k = self.k
        return k.cpu() if isinstance(k, Tensor) else torch.full((len(self.x),), k)

    @staticmethod
    def stack(questions: Sequence[Question]) -> Question:
        """One question for the images of all: their answer is ``torch.split(x0, [len(q.x) for q in questions])``.

        Raises:
            ValueError: none, or images of different shapes.
        """
        shapes = {tuple(question.x.shape[1:]) for question in questions}
        if len(shapes) != 1:
            raise ValueError(f"questions must be at least one, of images of one shape: got {sorted(shapes)}")
        x = torch.cat([question.x for question in questions])
        levels = torch.cat([question.levels() for question in questions])
        same = bool((levels == levels[0]).all())
        return Question(x, int(levels[0]) if same else levels)


@dataclass(frozen=True, eq=False)
class InnerRun:
    """Where a run from one noise level down to 0 stands.

    Args:
        x: (B, C, H, W) at the first of ``levels``; where there are none left, x₀.
        levels: falling, still to be evaluated.
        carry: what the sampler keeps between evaluations, each tensor (B, …); empty before the first.
    """

    x: Tensor
    levels: tuple[int, ...]
    carry: tuple[Tensor, ...] = ()

    def take(self, which: Tensor) -> InnerRun:
        """The part of the selected images."""
        return replace(self, x=self.x[which], carry=tuple(tensor[which] for tensor in self.carry))


class Posterior(Protocol):
    """A complete diffusion run from any level down to 0, as a value that asks: what Nested Diffusion nests."""

    prior: Prior

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels it runs on."""
        ...

    def initial(self, k: int, noise: NoiseSource) -> Tensor:
        """x_k (B, C, H, W), where a run from level k starts."""
        ...

    def starts(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """The falling levels from which inner runs of so many evaluations start, and 0."""
        ...

    def onward(self, begun: Sequence[int], allocation: Sequence[int]) -> tuple[int, ...]:
        """As :meth:`starts` of a run that goes on with another allocation, and 0.

        Args:
            begun: the levels from which inner runs have started, and where the next one does.
            allocation: inner steps of the runs from there.
        """
        ...

    def fitted(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """As :meth:`starts`, where that can be told from what was not measured."""
        ...

    def width(self) -> float | None:
        """How wide it is what was not measured of one image, in pixels: 0 nothing, ∞ all; None: not known."""
        ...

    def levels(self, k: int, n: int) -> tuple[int, ...]:
        """The n falling levels at which a run from level k asks."""
        ...

    def begin(self, x_k: Tensor, levels: Sequence[int]) -> InnerRun:
        """A run along given levels; x_k (B, C, H, W) is at the first of them."""
        ...

    def question(self, run: InnerRun) -> Question:
        """What an unfinished run needs next."""
        ...

    def answer(self, run: InnerRun, x0: Tensor, noise: NoiseSource) -> tuple[InnerRun, Tensor]:
        """The run one evaluation on, given the prior's x̂₀, and the estimate to show: x̂₀, at the end x₀."""
        ...

    def restart(self, x_k: Tensor, x0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """Where the inner run from level k_next starts, after the one from x_k at level k has ended at x₀."""
        ...

    def again(self, x0: Tensor, k: int, noise: NoiseSource) -> Tensor:
        """Where another inner run, from level k, starts after one has ended at x₀ on level 0."""
        ...

    def preview(self, x0: Tensor) -> Tensor:
        """What to show of x̂₀ while the run that made it has not ended."""
        ...

    def measured_part(self, change: Tensor, k: int | None = None) -> Tensor:
        """The part of a change of x₀ (B, C, H, W) in what was measured; with k, where that is less noisy."""
        ...

    def moved(self, change: Tensor) -> Tensor | None:
        """What would have been measured, y + A·change, of an image changed so; None where nothing was."""
        ...

    def remeasured(self, y: Tensor) -> Posterior:
        """The sampler with other values measured, in its units."""
        ...

    def take(self, index: int | Sequence[int]) -> Posterior:
        """The sampler of one image of the batch, or of several, repeated ones too."""
        ...

    def fingerprint(self) -> str:
        """Equal for samplers that would compute the same."""
        ...

    def identities(self) -> tuple[str, ...]:
        """The fingerprint of every image's own sampler, as ``take(i)`` gives it; one alone where all share it."""
        ...


class Sampler:
    """What every sampler does alike: ask at the next level, and run alone with its own prior."""

    prior: Prior

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    def starts(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """K·(N−i)/N, rounded, for the N inner runs, and 0."""
        return outer_levels(self.schedule.K, len(allocation))

    def onward(self, begun: Sequence[int], allocation: Sequence[int]) -> tuple[int, ...]:
        """Evenly spaced in k from where the run stands, and 0."""
        return outer_levels(begun[-1], len(allocation))

    def fitted(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """As :meth:`starts`: of what was not measured nothing is known."""
        return self.starts(allocation)

    def width(self) -> float | None:
        """None: of what was not measured nothing is known."""
        return None

    def levels(self, k: int, n: int) -> tuple[int, ...]:
        """The n falling levels at which a run from level k asks, evenly spaced in k."""
        return self.schedule.steps(k, n)

    def begin(self, x_k: Tensor, levels: Sequence[int]) -> InnerRun:
        """A run along given falling levels; x_k (B, C, H, W) is at the first of them."""
        falling = all(k > k_next for k, k_next in pairwise((*levels, 0)))
        if not levels or not falling:
            raise ValueError(f"levels must fall from 1 … {self.schedule.K} to at least 1: got {tuple(levels)}")
        return InnerRun(x_k, tuple(levels))

    def question(self, run: InnerRun) -> Question:
        """x at the next level."""
        return Question(run.x, run.levels[0])

    def answer(self, run: InnerRun, x0: Tensor, noise: NoiseSource) -> tuple[InnerRun, Tensor]:
        """The run one evaluation on, and the estimate to show: x̂₀, at the end x₀."""
        raise NotImplementedError

    def restart(self, x_k: Tensor, x0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """DDIM's step from x_k to level k_next with η = 0: nested diffusion's own outer step."""
        return ddim_update(x_k, x0, self.schedule.alpha_bar(k), self.schedule.alpha_bar(k_next))

    def again(self, x0: Tensor, k: int, noise: NoiseSource) -> Tensor:
        """x_k ~ q(x_k | x₀)."""
        alpha_bar = self.schedule.alpha_bar(k)
        return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * noise.normal(x0.shape)

    def measured_part(self, change: Tensor, k: int | None = None) -> Tensor:
        """Nothing: this sampler knows of no measurement."""
        return torch.zeros_like(change)

    def moved(self, change: Tensor) -> Tensor | None:
        """None: this sampler knows of no measurement."""
        return None

    def remeasured(self, y: Tensor) -> Self:
        """ValueError: this sampler knows of no measurement."""
        raise ValueError(f"{type(self).__name__} knows of no measurement that could be another one")

    def sample(self, x_k: Tensor, k: int, n: int, noise: NoiseSource) -> Iterator[Tensor]:
        """x̂₀ after each of n evaluations from x_k at level k; the last is x₀."""
        return self.follow(x_k, self.levels(k, n), noise)

    def follow(self, x: Tensor, levels: Sequence[int], noise: NoiseSource) -> Iterator[Tensor]:
        """As :meth:`sample`, along given falling levels; x is at the first of them."""
        run = self.begin(x, levels)
        while run.levels:
            question = self.question(run)
            with torch.no_grad():
                answer = self.prior.denoise(question.x, question.k)
            run, estimate = self.answer(run, answer, noise)
            yield estimate
