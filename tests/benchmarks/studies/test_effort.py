"""The study of effort: runs that share their beginnings are the runs that each would have been alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from benchmarks.studies import effort
from benchmarks.studies.effort_arms import Arm, Geometric, Shared, arms, linear
from degradations import Inpainting, Measurement
from nested import NestedDiffusion, supersedes
from restoration.priors import GaussianPrior
from solvers import FIRE, NoiseSource

SHAPE = (1, 4, 4)
PRIOR = GaussianPrior(torch.zeros(SHAPE), torch.eye(16, dtype=torch.float64) * 0.2)
SEEDS = (3, 4)


def sampler() -> FIRE:
    operator = Inpainting(SHAPE, torch.arange(16).reshape(4, 4) % 3 > 0)
    y = operator(torch.linspace(-0.5, 0.5, 32).reshape(2, *SHAPE))
    return FIRE(PRIOR, Measurement(y, operator, 0.01), FIRE.Settings("natural"))


def score(x0: Tensor) -> Tensor:
    return x0.flatten(1)[:, :5].sum(dim=1)


def alone(allocation: tuple[int, ...]) -> Tensor:
    nested, kept, found = NestedDiffusion(sampler(), allocation), None, []
    for estimate in nested.run(nested.begin(NoiseSource(SEEDS))):
        kept = estimate if kept is None or supersedes(estimate, kept) else kept
        found.append(score(nested.shown(kept)))
    return torch.stack(found)


def test_runs_that_share_their_beginnings_are_those_that_each_would_be_alone() -> None:
    runs = Shared(sampler(), SEEDS, score)
    for allocation in [(3, 2), (3, 2, 4), (5,)]:
        assert runs.scores(Arm("", allocation)).equal(alone(allocation))
    assert runs.evaluations == 2 * (3 + 2 + 2 + 4 + 5)  # the first three once; both seconds start elsewhere


@pytest.mark.parametrize("nfe", [30, 60])
def test_every_arm_has_falling_levels_with_room_for_its_evaluations(nfe: int) -> None:
    for arm in arms(nfe):
        assert arm.nfe == nfe
        levels = arm.levels(sampler(), arm.allocation)
        assert levels[0] == sampler().starts(arm.allocation)[0]
        assert all(a > b for a, b in pairwise(levels))
        assert all(n <= k for n, k in zip(arm.allocation, levels, strict=False))


def test_levels_fall_by_the_ratio_or_evenly_in_k() -> None:
    schedule, ratio = PRIOR.schedule, Geometric(0.5)
    first, second, third, _ = ratio(sampler(), (5, 5, 5))
    for above, below in ((first, second), (second, third)):
        assert schedule.sigma(below) / schedule.sigma(above) == pytest.approx(0.5, rel=0.02)  # whole levels
    assert linear(sampler(), (5, 5)) == (first, round(first / 2), 0)


def test_differences_are_told_per_picture() -> None:
    lines = effort.table("x", {"a": torch.tensor([[1.0, 2.0]] * 20), "b": torch.tensor([[2.0, 4.0]] * 20)})
    assert lines[2:] == [
        "| a | 1.50 | 1.50 | 1.50 | 1.50 |  |  |",
        "| b | 3.00 | 3.00 | 3.00 | 3.00 | +1.50 ± 0.50 | +1.50 ± 0.50 |",
    ]
