"""What any denoiser, linear physics and sampler of deepinv does, shown of those that are made from ours."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from deepinv.loss.metric import PSNR
from deepinv.physics import GaussianNoise
from torch import Tensor

from degradations import Blur, Colorization, Denoising, FourierSampling, Inpainting, SuperResolution, SVDOperator
from restoration import FIRE, GaussianPrior, Spectral
from restoration.deepinv_plugin import DDRM, NestedDDRM, as_denoiser, as_physics
from restoration.priors.tiled import prior_for

SHAPE = (3, 8, 8)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def prior() -> GaussianPrior:
    """Smooth pictures, of nearly one colour, that stay in [0, 1]."""
    place = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    colours = 0.9 + 0.1 * torch.eye(3)
    return GaussianPrior(torch.zeros(SHAPE), 0.06 * torch.kron(colours, torch.exp(-torch.cdist(place, place) / 8)))


def draws(count: int) -> Tensor:
    """Images of the prior, in [0, 1] units."""
    known = prior()
    root = known._axes * known._variances.sqrt()
    normal = torch.randn(count, 192, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return ((normal @ root.mT).reshape(count, *SHAPE).float() + 1) / 2


OPERATORS: dict[str, SVDOperator] = {
    "denoising": Denoising(SHAPE),
    "inpainting": Inpainting(SHAPE, uniform(8, 8) < 0.5),
    "grey": Colorization(SHAPE),
    "super-resolution": SuperResolution(SHAPE, 2),
    "blur": Blur(SHAPE, torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16),
    "k-space": FourierSampling(SHAPE, torch.arange(8).remainder(2).expand(8, 8) == 0),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_a_physics_is_linear_and_its_parts_fit_together(name: str) -> None:
    physics, x, x2 = as_physics(OPERATORS[name]), uniform(2, *SHAPE), uniform(2, *SHAPE, seed=1)
    y = physics.A(x2)
    close = {"atol": 1e-5, "rtol": 1e-4}  # float32 sums of up to 192 numbers near 1
    torch.testing.assert_close(physics.A(2 * x - 3 * x2), 2 * physics.A(x) - 3 * y, **close)
    torch.testing.assert_close(physics.A_vjp(x, y), physics.A_adjoint(y), **close)
    torch.testing.assert_close(physics.A_adjoint_A(x), physics.A_adjoint(physics.A(x)), **close)
    torch.testing.assert_close(physics.A_A_adjoint(y), physics.A(physics.A_adjoint(y)), **close)
    once = physics.A_dagger(y)
    torch.testing.assert_close(physics.A_dagger(physics.A(once)), once, atol=1e-4, rtol=1e-3)  # 1/s up to 100
    torch.testing.assert_close(physics.V(physics.V_adjoint(x)), x, **close)
    torch.testing.assert_close(physics.U(physics.mask * physics.V_adjoint(x)), physics.A(x), **close)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_physics_is_copied_saved_and_differentiated(name: str) -> None:
    physics, x = as_physics(OPERATORS[name], 0.1), uniform(2, *SHAPE)
    wanted = physics.A(x)
    assert physics.clone().A(x).equal(wanted)
    again = as_physics(OPERATORS[name], 0.3)
    again.load_state_dict(physics.state_dict())
    assert float(again.noise_model.sigma) == pytest.approx(0.1)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(physics.A(x).square().sum() / 2, x)
    torch.testing.assert_close(gradient, physics.A_adjoint(wanted), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
def test_a_denoiser_denoises_and_takes_every_form_of_sigma(sigma: float) -> None:
    denoiser, x = as_denoiser(prior()), draws(3)
    noisy = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    answer = denoiser(noisy, sigma)
    assert float((answer - x).square().mean()) < float((noisy - x).square().mean())
    assert answer.shape == x.shape
    for form in (
        torch.tensor(sigma), torch.tensor([sigma]), torch.full((3,), sigma), torch.full((3, 1, 1, 1), sigma),
        [sigma] * 3, np.full(3, sigma), np.float64(sigma),
    ):  # fmt: skip
        # σ in float32 or float64
        torch.testing.assert_close(denoiser(noisy, form), answer, atol=1e-5, rtol=0)
    for i in range(3):
        torch.testing.assert_close(denoiser(noisy[i : i + 1], sigma)[0], answer[i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (20, 13)])
def test_a_denoiser_is_copied_and_keeps_what_it_is_given(size: tuple[int, int]) -> None:
    denoiser = as_denoiser(prior_for(prior(), (3, *size)))
    x = uniform(1, 3, *size)
    before, wanted = x.clone(), denoiser(x, 0.1)
    assert x.equal(before)
    assert copy.deepcopy(denoiser)(x, 0.1).equal(wanted)
    assert denoiser(x, 0).equal(x)
    assert denoiser.train()(x, 0.1).equal(denoiser.eval()(x, 0.1))
    with torch.no_grad():
        assert not denoiser(x.requires_grad_(), 0.1).requires_grad


SAMPLERS = [None, FIRE.Settings("faithful")]


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "k-space"])
@pytest.mark.parametrize("posterior", SAMPLERS, ids=["ddrm", "fire"])
def test_a_sampler_restores_any_batch_better_than_the_pseudo_inverse(
    name: str, posterior: Spectral.Settings | None
) -> None:
    physics = as_physics(OPERATORS[name], GaussianNoise(0.1, rng=torch.Generator().manual_seed(0)))
    x, score = draws(4), PSNR()
    y = physics(x)
    for model in (DDRM(prior(), 6, posterior=posterior), NestedDDRM(prior(), 2, 3, posterior=posterior)):
        restored = model(y, physics, seed=0)
        assert restored.shape == x.shape
        assert float(score(restored, x).mean()) > float(score(physics.A_dagger(y), x).mean())
        # an image's result is its own, and its batch's only to rounding
        torch.testing.assert_close(model(y[2:3], physics, seed=2), restored[2:3], atol=1e-4, rtol=0)
        assert model.eval()(y, physics, seed=0).equal(restored)
        assert not restored.requires_grad
