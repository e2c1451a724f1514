"""Where the posterior is known: the study's own arithmetic, and what it tells of samplers."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.studies import exact_posterior as study
from degradations import simulate
from solvers import NoiseSource

D = math.prod(study.SHAPE)


def test_the_distance_of_two_gaussians_is_that_of_their_closed_form() -> None:
    """Samples with exactly a mean and covariance: a shift of 3 and a doubled spread."""
    spread = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    white = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * math.sqrt(3 / 4)
    samples = white @ study.root_of(spread) * 2 + torch.tensor([3.0, 0.0], dtype=torch.float64)
    found = study.wasserstein(samples, torch.zeros(2, dtype=torch.float64), spread)
    assert found == pytest.approx(math.sqrt(9 + 5), abs=1e-6)  # |shift|² + trace of (2S½ − S½)²


def test_a_shift_is_as_far_in_slices_as_it_is() -> None:
    samples = torch.randn(200, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shifted = samples + torch.tensor([2.0] + [0.0] * 7, dtype=torch.float64)
    assert study.sliced(samples, shifted) == pytest.approx(2, rel=0.15)  # 256 random directions


def test_a_mixture_is_denoised_exactly() -> None:
    """Against the mean of many draws weighted by their likelihood."""
    prior = study.priors()["mixture"]
    assert isinstance(prior, study.GaussianMixturePrior)
    x = prior.draw(1, 5)
    k, noise = 800, torch.randn(1, *study.SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    alpha_bar = prior.schedule.alpha_bar(k)
    x_k = math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * noise
    pool = prior.draw(200_000, 2).flatten(1)
    log = -(x_k.flatten(1) - math.sqrt(alpha_bar) * pool).square().sum(1) / (2 * (1 - alpha_bar))
    expected = log.softmax(0) @ pool
    # 200,000 weighted draws of standard deviation 0.6
    torch.testing.assert_close(prior.denoise(x_k, k).flatten(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("case", ["denoise 0.1", "inpaint", "sr2 0.05", "colorize"])
def test_a_gaussian_posterior_has_the_spread_that_the_operator_leaves(case: str) -> None:
    """Conditioning by singular values against conditioning by the operator's own matrix."""
    name, sigma = study.CASES[case]
    one = simulate(torch.zeros(1, *study.SHAPE), study.OPERATORS[name](), sigma, noise=NoiseSource([0]))
    _, spread = study.condition(torch.zeros(D, dtype=torch.float64), study.covariance(), *study.linear(one))
    matrix = one.operator(torch.eye(D).reshape(D, *study.SHAPE)).flatten(1).double().mT
    inside = matrix @ study.covariance() @ matrix.mT + max(sigma, 1e-6) ** 2 * torch.eye(len(matrix))
    cross = study.covariance() @ matrix.mT
    expected = study.covariance() - cross @ torch.linalg.pinv(inside) @ cross.mT
    torch.testing.assert_close(spread, expected, atol=1e-5, rtol=0)  # an operator of float32


def test_natural_samples_are_nearer_to_the_posterior_than_ddrm(capsys: pytest.CaptureFixture[str]) -> None:
    study.main(["--priors", "mixture", "--cases", "inpaint", "--nfe", "10", "--samples", "60"])
    rows = {
        line.split("|")[2].strip(): line.split("|")[3].strip()
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| inpaint")
    }
    away = {name: float(cell.split(" · ")[0]) for name, cell in rows.items()}
    assert away["exact samples"] < away["FIRE natural"] < away["DDRM"]
