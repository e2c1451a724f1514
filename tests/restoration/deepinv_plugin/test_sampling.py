"""What deepinv's own samplers take: a first guess, several samples, a bar; and its Monte Carlo sampler."""

from __future__ import annotations

import pytest
import torch
from deepinv.models import Denoiser, DRUNet
from deepinv.physics import GaussianNoise, Inpainting
from deepinv.sampling import DiffusionSampler

from restoration import GaussianPrior
from restoration.deepinv_plugin import DDRM, NestedDDRM, from_denoiser

SHAPE = (1, 4, 4)


def prior() -> GaussianPrior:
    i = torch.arange(16.0)
    return GaussianPrior(torch.zeros(SHAPE), 0.1 * torch.exp(-(i[:, None] - i).abs() / 4))


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def problem(count: int = 2) -> tuple[torch.Tensor, Inpainting]:
    physics = Inpainting(SHAPE, (uniform(*SHAPE, seed=1) < 0.5).float(), noise_model=GaussianNoise(0.05))
    return physics.A(uniform(count, *SHAPE)), physics


def test_several_samples_give_their_mean_and_variance() -> None:
    (y, physics), model = problem(), NestedDDRM(prior(), 2, 3)
    mean, variance = model(y, physics, seed=5, n_samples=4)
    assert model.seeds == tuple(range(5, 13))
    samples = torch.stack([model(y, physics, seed=5 + 2 * i) for i in range(4)])
    # float32, by Welford's recursion
    torch.testing.assert_close(mean, samples.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(variance, samples.var(0), atol=1e-6, rtol=0)
    again, _ = model(y, physics, seed=list(range(5, 13)), n_samples=4)
    assert again.equal(mean)


def test_deepinvs_monte_carlo_sampler_repeats_by_its_seed_and_varies() -> None:
    (y, physics), model = problem(1), DDRM(prior(), 4)
    sampler = DiffusionSampler(model, max_iter=6, verbose=False)
    with torch.random.fork_rng():
        mean, variance = sampler(y, physics, seed=0)
        again, _ = sampler(y, physics, seed=0)
        other, _ = sampler(y, physics, seed=1)
    assert mean.equal(again)
    assert not mean.equal(other)
    assert float(variance.mean()) > 1e-3
    own = DiffusionSampler(DDRM(prior(), 4, seed=3), max_iter=6, verbose=False)
    assert float(own(y, physics)[1].mean()) > 1e-3  # a stream of seeds, not one


class Keeping(Denoiser):
    """Keeps what it is given."""

    def forward(self, x: torch.Tensor, sigma: float | torch.Tensor, **kwargs: object) -> torch.Tensor:
        return x


def test_a_first_guess_is_where_nothing_was_measured() -> None:
    y, physics = problem()
    # a denoiser of low noise only: runs start near where they begin, and this one keeps it
    model = DDRM(Keeping(), 4, sigma_range=(0, 0.02))
    guess, missing = uniform(2, *SHAPE, seed=9), physics.mask.expand_as(y) == 0
    x = model(y, physics, seed=0, x_init=guess)
    # some noise of σ = 0.02 and its sums over four steps
    torch.testing.assert_close(x[missing], guess[missing], atol=0.15, rtol=0)
    grey = model(y, physics, seed=0)
    torch.testing.assert_close(grey[missing], torch.full_like(grey[missing], 0.5), atol=0.15, rtol=0)
    # where the measurement is heard from the start, the guess is not
    physics.noise_model = GaussianNoise(0.001)
    heard = model(y, physics, seed=0, x_init=1 - guess) - model(y, physics, seed=0, x_init=guess)
    assert float(heard[~missing].abs().max()) < 1e-6
    assert list(model.iterate(y, physics, seed=0, x_init=guess))[-1][1].equal(
        model(y, physics, seed=0, x_init=guess)
    )


def test_grey_is_the_first_guess_where_there_is_none() -> None:
    (y, physics), model = problem(), NestedDDRM(prior(), 2, 3)
    grey = model(y, physics, seed=0, x_init=torch.full_like(y, 0.5))
    assert grey.equal(model(y, physics, seed=0))


def test_a_bar_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    (y, physics), model = problem(), NestedDDRM(prior(), 2, 3, verbose=True)
    wanted = model(y, physics, seed=0)
    assert "NestedDDRM: 100%" in capsys.readouterr().err
    model.verbose = False
    assert model(y, physics, seed=0).equal(wanted)
    assert capsys.readouterr().err == ""


def test_what_a_sampler_does_not_use_is_named() -> None:
    (y, physics), model = problem(), NestedDDRM(prior(), 2, 3)
    wanted = model(y, physics, seed=0)
    with pytest.warns(UserWarning, match="NestedDDRM does not use timesteps, x_gt"):
        assert model(y, physics, seed=0, x_gt=y, timesteps=[1], compute_metrics=False).equal(wanted)
    with pytest.raises(TypeError, match="computes no metrics"):
        model(y, physics, x_gt=y, compute_metrics=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 1}, "n_samples must be at least 2, .*: got 1"),
        ({"n_samples": 4, "get_trajectory": True}, "without get_trajectory"),
        ({"n_samples": 2, "seed": [1, 2]}, "seeds must be a sequence of 4"),
        ({"x_init": torch.zeros(1, 1, 4, 4)}, r"x_init must be images .*, \(2, 1, 4, 4\): got \(1, 1, 4, 4\)"),
        ({"x_init": 0.5}, "x_init must be images .*: got float"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, object], message: str) -> None:
    y, physics = problem()
    with pytest.raises(ValueError, match=message):
        NestedDDRM(prior(), 2, 3)(y, physics, **arguments)


def test_other_weights_are_another_prior_as_soon_as_they_are_loaded() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, other = (DRUNet(1, 1, nc=(4, 4, 4, 4), nb=1, pretrained=None) for _ in range(2))
    adapted = from_denoiser(network, (1, 8, 8))
    before = adapted.fingerprint()
    assert adapted.fingerprint() == before
    network.load_state_dict(other.state_dict())
    assert adapted.fingerprint() == from_denoiser(other, (1, 8, 8)).fingerprint() != before
