"""FIRE: what it combines, what it adds, and what it reproduces."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from degradations import Denoising, Inpainting, Measurement, SuperResolution, simulate
from nested import NestedDiffusion
from restoration.priors import GaussianPrior
from solvers import DDRM, FIRE, NoiseSchedule, NoiseSource

SHAPE = (3, 8, 8)
MASK = torch.arange(64).reshape(8, 8) % 3 > 0
OPERATORS = {
    "denoise": Denoising(SHAPE), "inpaint": Inpainting(SHAPE, MASK), "sr2": SuperResolution(SHAPE, 2),
}  # fmt: skip


def prior() -> GaussianPrior:
    i = torch.arange(192.0)
    return GaussianPrior(torch.zeros(SHAPE), 0.2 * torch.exp(-(i[:, None] - i).abs() / 8))


def measured(name: str, sigma: float, n: int = 1) -> Measurement:
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) - 0.5
    return simulate(x, OPERATORS[name], sigma, noise=NoiseSource(range(n)))


def end(sampler: FIRE | DDRM, seeds: list[int], n: int = 6) -> Tensor:
    noise = NoiseSource(seeds)
    *_, x0 = sampler.sample(sampler.initial(1000, noise), 1000, n, noise)
    return x0


@pytest.mark.parametrize("name", ["inpaint", "sr2"])
def test_a_noiseless_result_reproduces_the_measurement(name: str) -> None:
    measurement = measured(name, 0.0)
    x0 = end(FIRE(prior(), measurement), [1])
    # float32 rounding of a sum over a block
    torch.testing.assert_close(measurement.operator(x0), measurement.y, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sigma_next", [2.0, 0.5, 0.05])
def test_a_step_is_its_equation(sigma_next: float) -> None:
    """Component by component, in float64, written out: heard, unknown, and noisier than the level it leaves."""
    schedule = NoiseSchedule.linear()
    operator, sigma_y = OPERATORS["inpaint"], 0.3
    measurement = Measurement(measured("inpaint", sigma_y).y, operator, sigma_y)
    k, k_next = 500, int(schedule.level(torch.tensor(sigma_next)))
    for level, after in ((k, k_next), (int(schedule.level(torch.tensor(0.2))), 20)):
        sigma, following = schedule.sigma(level), schedule.sigma(after)
        z, z0 = (torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
        moved = FIRE(prior(), measurement, FIRE.Settings(eta=0.5)).step(z, z0, level, after, NoiseSource([7]))
        xi = NoiseSource([7]).normal(z.shape)
        known = MASK.expand(1, *SHAPE)
        heard = sigma_y <= sigma
        v = min(max(float(((measurement.y - z0)[known] ** 2).mean()) - sigma_y**2, 0), sigma**2) if heard else 0
        gain = v / (v + sigma_y**2)
        m = z0 + gain * (measurement.y - z0)
        combined = m + math.sqrt(max(following**2 - gain * sigma_y**2, 0)) * xi
        carried = z0 + math.sqrt(0.75) * following * (z - z0) / sigma + 0.5 * following * xi
        free = z0 + math.sqrt(max(following**2 - v, 0)) * xi
        # float32 against float64, values up to 20
        expected = torch.where(known, combined if heard else carried, free)
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-5)


def test_an_image_does_not_depend_on_its_batch() -> None:
    measurement = measured("sr2", 0.1, n=3)
    together = end(FIRE(prior(), measurement), [1, 2, 3])
    for i in range(3):
        alone = end(FIRE(prior(), measurement.take(i)), [i + 1])
        # sums over a batch and over one image round differently
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


def test_it_goes_on_from_every_evaluation_bit_for_bit() -> None:
    nested = NestedDiffusion(FIRE(prior(), measured("inpaint", 0.1)), (3, 2))
    noise = NoiseSource([5])
    whole = list(nested.run(nested.start(nested.inner.initial(1000, noise), noise)))
    for estimate in whole:
        rest = list(nested.run(estimate.state))
        assert all(a.x0.equal(b.x0) for a, b in zip(rest, whole[estimate.nfe :], strict=True))


def test_it_is_nearer_to_the_truth_than_ddrm_where_pixels_are_missing() -> None:
    """On 64 exact draws of a correlated Gaussian, ten evaluations; the exact conditional mean bounds both."""
    i = torch.arange(192.0)
    root = torch.linalg.cholesky((0.2 * torch.exp(-(i[:, None] - i).abs() / 8)).double() + 1e-9 * torch.eye(192))
    draws = torch.randn(64, 192, generator=torch.Generator().manual_seed(3), dtype=torch.float64) @ root.mT
    x = draws.reshape(64, *SHAPE).float()
    measurement = simulate(x, OPERATORS["inpaint"], 0.0, noise=NoiseSource(range(64)))
    errors = [
        float((end(sampler, list(range(64)), 10) - x).square().mean())
        for sampler in (FIRE(prior(), measurement), DDRM(prior(), measurement))
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("n", [1, 2, 5, 10, 30, 100, 333, 1000])
@pytest.mark.parametrize("k", [333, 667, 1000])
def test_a_geometric_grid_has_n_different_levels(k: int, n: int) -> None:
    schedule = NoiseSchedule.linear()
    if n > k:
        return
    levels = schedule.steps(k, n, "log")
    assert (len(set(levels)), levels[0]) == (n, k)
    assert list(levels) == sorted(levels, reverse=True)
    assert levels[-1] >= 1
    if n >= 5:
        assert schedule.sigma(levels[-1]) < 0.03


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="grid must be linspace or log: got 'karras'"):
        FIRE.Settings(grid="karras")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eta must be from 0 to 1"):
        FIRE.Settings(eta=-1)
    with pytest.raises(TypeError, match=r"settings must be FIRE\.Settings"):
        FIRE(prior(), measured("sr2", 0.1), DDRM.Settings())
