"""Denoisers from priors are differentiable, in x and σ, through tiles, under torch.func; or they say so."""

from __future__ import annotations

from collections.abc import Callable

import deepinv.sampling
import pytest
import torch
from deepinv.models import Denoiser
from deepinv.optim import L2, PGD
from deepinv.optim import PnP as PlugAndPlay
from deepinv.physics import GaussianNoise
from deepinv.sampling import DPS
from diffusers import UNet2DModel
from torch import Tensor

from degradations import Inpainting
from restoration import DiffusionPrior, GaussianPrior, NoiseSchedule
from restoration.deepinv_plugin import as_denoiser, as_physics, from_denoiser
from restoration.priors.tiled import prior_for
from solvers import Prior

SHAPE, LARGE = (1, 8, 8), (1, 12, 10)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network() -> DiffusionPrior:
    """With attention, whose fused kernel knows no forward differentiation."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), layers_per_block=1,
            norm_num_groups=4, attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        ).eval()  # fmt: skip
    return DiffusionPrior(unet, NoiseSchedule.linear(), "epsilon")


def gaussian() -> GaussianPrior:
    i = torch.arange(64.0)
    return GaussianPrior(torch.full(SHAPE, 0.2), 0.2 * torch.exp(-(i[:, None] - i).abs() / 4))


class Smooth(Denoiser):
    """tanh of a blur that σ weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: object) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        return torch.tanh(self.weight * x / (1 + sigma) + sigma * x.roll(1, -1))


class WholeLevels:
    """A prior of which nothing but the protocol is known, and whose answers keep their gradient."""

    def __init__(self, answers: Callable[[Tensor, int], Tensor]) -> None:
        self.schedule, self.image_shape, self.denoise = NoiseSchedule.linear(), SHAPE, answers


PRIORS: dict[str, Callable[[], Prior]] = {
    "network": network,
    "network in tiles": lambda: prior_for(network(), LARGE),
    "gaussian": gaussian,
    "gaussian in tiles": lambda: prior_for(gaussian(), LARGE),
    "theirs": lambda: from_denoiser(Smooth(), SHAPE, (0.0, 1.0)),
    "theirs in tiles": lambda: prior_for(from_denoiser(Smooth(), SHAPE, (0.0, 1.0)), LARGE),
    "whole levels": lambda: WholeLevels(lambda x_k, k: torch.tanh(x_k + k / 500)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    prior = PRIORS[name]()
    denoiser, shape = as_denoiser(prior), (2, *prior.image_shape)
    x, direction, weight = ((normal(*shape, seed=seed) + 1) / 2 for seed in range(3))
    sigma = torch.tensor([0.08, 0.31], dtype=torch.float64)

    def value(x: Tensor, sigma: Tensor) -> Tensor:
        return (weight * denoiser(x, sigma)).sum()

    of_x, of_sigma = torch.autograd.grad(value(x.requires_grad_(), sigma.requires_grad_()), (x, sigma))
    x, sigma = x.detach(), sigma.detach()
    h = 1e-3
    differences = (value(x + h * direction, sigma) - value(x - h * direction, sigma)).detach() / (2 * h)
    assert abs(float(differences)) > 0.01
    # what a network answers is float32: 1e-6 of a sum near 1, over 2h, and h² of curvature
    assert float((of_x * direction).sum()) == pytest.approx(float(differences), rel=5e-3, abs=5e-3)
    for i in range(2):
        step = torch.zeros_like(sigma)
        step[i] = h = 2e-5 if name == "whole levels" else 1e-4  # linear in log σ within a level, 1 % wide
        differences = (value(x, sigma + step) - value(x, sigma - step)).detach() / (2 * h)
        # likewise, with a smaller h
        assert float(of_sigma[i]) == pytest.approx(float(differences), rel=2e-2, abs=2e-2)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own jvp rules
@pytest.mark.parametrize("name", [name for name in PRIORS if name != "network"])
def test_torch_func_differentiates_backwards_and_forwards(name: str) -> None:
    prior = PRIORS[name]()
    denoiser, shape = as_denoiser(prior), (2, *prior.image_shape)
    x, direction, weight = (normal(*shape, seed=seed) for seed in range(3))
    sigma, change = torch.tensor([0.08, 0.31]).double(), torch.tensor([1.0, -0.5]).double()
    denoised, backwards = torch.func.vjp(denoiser, x, sigma)
    of_x, of_sigma = backwards(weight)
    _, forwards = torch.func.jvp(denoiser, (x, sigma), (direction, change))
    both = float(((of_x * direction).sum() + (of_sigma * change).sum()).detach())
    # one Jacobian from two sides, through a network in float32
    assert float((weight * forwards).detach().sum()) == pytest.approx(both, rel=1e-4, abs=1e-4)
    # one program twice, float32 inside, its sums in another order
    torch.testing.assert_close(denoised, denoiser(x, sigma), atol=1e-5, rtol=1e-5)


def test_a_prior_without_gradients_says_so_in_place_of_zeros() -> None:
    exact = gaussian()
    silent = as_denoiser(WholeLevels(exact.denoise))  # whose denoise is under no_grad
    for denoiser in (silent, as_denoiser(prior_for(silent.prior, LARGE))):
        x = normal(1, *denoiser.prior.image_shape).requires_grad_()
        answer = denoiser(x, 0.2)
        assert answer.detach().equal(denoiser(x.detach(), 0.2))
        with pytest.raises(RuntimeError, match="gives no gradients: its denoise is computed without them"):
            answer.sum().backward()
        with pytest.raises(RuntimeError, match="gives no gradients"):
            torch.func.vjp(lambda x, denoiser=denoiser: denoiser(x, 0.2), x.detach())[1](x.detach())


def test_weights_of_a_thawed_network_are_trained() -> None:
    prior = network()
    prior.network.requires_grad_(False)  # as load_prior does
    denoiser = as_denoiser(prior).requires_grad_()
    denoiser(normal(1, *SHAPE).float(), 0.2).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in denoiser.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in denoiser.parameters()) > 40


def test_an_unfolded_network_learns_its_sigma() -> None:
    physics = as_physics(Inpainting(SHAPE, torch.arange(64).reshape(8, 8) % 2 == 0), 0.05)
    model = PGD(
        data_fidelity=L2(), prior=PlugAndPlay(as_denoiser(network())), sigma_denoiser=[0.1, 0.2], stepsize=1.0,
        max_iter=2, unfold=True, trainable_params=["sigma_denoiser"],
    )  # fmt: skip
    model(physics(torch.rand(1, *SHAPE)), physics).sum().backward()
    learned = [p for name, p in model.named_parameters() if "sigma" in name or "g_param" in name]
    assert len(learned) == 2
    assert all(p.grad is not None and float(p.grad.abs()) > 0 for p in learned)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning")  # 0.4
@pytest.mark.parametrize("name", ["network in tiles", "theirs in tiles"])
def test_dps_follows_the_measurement(name: str) -> None:
    prior = PRIORS[name]()
    physics = as_physics(Inpainting(LARGE, torch.ones(LARGE)), GaussianNoise(0.05))
    ends = []
    for value in (0.0, 1.0):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            ends.append(DPS(as_denoiser(prior), num_steps=4)(torch.full((1, *LARGE), value), physics))
    assert float((ends[0] - ends[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("term", ["PiGDMDataFidelity", "MomentMatchingDataFidelity"])
def test_data_terms_that_differentiate_the_denoiser_run(term: str) -> None:
    kind = getattr(deepinv.sampling, term, None)
    if kind is None:
        pytest.skip("deepinv 0.4 does not have it")
    prior = prior_for(network(), LARGE)
    physics = as_physics(Inpainting(LARGE, torch.ones(LARGE)), 0.05)
    x, y = normal(1, *LARGE).float(), torch.zeros(1, *LARGE)
    gradient = kind(denoiser=as_denoiser(prior)).grad(x, y, physics, sigma=0.2)
    assert gradient.isfinite().all()
    assert float(gradient.abs().sum()) > 0
