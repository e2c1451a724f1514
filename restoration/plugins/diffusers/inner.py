"""The solvers of an inner run, in diffusers' own arithmetic: DDIM, DDPM and DPM-Solver++(2S)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from diffusers import DDPMScheduler, DPMSolverSinglestepScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

Generators = torch.Generator | list[torch.Generator] | None
LEARNED = ("learned", "learned_range")


class InnerSolver(Protocol):
    """What solves one inner run after the other."""

    def begin(self, timesteps: Sequence[int]) -> None:
        """Start a run over falling timesteps."""
        ...

    def step(
        self, i: int, output: Tensor, variance: Tensor | None, x: Tensor, generator: Generators
    ) -> tuple[Tensor, Tensor]:
        """After the i-th call: x at the next timestep, or x₀ after the last; and x̂₀."""
        ...


def ddim(
    x0: Tensor, epsilon: Tensor, alpha_bar: Tensor, alpha_bar_next: Tensor, eta: float, draw: Callable[[], Tensor]
) -> Tensor:
    """√ᾱ' x̂₀ + √(1−ᾱ'−s²) ε̂ + s ξ with s = η √((1−ᾱ')/(1−ᾱ)) √(1−ᾱ/ᾱ'), in the order of diffusers' DDIMScheduler.

    ᾱ, ᾱ' are float32 scalars on the CPU: no device is waited for. ``draw`` makes ξ and is called only where s > 0.
    Source: Song et al., DDIM, 2021, equations 12 and 16.
    """
    spread = eta * ((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)) ** 0.5
    moved: Tensor = alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next - spread**2) ** 0.5 * epsilon
    return moved + spread * draw() if spread > 0 else moved


def normal(x: Tensor, generator: Generators) -> Tensor:
    """Standard normal noise like x, from the generator's device; with a list, each image from its own."""
    noise: Tensor = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return noise


class DDIMInner:
    """DDIM with η on any falling timesteps; lands on ``final``, the ᾱ after the last of them."""

    def __init__(self, config: Any, ddpm: DDPMScheduler, alpha_bars: Tensor, final: Tensor) -> None:
        self.config, self.ddpm, self.alpha_bars, self.final = config, ddpm, alpha_bars, final
        self.timesteps: Sequence[int] = ()

    def begin(self, timesteps: Sequence[int]) -> None:
        self.timesteps = timesteps

    def step(
        self, i: int, output: Tensor, variance: Tensor | None, x: Tensor, generator: Generators
    ) -> tuple[Tensor, Tensor]:
        a = self.alpha_bars[self.timesteps[i]]
        a_next = self.alpha_bars[self.timesteps[i + 1]] if i + 1 < len(self.timesteps) else self.final
        b = 1 - a
        if self.config.prediction_type == "epsilon":
            x0, epsilon = (x - b**0.5 * output) / a**0.5, output
        elif self.config.prediction_type == "sample":
            x0, epsilon = output, (x - a**0.5 * output) / b**0.5
        else:
            x0, epsilon = a**0.5 * x - b**0.5 * output, a**0.5 * output + b**0.5 * x
        if self.config.thresholding:
            x0 = self.ddpm._threshold_sample(x0)
        elif self.config.clip_sample:
            x0 = x0.clamp(-self.config.clip_sample_range, self.config.clip_sample_range)
        return ddim(x0, epsilon, a, a_next, self.config.inner_eta, lambda: normal(x, generator)), x0


class DDPMInner:
    """Ancestral sampling with a fixed or learned variance, by diffusers' DDPMScheduler."""

    def __init__(self, config: Any, ddpm: DDPMScheduler) -> None:
        self.config, self.ddpm = config, ddpm
        self.timesteps: Sequence[int] = ()

    def begin(self, timesteps: Sequence[int]) -> None:
        self.timesteps = timesteps
        self.ddpm.set_timesteps(timesteps=list(timesteps))

    def step(
        self, i: int, output: Tensor, variance: Tensor | None, x: Tensor, generator: Generators
    ) -> tuple[Tensor, Tensor]:
        if self.config.variance_type in LEARNED:
            if variance is None:
                raise ValueError(
                    f"variance_type {self.config.variance_type!r} needs the network's variance, which the "
                    "pipeline did not pass to step: call scheduler.take_variance_from(pipeline.transformer) first"
                )
            output = torch.cat([output, variance], dim=1)
        moved, x0 = self.ddpm.step(output, self.timesteps[i], x, generator=generator, return_dict=False)
        return moved, x0


class DPMSolverInner:
    """DPM-Solver++(2S), by diffusers' DPMSolverSinglestepScheduler."""

    def __init__(self, solver: DPMSolverSinglestepScheduler) -> None:
        self.solver = solver
        self.timesteps: Sequence[int] = ()

    def begin(self, timesteps: Sequence[int]) -> None:
        self.timesteps = timesteps
        self.solver.set_timesteps(timesteps=list(timesteps))
        self.solver.set_begin_index(0)

    def step(
        self, i: int, output: Tensor, variance: Tensor | None, x: Tensor, generator: Generators
    ) -> tuple[Tensor, Tensor]:
        moved = self.solver.step(output, self.timesteps[i], x, return_dict=False)[0]
        return moved, self.solver.model_outputs[-1]


def make_inner(config: Any, ddpm: DDPMScheduler, alpha_bars: Tensor, final: Tensor) -> InnerSolver:
    """The inner solver that a nested scheduler's config names; ``final``: the ᾱ an inner DDIM lands on."""
    if config.inner == "ddpm":
        return DDPMInner(config, ddpm)
    if config.inner == "ddim":
        return DDIMInner(config, ddpm, alpha_bars, final)
    return DPMSolverInner(
        DPMSolverSinglestepScheduler(
            num_train_timesteps=config.num_train_timesteps,
            trained_betas=ddpm.betas.tolist(),
            prediction_type=config.prediction_type,
            solver_order=2,
            algorithm_type="dpmsolver++",
            thresholding=config.thresholding,
            dynamic_thresholding_ratio=config.dynamic_thresholding_ratio,
            sample_max_value=config.sample_max_value,
            lower_order_final=config.lower_order_final or config.set_alpha_to_one,  # diffusers' rule for "zero"
            final_sigmas_type="zero" if config.set_alpha_to_one else "sigma_min",
        )
    )
