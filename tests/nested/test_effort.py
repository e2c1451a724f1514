"""How much is done, as a value; and runs that are given more."""

from __future__ import annotations

import math

import pytest
import torch

from degradations import Denoising, Inpainting, Measurement
from nested import Budget, Fixed, NestedDiffusion, NestedState
from nested.effort import steps_of
from restoration.priors import GaussianPrior
from solvers import DDRM, FIRE, NoiseSource
from solvers.posteriors import Spectral

SHAPE = (1, 4, 4)
PRIOR = GaussianPrior(torch.zeros(SHAPE), torch.eye(16, dtype=torch.float64) * 0.2)


@pytest.mark.parametrize(
    ("effort", "steps"),
    [
        (Fixed((16, 8, 6)), (16, 8, 6)),
        (Fixed([3]), (3,)),
        (Budget(30), (10, 10, 10)),
        (Budget(32), (11, 11, 10)),
        (Budget(12), (6, 6)),
        (Budget(9), (9,)),
        (Budget(3), (3,)),
        (Budget(100, outer=4), (25, 25, 25, 25)),
        (Budget(6, least=2), (2, 2, 2)),
    ],
)
def test_an_effort_becomes_an_allocation(effort: Fixed | Budget, steps: tuple[int, ...]) -> None:
    assert effort.allocation() == steps
    assert steps_of(effort) == steps == steps_of(steps)


@pytest.mark.parametrize("make", [lambda: Fixed(()), lambda: Fixed((3, 0)), lambda: Fixed((1.5,))])
def test_a_fixed_effort_needs_whole_steps(make) -> None:
    with pytest.raises(ValueError, match="steps must be"):
        make()


@pytest.mark.parametrize("wrong", [{"nfe": 0}, {"nfe": 3, "outer": 0}, {"nfe": 3, "least": 0}, {"nfe": 2.5}])
def test_a_budget_needs_whole_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Budget(**wrong)  # type: ignore[arg-type]


def half_known() -> Measurement:
    mask = torch.arange(16).reshape(4, 4) % 2 == 0
    operator = Inpainting(SHAPE, mask)
    return Measurement(operator(torch.full((1, *SHAPE), 0.3)), operator, 0.01)


SAMPLERS = [
    FIRE(PRIOR, half_known()),
    FIRE(PRIOR, half_known(), FIRE.Settings(aim="natural")),
    FIRE(PRIOR, Measurement(torch.full((1, *SHAPE), 0.3), Denoising(SHAPE), 0.2)),
    DDRM(PRIOR, half_known()),
]
NAMES = ["faithful", "natural", "denoising", "ddrm"]


def finished(nested: NestedDiffusion, state: NestedState) -> NestedState:
    *_, last = nested.run(state) if state.allocation == nested.allocation else follow(nested, state)
    return last.state


def follow(nested: NestedDiffusion, state: NestedState):
    while (question := nested.ask(state)) is not None:
        state, estimate = nested.answer(state, PRIOR.denoise(question.x, question.k))
        yield estimate


def test_an_effort_stands_where_an_allocation_does() -> None:
    assert (
        NestedDiffusion(SAMPLERS[0], Budget(12)).configuration
        == NestedDiffusion(SAMPLERS[0], (6, 6)).configuration
    )


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_levels_onward_are_those_that_the_run_would_have_had(sampler: Spectral) -> None:
    """To rounding of levels: the same grid, worked out from another of its points."""
    whole = sampler.starts((5, 5, 5, 5))
    for done in range(1, 4):
        onward = (*whole[:done], *sampler.onward(whole[: done + 1], (5,) * (4 - done)))
        assert max(abs(a - b) for a, b in zip(onward, whole, strict=True)) <= 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_an_allocation_changed_between_inner_runs_keeps_levels_falling(sampler: Spectral) -> None:
    nested = NestedDiffusion(sampler, (5, 5))
    state = nested.begin(NoiseSource([1]))
    for _, estimate in zip(range(5), nested.run(state), strict=False):
        state = estimate.state
    changed = nested.reallocated(state, (5, 7, 3, 2))
    assert all(a > b for a, b in zip(changed.levels, changed.levels[1:], strict=False))
    assert finished(nested, changed).spent == 17


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_a_finished_run_can_be_taken_up_again(sampler: Spectral, tmp_path) -> None:
    """And again, as long as there are levels; it can be stored, and stays near what was measured."""
    nested = NestedDiffusion(sampler, (4, 4))
    state = finished(nested, nested.begin(NoiseSource([1])))
    for _ in range(3):
        before = state
        state = nested.extended(state, (*state.allocation, 3, 2))
        assert (state.spent, state.total_nfe) == (before.spent, before.spent + 5)
        assert before.finished
        state.save(tmp_path / "state")
        state = finished(nested, NestedState.load(tmp_path / "state"))
    known = sampler.measurement.operator.singular_values.expand(SHAPE) > 0
    assert state.x0 is not None
    assert float((state.x0[0] - 0.3)[known].abs().max()) < 4 * float(sampler.measurement.sigma)
    assert math.isfinite(float(state.x0.sum()))


def test_a_run_is_taken_up_again_only_with_steps_after_those_done() -> None:
    nested = NestedDiffusion(SAMPLERS[0], (2,))
    state = finished(nested, nested.begin(NoiseSource([1])))
    for wrong in [(2,), (3, 2), ()]:
        with pytest.raises(ValueError, match="allocation must begin"):
            nested.extended(state, wrong)
    with pytest.raises(ValueError, match="no noise level is left"):
        nested.extended(state, (2, 999))


def test_a_run_taken_up_again_repeats_bit_for_bit() -> None:
    nested = NestedDiffusion(SAMPLERS[1], (3,))
    ends = []
    for _ in range(2):
        state = finished(nested, nested.begin(NoiseSource([5])))
        ends.append(finished(nested, nested.extended(state, (3, 4))).x0)
    assert ends[0] is not None
    assert ends[0].equal(ends[1])
