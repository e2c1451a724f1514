"""DDIM's update and its loop."""

from __future__ import annotations

import math

import pytest
import torch

from solvers import DDIM, NoiseSchedule, NoiseSource, ddim_update


class Prior:
    schedule = NoiseSchedule.linear()
    image_shape = (1, 4, 4)

    def denoise(self, x_k: torch.Tensor, k: int) -> torch.Tensor:
        return (x_k * 0.3).tanh() + k / 5000


def test_the_deterministic_update_moves_along_the_same_noise() -> None:
    x0, noise = torch.full((1, 1, 2, 2), 0.4), torch.tensor([[[[1.0, -2.0], [0.5, 0.0]]]])
    x = math.sqrt(0.3) * x0 + math.sqrt(0.7) * noise
    moved = ddim_update(x, x0, 0.3, 0.8)
    torch.testing.assert_close(moved, math.sqrt(0.8) * x0 + math.sqrt(0.2) * noise)


def test_eta_one_has_the_variance_of_the_ddpm_posterior() -> None:
    x, x0, xi = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    variance = float(ddim_update(x, x0, 0.3, 0.8, 1.0, xi)) ** 2
    assert variance == pytest.approx((1 - 0.8) / (1 - 0.3) * (1 - 0.3 / 0.8))


def test_landing_on_zero_returns_the_estimate_itself() -> None:
    x0 = torch.rand(1, 1, 2, 2)
    assert ddim_update(torch.rand(1, 1, 2, 2), x0, 0.3, 1.0) is x0


def test_a_stochastic_run_is_the_same_alone_and_in_a_batch() -> None:
    ddim = DDIM(Prior(), eta=1.0)

    def run(seeds: list[int]) -> torch.Tensor:
        noise = NoiseSource(seeds)
        return list(ddim.sample(ddim.initial(1000, noise), 1000, 6, noise))[-1]

    assert run([1, 2, 3])[1:2].equal(run([2]))
    assert not run([1]).equal(run([2]))


def test_wrong_eta_is_named() -> None:
    with pytest.raises(ValueError, match="eta must be from 0 to 1: got 2"):
        DDIM(Prior(), eta=2)
