"""The loss, against its definition."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from restoration.training.objective import LEVELS, Objective
from solvers import NoiseSchedule

SCHEDULE = NoiseSchedule.linear()
CPU = torch.device("cpu")


class Knowing:
    """A network that knows x₀, and so v, up to a constant error."""

    def __init__(self, x0: Tensor, error: float = 0.0) -> None:
        self.x0, self.error = x0, error
        self.asked: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor) -> SimpleNamespace:
        self.asked.append(t)
        alpha_bar = SCHEDULE.alpha_bar(t + 1).float().view(-1, 1, 1, 1)
        noise = (x - alpha_bar.sqrt() * self.x0) / (1 - alpha_bar).sqrt()
        return SimpleNamespace(sample=alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * self.x0 + self.error)


def _pictures(count: int) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_who_knows_the_picture_has_no_loss() -> None:
    x0 = _pictures(16)
    loss = Objective(SCHEDULE, 5.0, CPU)(Knowing(x0), x0, torch.Generator().manual_seed(1))
    assert float(loss) < 1e-8  # float32: ε is found again by a division by √(1 − ᾱ) ≥ 0.01


@pytest.mark.parametrize("gamma", [5.0, 20.0])
def test_an_error_of_one_costs_the_weight_of_its_level(gamma: float) -> None:
    x0 = _pictures(64)
    network = Knowing(x0, error=1.0)
    loss = Objective(SCHEDULE, gamma, CPU)(network, x0, torch.Generator().manual_seed(1))
    alpha_bar = SCHEDULE.alpha_bar(network.asked[0] + 1)
    snr = alpha_bar / (1 - alpha_bar)
    wanted = (snr.clamp(max=gamma) / (snr + 1)).mean()
    assert float(loss) == pytest.approx(float(wanted), rel=1e-4)  # float32 weights and a mean of 64


def test_the_levels_of_a_batch_are_one_from_each_equal_range() -> None:
    network = Knowing(_pictures(50))
    Objective(SCHEDULE, 5.0, CPU)(network, network.x0, torch.Generator().manual_seed(3))
    assert (network.asked[0] // 20).tolist() == list(range(50))


def test_balanced_levels_are_drawn_half_evenly_in_k_and_half_in_log_sigma() -> None:
    network = Knowing(_pictures(1000))
    Objective(SCHEDULE, None, CPU)(network, network.x0, torch.Generator().manual_seed(3))
    t = network.asked[0]
    sigma = SCHEDULE.sigma(t + 1)
    assert t.min() == 0
    assert t.max() == 999
    # ln 0.1 lies 0.24 of the way from ln 0.01 to ln 157, and at k = 26 of 1,000; a level more or less at its edge
    assert (sigma < 0.1).double().mean() == pytest.approx((0.24 + 0.026) / 2, abs=0.005)
    assert (t >= 500).double().mean() == pytest.approx((0.40 + 0.5) / 2, abs=0.01)  # from σ = 3.4 on: 0.40


def test_a_balanced_error_costs_the_geometric_mean_of_the_losses_of_noise_and_picture() -> None:
    network = Knowing(_pictures(64), error=1.0)
    loss = Objective(SCHEDULE, None, CPU)(network, network.x0, torch.Generator().manual_seed(1))
    alpha_bar = SCHEDULE.alpha_bar(network.asked[0] + 1)
    wanted = (alpha_bar * (1 - alpha_bar)).sqrt().mean()
    assert float(loss) == pytest.approx(float(wanted), rel=1e-4)  # float32 weights and a mean of 64


def test_by_level_gives_the_error_of_v_and_of_the_picture() -> None:
    x0 = _pictures(5)
    objective = Objective(SCHEDULE, 5.0, CPU)

    def network(x: Tensor, t: Tensor) -> SimpleNamespace:
        known = x0[: len(x)] if len(x) == 3 else x0[3:]
        return Knowing(known, error=0.5)(x, t)

    table = objective.by_level(network, x0, batch=3)
    assert tuple(table) == LEVELS
    for k, (v, x) in table.items():
        assert v == pytest.approx(0.25, rel=1e-3)
        # x̂₀ = √ᾱ x − √(1−ᾱ) v̂: an error of v is multiplied by √(1 − ᾱ); [0, 1] units are half as large
        assert x == pytest.approx((1 - SCHEDULE.alpha_bar(k)) ** 0.5 * 0.5 / 2, rel=1e-3)
    assert table == objective.by_level(network, x0, batch=3)
