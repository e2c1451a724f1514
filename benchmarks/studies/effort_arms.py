"""The ways to spend evaluations that ``benchmarks.studies.effort`` compares, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nested import NestedDiffusion, NestedState
from solvers import NoiseSource, Spectral
from solvers.posteriors.spectral import masked_mean

Levels = Callable[[Spectral, Sequence[int]], tuple[int, ...]]
"""The noise levels at which inner runs of so many evaluations start, and 0."""


def own(sampler: Spectral, allocation: Sequence[int]) -> tuple[int, ...]:
    """The sampler's own."""
    return sampler.starts(allocation)


def linear(sampler: Spectral, allocation: Sequence[int]) -> tuple[int, ...]:
    """Even in k from the sampler's own first level, as the paper's."""
    first, n = sampler.starts(allocation)[0], len(allocation)
    levels = [first] + [round(first * (n - i) / n) for i in range(1, n)]
    return (*_with_room(levels, allocation), 0)


@dataclass(frozen=True)
class Geometric:
    """Even in log σ from the sampler's own first level, each so much lower than the one before.

    Not below the noise of what is partly measured, as FIRE's own levels.

    Args:
        ratio: σ of a level over that of the one before.
    """

    ratio: float

    def __call__(self, sampler: Spectral, allocation: Sequence[int]) -> tuple[int, ...]:
        k, n = sampler.starts(allocation)[0], len(allocation)
        noisy = sampler.nu[sampler.nu.isfinite()]
        lowest = min(float(noisy.max()) if len(noisy) else 0.0, sampler.schedule.sigma(k))
        wanted = [max(sampler.schedule.sigma(k) * self.ratio**i, lowest, 1e-4) for i in range(n)]
        levels = [int(level) for level in sampler.schedule.level(torch.tensor(wanted)).round()]
        return (*_with_room([k, *levels[1:]], allocation), 0)


def _with_room(levels: Sequence[int], allocation: Sequence[int]) -> list[int]:
    """Levels that fall, and are high enough for the evaluations from them."""
    found = list(levels)
    for i in range(1, len(found)):
        found[i] = min(found[i], found[i - 1] - 1)
    below = 0
    for i in reversed(range(len(found))):
        below = found[i] = max(found[i], allocation[i], below + 1)
    return found


@dataclass(frozen=True)
class Arm:
    """One way to spend evaluations.

    Args:
        name: of its row.
        allocation: inner steps of every outer step.
        levels: where the outer steps start.
    """

    name: str
    allocation: tuple[int, ...]
    levels: Levels = own

    @property
    def nfe(self) -> int:
        """Evaluations of all."""
        return sum(self.allocation)


Score = Callable[[Tensor], Tensor]
"""What is measured of pictures (B, C, H, W) in the prior's units, (B,)."""


@dataclass(frozen=True, eq=False)
class _Part:
    """An inner run up to its last answer, which alone depends on the level of the next one.

    Args:
        state: before the last answer.
        answer: the last one.
        shown: what was shown before it; None of a single evaluation at the beginning.
        told: (3, B) after each evaluation but the last.
    """

    state: NestedState
    answer: Tensor
    shown: Tensor | None
    told: list[Tensor]


class Shared:
    """Runs of one batch of pictures, which share their beginnings: a run is a value, and arms often begin alike.

    Args:
        sampler: of the batch.
        seeds: one an image.
        score: of what would be returned after an evaluation.
    """

    def __init__(self, sampler: Spectral, seeds: Sequence[int], score: Score) -> None:
        self.sampler, self.seeds, self.score = sampler, tuple(seeds), score
        self.evaluations = 0
        self._known: dict[tuple[tuple[int, int], ...], _Part] = {}  # by (evaluations, level) of the inner runs

    def told(self, arm: Arm) -> Tensor:
        """(3, NFE, B), after each evaluation.

        The score of what the arm's run would return if it were stopped then; the RMSE by which what is shown has
        changed since the evaluation before, 0 of the first; and the RMSE of the newest x̂₀ to what was measured,
        its noise taken off. Both are in [0, 1] units.
        """
        levels, found = arm.levels(self.sampler, arm.allocation), list[Tensor]()
        nested, state = NestedDiffusion(self.sampler, arm.allocation), None
        kept: Tensor | None = None
        for i, n in enumerate(arm.allocation):
            place = tuple(zip(arm.allocation[: i + 1], levels[: i + 1], strict=True))
            if place not in self._known:
                before = self._begun(nested, levels) if state is None else state
                self._known[place] = self._inner(nested, before, n, kept)
            part = self._known[place]
            state = replace(part.state, allocation=arm.allocation, levels=levels)
            state, estimate = nested.answer(state, part.answer)
            kept = estimate.x0
            found += [*part.told, self._told(self.score(kept), kept, part.shown, part.answer)]
        return torch.stack(found, dim=1)

    def _begun(self, nested: NestedDiffusion, levels: tuple[int, ...]) -> NestedState:
        noise = NoiseSource(self.seeds, self.sampler.prior.device)
        return replace(nested.start(self.sampler.initial(levels[0], noise), noise), levels=levels)

    def _inner(self, nested: NestedDiffusion, state: NestedState, n: int, ended: Tensor | None) -> _Part:
        shown, told = ended, list[Tensor]()
        score = None if ended is None else self.score(ended)
        for _ in range(n - 1):
            answer = self._answer(nested, state)
            state, estimate = nested.answer(state, answer)
            newest = nested.shown(estimate)
            # an end of an inner run is returned until the next one
            told.append(self._told(self.score(newest) if score is None else score, newest, shown, answer))
            shown = newest
        return _Part(state, self._answer(nested, state), shown, told)

    @torch.no_grad()
    def _answer(self, nested: NestedDiffusion, state: NestedState) -> Tensor:
        question = nested.ask(state)
        assert question is not None  # it is not finished
        self.evaluations += len(self.seeds)
        return self.sampler.prior.denoise(question.x, question.k)

    def _told(self, score: Tensor, newest: Tensor, before: Tensor | None, answer: Tensor) -> Tensor:
        change = torch.zeros_like(newest) if before is None else newest - before
        rmse = change.square().mean(dim=(1, 2, 3)).sqrt() / 2
        return torch.stack([score.to(rmse), rmse, residual(self.sampler, answer) / 2])


@torch.no_grad()
def residual(sampler: Spectral, x0: Tensor) -> Tensor:
    """(B,): RMSE of x̂₀ to what was measured, in the prior's units, the measurement's noise taken off."""
    known = sampler.nu.isfinite().double()
    is_known, variance = sampler.look_up(known, torch.where(known > 0, sampler.nu, 0) ** 2)
    away = sampler.ybar - sampler.measurement.operator.Vt(x0)
    return masked_mean(away**2 - variance, is_known).clamp(min=0).sqrt().flatten()


def arms(nfe: int = 30) -> tuple[Arm, ...]:
    """All of as many evaluations, a multiple of 30; three even steps first, which others are told beside."""
    third, half, fifth = nfe // 3, nfe // 2, nfe // 5
    three = (third,) * 3
    least = max(nfe // 6, 1)
    return (
        Arm("3 alike", three),
        Arm("plain", (nfe,)),
        Arm("2 alike", (half,) * 2),
        Arm("5 alike", (fifth,) * 5),
        Arm("3 alike, linear in k", three, linear),
        *(Arm(f"3 alike, σ × {ratio:g}", three, Geometric(ratio)) for ratio in (0.1, 0.4, 0.6, 0.8)),
        *(Arm(f"2 alike, σ × {ratio:g}", (half,) * 2, Geometric(ratio)) for ratio in (0.2, 0.4, 0.6, 0.8)),
        *(Arm(f"5 alike, σ × {ratio:g}", (fifth,) * 5, Geometric(ratio)) for ratio in (0.6, 0.8)),
        Arm("front-loaded", (nfe - third - least, third, least)),
        Arm("back-loaded", (least, third, nfe - third - least)),
        *(
            Arm(f"{least}, then {nfe - least}, σ × {ratio:g}", (least, nfe - least), Geometric(ratio))
            for ratio in (0.4, 0.7, 0.9)
        ),
        *(
            Arm(f"{third}, then {nfe - third}, σ × {ratio:g}", (third, nfe - third), Geometric(ratio))
            for ratio in (0.4, 0.7, 0.9)
        ),
    )
