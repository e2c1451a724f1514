"""Noise levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from solvers import NoiseSchedule


def test_linear_is_the_published_ddpm_schedule() -> None:
    schedule = NoiseSchedule.linear()
    betas = np.linspace(1e-4, 0.02, 1000)
    assert schedule.alpha_bar(0) == 1.0
    assert schedule.sigma(0) == 0.0
    assert schedule.alpha_bar(1) == pytest.approx(1 - 1e-4, abs=1e-15)
    assert schedule.alpha_bar(1000) == pytest.approx(np.prod(1 - betas), rel=1e-12)
    assert schedule.sigma(1000) == pytest.approx(157.4, abs=0.05)
    assert schedule.alpha_bars.dtype == torch.float64


def test_cosine_follows_its_definition_and_stays_above_zero() -> None:
    schedule = NoiseSchedule.cosine(100)
    expected = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert schedule.alpha_bar(50) == pytest.approx(expected, rel=1e-12)
    assert 0 < schedule.alpha_bar(100) == pytest.approx(schedule.alpha_bar(99) * 1e-3)


def test_from_alpha_bar_takes_values_with_and_without_the_clean_level() -> None:
    linear = NoiseSchedule.linear(10)
    for values in (linear.alpha_bars, linear.alpha_bars[1:], linear.alpha_bars[1:].tolist()):
        assert NoiseSchedule.from_alpha_bar(values).alpha_bars.equal(linear.alpha_bars)


def test_several_levels_at_once() -> None:
    schedule = NoiseSchedule.linear()
    assert schedule.alpha_bar([0, 5]).tolist() == [1.0, schedule.alpha_bar(5)]
    assert schedule.sigma(torch.tensor([0, 5])).tolist() == [0.0, schedule.sigma(5)]


def test_steps_fall_from_the_start_to_the_least_noise() -> None:
    schedule = NoiseSchedule.linear()
    assert schedule.steps(1000, 10) == (1000, 889, 778, 667, 556, 445, 334, 223, 112, 1)
    assert schedule.steps(667, 1) == (667,)
    for k, n in [(1000, 1000), (1000, 999), (17, 17), (17, 12), (2, 2), (333, 300)]:
        levels = schedule.steps(k, n)
        assert len(set(levels)) == n
        assert list(levels) == sorted(levels, reverse=True)
        assert (levels[0], levels[-1]) == (k, 1)


def test_ddrm_spacing_has_thirty_one_evaluations_for_thirty_steps() -> None:
    levels = NoiseSchedule.linear().steps(1000, 30, "ddrm")
    assert len(levels) == 31
    assert (levels[0], levels[-1]) == (991, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.steps(5, 6), "takes 1 to 5 steps: got 6"),
        (lambda s: s.steps(5, 0), "takes 1 to 5 steps: got 0"),
        (lambda s: s.steps(0, 1), "k must be from 1 to 10: got 0"),
        (lambda s: s.steps(5, 2, "cosine"), "spacing must be"),
        (lambda s: s.alpha_bar(11), "whole numbers from 0 to 10: got 11"),
        (lambda s: s.sigma(-1), "whole numbers from 0 to 10"),
        (lambda s: s.alpha_bar(0.5), "whole numbers"),
        (lambda s: s.from_alpha_bar([0.9, 0.9]), "decrease strictly"),
        (lambda s: s.from_alpha_bar([0.5, 0.0]), "above 0"),
        (lambda s: s.linear(10, 0.5, 0.1), "beta_start"),
        (lambda s: s.cosine(0), "K must be"),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(NoiseSchedule.linear(10))


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(250), NoiseSchedule.linear(2)])
def test_levels_are_numpys_interpolation_bit_for_bit_and_differentiable(schedule: NoiseSchedule) -> None:
    knots = schedule.sigma(range(1, schedule.K + 1))
    random = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.cat([knots, torch.exp(16 * random - 8)])
    wanted = np.interp(sigma.log().numpy(), knots.log().numpy(), np.arange(1, schedule.K + 1))
    assert np.array_equal(schedule.level(sigma).numpy(), wanted)
    middle = float(knots[:2].prod().sqrt())
    slope = torch.func.grad(schedule.level)(torch.tensor(middle, dtype=torch.float64))
    # dk/dσ = 1/(σ · Δ log σ), in float64
    assert float(slope) == pytest.approx(1 / (middle * float((knots[1] / knots[0]).log())), rel=1e-12)
    assert float(torch.func.grad(schedule.level)(torch.tensor(1e6))) == 0


def test_one_level_at_a_time_is_bit_for_bit_what_all_at_once_are() -> None:
    schedule = NoiseSchedule.linear()
    levels = range(schedule.K + 1)
    assert [schedule.alpha_bar(k) for k in levels] == schedule.alpha_bar(levels).tolist()
    assert [schedule.sigma(k) for k in levels] == schedule.sigma(levels).tolist()
