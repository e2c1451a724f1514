"""A prior as a deepinv denoiser, and a deepinv denoiser as a prior."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any, TypeGuard

import torch
from deepinv.models import Denoiser, DiffUNet, DRUNet
from torch import Tensor

from degradations.operator import checked_shape
from solvers import NoiseSchedule, Prior
from solvers.prior import per_image
from solvers.units import from_model, to_model

KNOWN_RANGES: dict[type, tuple[float, float]] = {DRUNet: (0.0, 50 / 255), DiffUNet: (0.0, math.inf)}
"""σ on the [0, 1] scale that they were trained for, by their papers (Zhang et al., 2021; Choi et al., 2021)."""


def as_denoiser(prior: Prior) -> PriorDenoiser:
    """Our prior for deepinv's samplers: ``denoiser(x, sigma)``, x and σ in [0, 1] units."""
    return PriorDenoiser(prior)


class PriorDenoiser(Denoiser):  # type: ignore[misc]  # deepinv is untyped
    """E[x₀ | x₀ + σ ε = x] on the [0, 1] scale; one evaluation, with gradients where the prior gives them.

    σ is 2σ on the prior's [-1, 1] scale. A prior with a ``denoise_at`` (``DiffusionPrior``, ``GaussianPrior``)
    takes any σ; one of whole levels only is evaluated at both neighbours, and what it answers is interpolated in
    log σ. At σ = 0 the answer is x.

    Args:
        prior: e.g. ``load_prior("faces-64")``; its network becomes a submodule.

    Raises:
        TypeError: no prior.
    """

    def __init__(self, prior: Prior) -> None:
        if not is_prior(prior):
            raise TypeError(
                f"prior must have schedule, image_shape and denoise(x_k, k): got {type(prior).__name__}"
            )
        super().__init__()
        self.prior = prior
        register_network(self, prior)

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        """Denoise images.

        Args:
            x: (B, C, H, W) with noise, [0, 1] but for that.
            sigma: the noise's standard deviation: a number, or (B,).

        Raises:
            ValueError: a σ that is negative, not finite, or of another shape.
        """
        noise = 2 * checked_sigma(sigma, x)
        safe = torch.where(noise > 0, noise, 1)
        at = getattr(self.prior, "denoise_at", None)
        x0 = at(to_model(x), safe) if at else between_levels(self.prior, to_model(x), safe)
        noisy = (noise > 0).to(x.device).reshape(-1, 1, 1, 1)
        return torch.where(noisy, from_model(x0).to(x), x)


def between_levels(prior: Prior, x: Tensor, sigma: Tensor) -> Tensor:
    """x̂₀ from x = x₀ + σ ε by a prior of whole levels: linear in log σ between the two around σ (B,)."""
    x0 = torch.empty_like(x)
    for value in sorted(set(sigma.tolist())):
        rows, level = sigma == value, float(prior.schedule.level(sigma.new_tensor(value)))
        below = min(math.floor(level + 1e-9), prior.schedule.K)  # float32 σ may miss its level by rounding
        share = max(level - below, 0.0)
        x0[rows] = (1 - share) * prior.denoise(math.sqrt(prior.schedule.alpha_bar(below)) * x[rows], below).to(x)
        if share > 0:
            above = prior.denoise(math.sqrt(prior.schedule.alpha_bar(below + 1)) * x[rows], below + 1)
            x0[rows] += share * above.to(x)
    return x0


def checked_sigma(sigma: float | Tensor, x: Tensor) -> Tensor:
    """σ as float64 (B,) on the CPU; ValueError where it is no σ."""
    values = torch.as_tensor(sigma).detach().cpu().double().flatten()
    if len(values) not in (1, len(x)):
        raise ValueError(f"sigma must be a number, or one for each of {len(x)} images: got {len(values)}")
    if not bool(values.isfinite().all()) or bool((values < 0).any()):
        raise ValueError(f"sigma must be finite and ≥ 0: got {sigma}")
    return values.expand(len(x))


def from_denoiser(
    denoiser: torch.nn.Module,
    image_shape: Sequence[int],
    sigma_range: tuple[float, float] | None = None,
    schedule: NoiseSchedule | None = None,
) -> DenoiserPrior:
    """A deepinv denoiser as a prior for our solvers: x̂₀ = 2 D((x_k/√ᾱ_k + 1)/2, σ_k/2) − 1.

    Args:
        denoiser: ``denoiser(x, sigma)`` on the [0, 1] scale.
        image_shape: (C, H, W) of one image.
        sigma_range: (lowest, highest) σ on the [0, 1] scale that it was trained for. The schedule ends at the
            highest: a run starts there, from q(x | y). Below the lowest it is told the lowest. Known for DRUNet
            (up to 50/255) and DiffUNet (any).
        schedule: noise levels; None means ``NoiseSchedule.linear()``.

    Raises:
        TypeError: no module.
        ValueError: a range that is not known, empty, or below the schedule's first level.
    """
    return DenoiserPrior(denoiser, image_shape, sigma_range, schedule)


class DenoiserPrior:
    """What :func:`from_denoiser` makes: its arguments are there."""

    def __init__(
        self,
        denoiser: torch.nn.Module,
        image_shape: Sequence[int],
        sigma_range: tuple[float, float] | None = None,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        self.name = type(denoiser).__name__
        if not isinstance(denoiser, torch.nn.Module):
            raise TypeError(f"denoiser must be a module called as denoiser(x, sigma): got {self.name}")
        self.denoiser = denoiser
        self.image_shape = checked_shape("image_shape", image_shape)
        self.lowest, highest = checked_range(denoiser, sigma_range)
        self.schedule = up_to(schedule or NoiseSchedule.linear(), 2 * highest)

    @property
    def device(self) -> torch.device:
        """Where the denoiser's tensors lie; AttributeError where it has none."""
        for tensor in chain(self.denoiser.parameters(), self.denoiser.buffers()):
            return tensor.device
        raise AttributeError("device")

    def fingerprint(self) -> str:
        """Equal for denoisers of one class, range and weights, as these were when it was first asked for."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self.name} {self.lowest}".encode())
        for name, tensor in self.denoiser.state_dict().items():
            digest.update(
                name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()

    @torch.no_grad()
    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) float32 from x_k at level k = 1 … K, or (B,) levels; clipped if the denoiser clips."""
        alpha_bars = self.schedule.alpha_bars
        sigmas = (((1 - alpha_bars) / alpha_bars).sqrt() / 2).clamp(min=self.lowest)
        sigma = per_image(k, sigmas, x_k)
        x = from_model(x_k / per_image(k, alpha_bars.sqrt(), x_k))
        weights = next((w for w in self.denoiser.parameters() if w.is_floating_point()), x)
        x0: Tensor = self.denoiser(x.to(weights.dtype), sigma.flatten() if isinstance(sigma, Tensor) else sigma)
        return to_model(x0.float())


def checked_range(denoiser: torch.nn.Module, sigma_range: tuple[float, float] | None) -> tuple[float, float]:
    """The range given, or known for the denoiser's class; ValueError otherwise."""
    if sigma_range is None:
        sigma_range = next((known for kind, known in KNOWN_RANGES.items() if isinstance(denoiser, kind)), None)
    if sigma_range is None:
        raise ValueError(
            f"sigma_range must be given for {type(denoiser).__name__}: (lowest, highest) σ it was trained for, in "
            "[0, 1] units"
        )
    lowest, highest = (float(bound) for bound in sigma_range)
    if not 0 <= lowest < highest:
        raise ValueError(f"sigma_range must be (lowest, highest) with 0 ≤ lowest < highest: got {sigma_range}")
    return lowest, highest


def up_to(schedule: NoiseSchedule, sigma: float) -> NoiseSchedule:
    """The schedule's levels whose σ_k, on the [-1, 1] scale, is at most σ."""
    levels = int((schedule.sigma(range(1, schedule.K + 1)) <= sigma).sum())
    if levels == 0:
        raise ValueError(
            f"sigma_range must reach the schedule's first level, {schedule.sigma(1) / 2:.2g}: got {sigma / 2:.2g}"
        )
    return NoiseSchedule.from_alpha_bar(schedule.alpha_bars[1 : levels + 1])


def is_prior(thing: object) -> TypeGuard[Prior]:
    """Whether it has what solvers ask of a prior."""
    return all(hasattr(thing, name) for name in ("schedule", "image_shape", "denoise"))


def register_network(module: torch.nn.Module, prior: Prior) -> None:
    """Make the prior's network, or that of the prior inside it, move and count with a module."""
    for name in ("network", "denoiser"):
        if isinstance(network := getattr(prior, name, None), torch.nn.Module):
            module.network = network
    if is_prior(inner := getattr(prior, "prior", None)):
        register_network(module, inner)
