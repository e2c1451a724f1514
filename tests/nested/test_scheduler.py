"""The nested scheduler against diffusers' own schedulers and this project's own loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverSinglestepScheduler
from torch import Tensor

from nested import NestedDiffusion
from restoration import NestedScheduler
from restoration.priors import GaussianPrior
from solvers import DDIM, NoiseSchedule, NoiseSource

# torch.Tensor.__array__ and numpy 2: np.array(tensor) inside DPMSolverSinglestepScheduler
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SHAPE = (2, 3, 8, 8)
KERNEL = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(5)) / 3
Network = Callable[[Tensor, int], Tensor]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(x: Tensor, t: int) -> Tensor:
    """Nonlinear, rough and different at every t."""
    return torch.nn.functional.conv2d(x, KERNEL, padding=1).tanh() + t / 2000


def learned(x: Tensor, t: int) -> Tensor:
    return torch.cat([network(x, t), (3 * x).sin()], dim=1)


def loop(scheduler: Any, net: Network = network, **step: Any) -> Tensor:
    """What a pipeline does, from timesteps that are already set."""
    x = torch.randn(SHAPE, generator=generator(0))
    noise = generator(1)
    for t in scheduler.timesteps:
        x = scheduler.step(net(x, int(t)), t, x, generator=noise, **step).prev_sample
    return x


def nested(outer: int, net: Network = network, **config: Any) -> Tensor:
    scheduler = NestedScheduler(**config)
    scheduler.set_timesteps(outer)
    return loop(scheduler, net)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("to_one", [True, False])
@pytest.mark.parametrize(("spacing", "offset"), [("leading", 0), ("leading", 1), ("trailing", 0)])
@pytest.mark.parametrize("eta", [0.0, 0.85])
def test_one_outer_step_is_diffusers_ddim(
    prediction: str, to_one: bool, spacing: str, offset: int, eta: float
) -> None:
    config = {
        "prediction_type": prediction,
        "set_alpha_to_one": to_one,
        "timestep_spacing": spacing,
        "steps_offset": offset,
        "beta_schedule": "scaled_linear",
        "clip_sample": prediction == "sample",
    }
    plain = DDIMScheduler(**config)
    plain.set_timesteps(10)
    assert nested(1, **config, inner_steps=10, inner_eta=eta).equal(loop(plain, eta=eta))


def test_one_outer_step_is_diffusers_ddim_from_pure_noise() -> None:
    config = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    plain = DDIMScheduler(**config, clip_sample=False)
    plain.set_timesteps(10)
    ours = nested(1, **config, inner_steps=10)
    assert ours.equal(loop(plain, eta=0.85))
    assert nested(3, **config).isfinite().all()


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned", "learned_range"])
def test_one_outer_step_is_diffusers_ddpm(variance: str) -> None:
    def net(x: Tensor, t: int) -> Tensor:
        if variance == "learned":  # a variance, not its logarithm
            return torch.cat([network(x, t), x.abs() / 50], dim=1)
        return learned(x, t) if variance == "learned_range" else network(x, t)

    scheduler = NestedScheduler(inner="ddpm", inner_steps=9, variance_type=variance)
    scheduler.set_timesteps(1)
    plain = DDPMScheduler(variance_type=variance, clip_sample=False)
    plain.set_timesteps(timesteps=scheduler.timesteps.tolist())
    assert loop(scheduler, net).equal(loop(plain, net))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("steps", "to_one", "lower"), [(10, True, True), (11, True, True), (10, False, False)])
def test_one_outer_step_is_diffusers_dpmsolver(prediction: str, steps: int, to_one: bool, lower: bool) -> None:
    scheduler = NestedScheduler(
        inner="dpmsolver++2s", inner_steps=steps, set_alpha_to_one=to_one, prediction_type=prediction
    )
    scheduler.set_timesteps(1)
    plain = DPMSolverSinglestepScheduler(
        lower_order_final=lower, final_sigmas_type="zero" if to_one else "sigma_min", prediction_type=prediction
    )
    plain.set_timesteps(timesteps=scheduler.timesteps.tolist())
    assert loop(scheduler).equal(loop(plain))


@pytest.mark.parametrize(("inner", "last"), [("ddim", 1), ("dpmsolver++2s", 1), ("ddpm", 0)])
def test_a_run_to_the_lowest_noise_ends_above_it(inner: str, last: int) -> None:
    """Where diffusers lands on ᾱ at t = 0, a last call at t = 0 would change nothing; DDPM lands on ᾱ = 1."""
    scheduler = NestedScheduler(inner=inner, inner_steps=4, set_alpha_to_one=False)
    scheduler.set_timesteps(2)
    assert scheduler.timesteps[[3, 7]].tolist() == [last, last]
    assert loop(scheduler).isfinite().all()


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_one_inner_step_is_plain_ddim(eta: float) -> None:
    """With the outer η. Bit for bit where the network predicts x₀; else ε̂ comes from x̂₀, which costs rounding."""
    for prediction, tolerance in (("sample", 0.0), ("epsilon", 2e-4), ("v_prediction", 2e-5)):
        plain = DDIMScheduler(prediction_type=prediction, timestep_spacing="trailing", clip_sample=False)
        plain.set_timesteps(8)
        ours = nested(8, inner_steps=1, prediction_type=prediction, outer_eta=eta)
        torch.testing.assert_close(ours, loop(plain, eta=eta), rtol=tolerance, atol=tolerance)


class Prior:
    """The same network as a prior of this project."""

    image_shape = SHAPE[1:]

    def __init__(self, alphas: Tensor) -> None:
        self.schedule = NoiseSchedule.from_alpha_bar(alphas.double())

    def denoise(self, x_k: Tensor, k: int) -> Tensor:
        return network(x_k, k - 1)


@pytest.mark.parametrize("eta", [0.0, 0.85])
@pytest.mark.parametrize("allocation", [(4, 4, 4), (7, 5, 2), (1, 1, 1)])
def test_it_is_the_nested_ddim_of_this_project(allocation: tuple[int, ...], eta: float) -> None:
    """With the same noise; to the rounding of float32 coefficients (theirs are float64)."""
    scheduler = NestedScheduler(prediction_type="sample", allocation=allocation, inner_eta=eta)
    scheduler.set_timesteps(3)
    process = NestedDiffusion(DDIM(Prior(scheduler.alphas_cumprod), eta), allocation)
    noise = NoiseSource([3, 4])
    expected = list(process.run(process.start(noise.normal(SHAPE), noise)))

    generators = [generator(3), generator(4)]
    x = torch.cat([torch.randn((1, *SHAPE[1:]), generator=g) for g in generators])
    for t, estimate in zip(scheduler.timesteps, expected, strict=True):
        out = scheduler.step(network(x, int(t)), t, x, generator=generators)
        x = out.prev_sample
        torch.testing.assert_close(out.pred_original_sample, estimate.x0, rtol=1e-4, atol=1e-4)
        progress = scheduler.progress
        assert (progress.nfe, progress.outer_step_complete) == (estimate.nfe, estimate.complete)
    torch.testing.assert_close(x, expected[-1].x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.85])
def test_it_is_exact_on_a_gaussian(eta: float) -> None:
    """10,000 samples have the mean and covariance of the exact recursion, within 6 standard errors."""
    shape, D, samples, allocation = (3, 2, 2), 12, 10_000, (5, 4, 3)
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(D, D)))[0]
    covariance = axes @ np.diag(np.geomspace(1.0, 1e-2, D)) @ axes.T
    mean = rng.uniform(-0.5, 0.5, D)
    scheduler = NestedScheduler(allocation=allocation, inner_eta=eta)
    schedule = NoiseSchedule.from_alpha_bar(scheduler.alphas_cumprod.double())
    prior = GaussianPrior(torch.from_numpy(mean).reshape(shape), torch.from_numpy(covariance), schedule)

    def step(k: int, k_next: int) -> tuple[np.ndarray, np.ndarray, float]:
        ab, after = schedule.alpha_bar(k), schedule.alpha_bar(k_next)
        gain = math.sqrt(ab) * covariance @ np.linalg.inv(ab * covariance + (1 - ab) * np.eye(D))
        spread = eta * math.sqrt((1 - after) / (1 - ab) * (1 - ab / after))
        r = math.sqrt(1 - after - spread**2) / math.sqrt(1 - ab)
        p = math.sqrt(after) - r * math.sqrt(ab)
        return p * gain + r * np.eye(D), p * (mean - math.sqrt(ab) * gain @ mean), spread**2

    F, g, C = np.zeros((D, D)), np.zeros(D), np.eye(D)  # the state so far: N(g, C)
    levels = (1000, 667, 333, 0)
    for n, k, k_next in zip(allocation, levels, levels[1:], strict=False):
        F, offset, noise = np.eye(D), np.zeros(D), np.zeros((D, D))
        grid = [*schedule.steps(k, n), 0]
        for level, after in pairwise(grid):
            f, h, s = step(level, after)
            F, offset, noise = f @ F, f @ offset + h, f @ noise @ f.T + s * np.eye(D)
        ab, ab_next = schedule.alpha_bar(k), schedule.alpha_bar(k_next)
        r = math.sqrt((1 - ab_next) / (1 - ab))
        p = math.sqrt(ab_next) - r * math.sqrt(ab)
        F = p * F + r * np.eye(D)
        g, C = F @ g + p * offset, F @ C @ F.T + p**2 * noise

    scheduler.set_timesteps(3)
    draw = generator(1)
    x = torch.randn((samples, *shape), generator=generator(0))
    for t in scheduler.timesteps:
        ab = schedule.alpha_bar(int(t) + 1)
        epsilon = (x.double() - math.sqrt(ab) * prior.denoise(x.double(), int(t) + 1)) / math.sqrt(1 - ab)
        x = scheduler.step(epsilon.float(), t, x, generator=draw).prev_sample
    drawn = x.flatten(1).double().numpy()
    diagonal = np.diag(C)
    assert (np.abs(drawn.mean(0) - g) / np.sqrt(diagonal / samples)).max() < 6
    error = np.sqrt((np.outer(diagonal, diagonal) + C**2) / samples)
    assert (np.abs(np.cov(drawn.T) - C) / error).max() < 6


def test_the_outer_step_is_stochastic_around_dpmsolver_and_deterministic_otherwise() -> None:
    """√(1−ᾱ_t) is DDIM's η there: the same as asked for by hand, on the noise that only the outer step draws."""
    config = {"inner": "dpmsolver++2s", "inner_steps": 4}
    default = nested(2, **config)
    eta = float((1 - NestedScheduler().alphas_cumprod[999]) ** 0.5)
    assert default.equal(nested(2, **config, outer_eta=eta))
    assert not default.equal(nested(2, **config, outer_eta=0.0))
    assert nested(3, inner_eta=0.0, inner_steps=4).equal(nested(3, inner_eta=0.0, inner_steps=4, outer_eta=0.0))


@pytest.mark.parametrize("inner", ["ddim", "ddpm", "dpmsolver++2s"])
def test_sixteen_bit_pipelines_get_their_dtype_back_and_lose_only_its_rounding(inner: str) -> None:
    """The network's answers are equal in both runs; x is rounded to bf16 once a call, and no update is."""
    scheduler = NestedScheduler(inner=inner, inner_steps=4)
    ends = []
    for dtype in (torch.float32, torch.bfloat16):
        scheduler.set_timesteps(2)
        x = torch.randn(SHAPE, generator=generator(0)).bfloat16().to(dtype)
        noise = generator(1)
        for t in scheduler.timesteps:
            answer = torch.full(SHAPE, 0.25, dtype=dtype)
            x = scheduler.step(answer, t, x, generator=noise).prev_sample
            assert x.dtype == dtype
            assert scheduler.last_estimate.dtype == torch.float32
        ends.append(x.float())
    scale = ends[0].abs().max()
    assert (ends[0] - ends[1]).abs().max() < 0.02 * scale  # bf16 has 8 bits: 0.4 % each of 8 roundings
