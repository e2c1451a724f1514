"""Effort that decides itself: what it decides by, and that a stop, a neighbour or a file changes nothing."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator
from nested import Adaptive, Budget, NestedDiffusion, NestedState, Run
from nested.adaptive import split
from nested.steering import edited, replayed
from restoration.priors import GaussianPrior
from solvers import DDRM, FIRE, NoiseSource

SHAPE = (1, 16, 16)
PRIOR = GaussianPrior(
    torch.zeros(SHAPE), 0.2 * torch.exp(-(torch.arange(256.0)[:, None] - torch.arange(256)).abs() / 8)
)


class Unasked:
    """A prior of which only shape and levels are looked at: a Gaussian of 3,072 pixels takes seconds to make."""

    name, image_shape, schedule, device = "none", (3, 32, 32), PRIOR.schedule, torch.device("cpu")

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """Never."""
        raise AssertionError


def mask(kind: str) -> Tensor:
    known = torch.ones(16, 16, dtype=torch.bool)
    if kind == "points":
        known = torch.rand(16, 16, generator=torch.Generator().manual_seed(1)) > 0.5
    elif kind == "hole":
        known[4:12, 4:12] = False
    return known


def sampler(kind: str = "hole", sigma: float = 0.0) -> FIRE:
    operator: SVDOperator = Denoising(SHAPE) if kind == "nothing" else Inpainting(SHAPE, mask(kind))
    y = operator(torch.linspace(-0.5, 0.5, 256).reshape(1, *SHAPE))
    return FIRE(PRIOR, Measurement(y, operator, sigma))


def end(nested: NestedDiffusion, state: NestedState) -> NestedState:
    for estimate in nested.run(state):
        state = estimate.state
    return state


@pytest.mark.parametrize(
    ("most", "width", "steps"),
    [
        (30, 0.0, (5, 5, 10, 10)),
        (30, 1.7, (12, 9, 9)),
        (30, 3.1, (15, 15)),
        (30, 6.0, (30,)),
        (60, 16.0, (30, 30)),
        (30, float("inf"), (6, 6, 6, 6, 6)),
        (30, None, (10, 10, 10)),
        (16, 1.7, (16,)),
        (20, 3.1, (15, 5)),
        (3, 3.1, (3,)),
        (1, 0.0, (1,)),
    ],
)
def test_inner_runs_are_as_long_as_what_is_missing_is_wide(most: int, width: float | None, steps) -> None:
    assert split(most, width) == steps
    assert sum(steps) == most


@pytest.mark.parametrize(
    ("operator", "low", "high"),
    [
        (Denoising((3, 32, 32)), 0, 0),
        (SuperResolution((3, 32, 32), 4), 2.5, 4.5),
        (SuperResolution((3, 32, 32), 8), 5, 9),
        (Colorization((3, 32, 32)), float("inf"), float("inf")),
        (Inpainting((3, 32, 32), torch.rand(32, 32, generator=torch.Generator().manual_seed(1)) > 0.5), 1, 2.5),
        (Inpainting((3, 32, 32), torch.arange(32)[:, None].expand(32, 32) % 16 > 2), 2.5, 6),  # 3 of 16 rows
    ],
)
def test_a_width_is_that_of_the_gaps(operator: SVDOperator, low: float, high: float) -> None:
    y = operator(torch.zeros(1, 3, 32, 32))
    assert low <= FIRE(Unasked(), Measurement(y, operator, 0.0)).width() <= high


def test_wide_gaps_are_taken_up_again_from_higher_levels_than_points() -> None:
    schedule = PRIOR.schedule
    falls = []
    for kind in ("points", "hole"):
        first, second, *_ = sampler(kind).fitted((10, 10))
        falls.append(schedule.sigma(second) / schedule.sigma(first))
    assert falls[0] == pytest.approx(0.15, rel=0.05)  # to whole levels
    assert falls[1] > 0.3
    assert sampler("nothing", 0.2).fitted((5, 5)) == sampler("nothing", 0.2).starts((5, 5))


def test_a_run_ends_where_its_last_inner_run_has_changed_too_little() -> None:
    noisy = sampler("nothing", 0.2)
    done = end(nested := NestedDiffusion(noisy, Adaptive(1.0)), nested.begin(NoiseSource([1])))
    assert (done.allocation, done.spent, done.total_nfe, done.finished) == ((5, 5), 10, 10, True)
    done = end(nested := NestedDiffusion(noisy, Adaptive(0.0)), nested.begin(NoiseSource([1])))
    assert done.allocation == (5, 5, 10, 10)


def test_a_run_ends_where_the_calibration_expects_too_little_change() -> None:
    expecting = Adaptive(0.004, most=60, expected=((0.1, 0.02), (0.5, 0.003), (1.0, 0.0)))
    done = end(nested := NestedDiffusion(sampler(), expecting), nested.begin(NoiseSource([1])))
    assert done.allocation == (30,)
    expecting = Adaptive(0.002, most=60, expected=expecting.expected)
    done = end(nested := NestedDiffusion(sampler(), expecting), nested.begin(NoiseSource([1])))
    assert done.allocation == (30, 30)


def test_what_is_expected_of_a_picture_is_what_is_usual_times_how_much_more_than_usual_it_has_changed() -> None:
    known = Adaptive(0.004, most=30, expected=((0.2, 0.05), (0.4, 0.03), (1.0, 0.0)))
    assert known.expects(0, 6, None) == pytest.approx(0.05)
    assert known.expects(6, 12, 0.04) == pytest.approx(0.03)  # usual: √(0.05² − 0.03²)
    assert known.expects(6, 12, 0.02) == pytest.approx(0.015)
    assert known.expects(12, 12, 0.02) == pytest.approx(0.03)  # nothing is usual between the same two
    assert Adaptive().expects(6, 12, 0.02) == 0.02
    assert Adaptive().expects(0, 6, None) == float("inf")


def test_a_run_from_its_file_decides_as_it_would_have(tmp_path) -> None:
    """Bit for bit, wherever it was stopped, the ends of inner runs among it."""
    nested = NestedDiffusion(sampler("points"), Adaptive(0.01, most=20))
    states = [estimate.state for estimate in nested.run(nested.begin(NoiseSource([4])))]
    for state in states[:-1]:
        state.save(tmp_path / "state")
        again = NestedDiffusion(sampler("points"), Adaptive(0.01, most=20))
        loaded = NestedState.load(tmp_path / "state", configuration=again.configuration)
        assert loaded.effort == Adaptive(0.01, most=20)
        resumed = end(again, loaded)
        assert (resumed.allocation, resumed.levels) == (states[-1].allocation, states[-1].levels)
        assert resumed.x0 is not None
        assert resumed.x0.equal(states[-1].x0)


def test_another_effort_s_run_is_refused() -> None:
    nested = NestedDiffusion(sampler(), Adaptive(0.01))
    state = nested.begin(NoiseSource([4]))
    with pytest.raises(ValueError, match="state of another run"):
        NestedDiffusion(sampler(), Adaptive(0.02)).refuse_other(state)
    with pytest.raises(ValueError, match="state of another run"):
        NestedDiffusion(sampler(), (10, 10)).refuse_other(state)


def test_decisions_are_of_one_image() -> None:
    operator = Inpainting(SHAPE, mask("hole"))
    two = FIRE(PRIOR, Measurement(torch.zeros(2, *operator.measurement_shape), operator, 0.0))
    with pytest.raises(ValueError, match="one image"):
        NestedDiffusion(two, Adaptive())
    nested = NestedDiffusion(sampler(), Adaptive())
    state = nested.begin(NoiseSource([4]))
    for several in (lambda: state.expand(2), lambda: state.take([0, 0]), lambda: Run.stack([state, state])):
        with pytest.raises(ValueError, match="adaptive run is of one image"):
            several()


def test_a_sampler_that_knows_nothing_of_gaps_keeps_its_own_levels() -> None:
    operator = Inpainting(SHAPE, mask("hole"))
    ddrm = DDRM(PRIOR, Measurement(operator(torch.zeros(1, *SHAPE)), operator, 0.0))
    assert NestedDiffusion(ddrm, Adaptive()).levels == ddrm.starts((10, 10, 10))


def test_an_edited_run_goes_on_deciding_and_one_with_another_allocation_does_not_and_both_are_replayed() -> None:
    nested = NestedDiffusion(sampler("points"), Adaptive(0.0, most=20))
    for estimate in nested.run(nested.begin(NoiseSource([4]))):
        if estimate.complete:
            break
    image = estimate.x0 + 0.1
    changed = end(nested, edited(nested, estimate.state, image).run)
    assert changed.effort == nested.effort
    more = nested.extended(changed, (*changed.allocation, 3))
    assert more.effort is None
    done = end(NestedDiffusion(nested.inner, more.allocation), more)
    again = replayed(lambda n: sampler("points"), done, lambda digest, run: image)
    assert again.x0 is not None
    assert again.x0.equal(done.x0)
    assert again.record == done.record


def test_what_is_no_effort_is_refused() -> None:
    for wrong in ({"tolerance": -1}, {"tolerance": float("nan")}, {"most": 0}, {"expected": ((0.5, 1), (0.5, 1))}):
        with pytest.raises(ValueError, match=r"must be"):
            Adaptive(**wrong)  # type: ignore[arg-type]
    known = Adaptive(0.01, 20, ((0.5, 0.1),))
    assert Adaptive.heard(json.loads(json.dumps(known.told()))) == known
    for told in (
        {},
        [],
        {**known.told(), "most": 2.5},
        {**known.told(), "expected": [[1]]},
        {**known.told(), "x": 1},
    ):
        with pytest.raises(ValueError, match="none of ours"):
            Adaptive.heard(told)
    with pytest.raises(ValueError, match="of a whole run"):
        NestedDiffusion(sampler(), (5, 5)).extended(
            NestedDiffusion(sampler(), (5, 5)).begin(NoiseSource([1])),
            Adaptive(),  # type: ignore[arg-type]
        )


def test_more_evaluations_are_had_by_a_budget() -> None:
    assert Budget(30).allocation() == split(30, None)
