"""The ways to spend evaluations that ``benchmarks.studies.effort`` compares, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nested import Adaptive, Estimate, NestedDiffusion, NestedState, supersedes
from solvers import NoiseSource, Question, Spectral

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


Shown = Callable[[Tensor], Tensor]
"""What is measured of pictures (B, C, H, W) in the prior's units, (B,)."""


class Shared:
    """Runs of one batch of pictures, which share their beginnings: a run is a value, and arms often begin alike.

    Args:
        sampler: of the batch.
        seeds: one an image.
        score: of what would be returned after an evaluation.
    """

    def __init__(self, sampler: Spectral, seeds: Sequence[int], score: Shown) -> None:
        self.sampler, self.seeds, self.score = sampler, tuple(seeds), score
        self.evaluations = 0
        # by (evaluations, level) of the inner runs: the run before its last answer, that answer, and scores
        self._known: dict[tuple[tuple[int, int], ...], tuple[NestedState, Tensor, list[Tensor]]] = {}

    def scores(self, arm: Arm) -> Tensor:
        """(NFE, B): of what the arm's run would return if it were stopped after each evaluation."""
        levels, found = arm.levels(self.sampler, arm.allocation), list[Tensor]()
        nested, state = NestedDiffusion(self.sampler, arm.allocation), None
        kept: Estimate | None = None
        for i, n in enumerate(arm.allocation):
            place = tuple(zip(arm.allocation[: i + 1], levels[: i + 1], strict=True))
            if place not in self._known:
                before = self._begun(nested, levels) if state is None else state
                self._known[place] = self._inner(nested, before, n, kept)
            before, answer, part = self._known[place]
            state = replace(before, allocation=arm.allocation, levels=levels)
            state, estimate = nested.answer(state, answer)
            kept = estimate
            found += [*part, self.score(estimate.x0)]
        return torch.stack(found)

    def _begun(self, nested: NestedDiffusion, levels: tuple[int, ...]) -> NestedState:
        noise = NoiseSource(self.seeds, self.sampler.prior.device)
        return replace(nested.start(self.sampler.initial(levels[0], noise), noise), levels=levels)

    def _inner(
        self, nested: NestedDiffusion, state: NestedState, n: int, kept: Estimate | None
    ) -> tuple[NestedState, Tensor, list[Tensor]]:
        """An inner run up to its last answer, which alone depends on the level after it."""
        scores: list[Tensor] = []
        for estimate in self._all_but_last(nested, state, n):
            best = estimate if kept is None or supersedes(estimate, kept) else kept
            scores.append(self.score(nested.shown(best)) if not scores or best is estimate else scores[-1])
            state = estimate.state
        question = nested.ask(state)
        assert question is not None  # its last evaluation is left
        self.evaluations += len(self.seeds)
        return state, self._answered(question.x, question.k), scores

    def _all_but_last(self, nested: NestedDiffusion, state: NestedState, n: int) -> Iterator[Estimate]:
        for _ in range(n - 1):
            question = nested.ask(state)
            assert question is not None
            self.evaluations += len(self.seeds)
            state, estimate = nested.answer(state, self._answered(question.x, question.k))
            yield estimate

    @torch.no_grad()
    def _answered(self, x: Tensor, k: int | Tensor) -> Tensor:
        return self.sampler.prior.denoise(x, k)


@torch.no_grad()
def decided(
    samplers: Sequence[Spectral], seeds: Sequence[int], efforts: Sequence[Adaptive], score: Shown
) -> tuple[Tensor, Tensor]:
    """Runs of one picture each that decide for themselves; their questions share a call of the network.

    Returns:
        (NFE, B) scores of what each would return if it were stopped after so many evaluations, the last one held
        where a run has ended by then; and (B,) evaluations that each has made.
    """
    loops = [NestedDiffusion(sampler, effort) for sampler, effort in zip(samplers, efforts, strict=True)]
    device = samplers[0].prior.device
    runs = [loop.begin(NoiseSource([seed], device)) for loop, seed in zip(loops, seeds, strict=True)]
    kept: dict[int, Estimate] = {}
    shown: dict[int, Tensor] = {}
    scores = []
    while asked := {i: q for i, loop in enumerate(loops) if (q := loop.ask(runs[i])) is not None}:
        question = Question.stack(list(asked.values()))
        answers = torch.split(samplers[0].prior.denoise(question.x, question.k), 1)
        for i, answer in zip(asked, answers, strict=True):
            runs[i], estimate = loops[i].answer(runs[i], answer)
            if i not in kept or supersedes(estimate, kept[i]):
                kept[i], shown[i] = estimate, loops[i].shown(estimate)
        scores.append(score(torch.cat([shown[i] for i in range(len(runs))])))
    most = max(effort.most for effort in efforts)
    scores += [scores[-1]] * (most - len(scores))
    return torch.stack(scores), torch.tensor([run.spent for run in runs])


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
        *(Arm(f"3 alike, σ × {ratio:g}", three, Geometric(ratio)) for ratio in (0.1, 0.15, 0.3, 0.4, 0.6, 0.8)),
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
