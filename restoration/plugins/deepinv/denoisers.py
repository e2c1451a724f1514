"""A prior as a deepinv denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, TypeGuard

import torch
from deepinv.models import Denoiser
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from restoration.priors.tiled import TiledPrior
from solvers import Prior
from solvers.units import from_model, to_model


def as_denoiser(prior: Prior) -> PriorDenoiser:
    """Our prior for deepinv's samplers: ``denoiser(x, sigma)``, x and σ in [0, 1] units."""
    return PriorDenoiser(prior)


class PriorDenoiser(Denoiser):  # type: ignore[misc]  # deepinv is untyped
    """E[x₀ | x₀ + σ ε = x] on the [0, 1] scale; one evaluation, with gradients where the prior gives them.

    σ is 2σ on the prior's [-1, 1] scale. A prior with a ``denoise_at`` (``DiffusionPrior``, ``GaussianPrior``)
    takes any σ; one of whole levels only is evaluated at both neighbours, and what it answers is interpolated in
    log σ. At σ = 0 the answer is x. Images of any size are taken: larger ones than the prior's in tiles
    (:class:`TiledPrior`), smaller ones are reflected at their right and lower borders.

    Args:
        prior: e.g. ``load_prior("faces-64")``; its network becomes a submodule. ``load_prior`` freezes weights:
            call ``requires_grad_()`` on this module to train them.

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
            x: (B, C, H, W) with noise, [0, 1] but for that; C as the prior's, any H and W.
            sigma: the noise's standard deviation: a number, or (B,).

        Returns:
            (B, C, H, W), with gradients in x and σ, also under ``torch.func``.

        Raises:
            ValueError: a σ that is negative, not finite, or of another shape; images of other channels.
        """
        channels, height, width = self.prior.image_shape
        if x.ndim != 4 or x.shape[1] != channels or 0 in x.shape:
            raise ValueError(f"x must be (B, {channels}, H, W), of the prior's channels: got {tuple(x.shape)}")
        noise = 2 * checked_sigma(sigma, x)
        safe = torch.where(noise > 0, noise, 1)
        model = to_model(x)
        if tuple(x.shape[1:]) != (channels, height, width):
            _, height, width = window_of(self.prior)
            model = reflected(model, max(height, x.shape[2]), max(width, x.shape[3]))
        prior = resized(self.prior, model.shape[1:])
        at = getattr(prior, "denoise_at", None)
        with sdpa_kernel(SDPBackend.MATH) if has_tangent(x, noise) else nullcontext():  # others have no jvp
            x0 = at(model, safe) if at else between_levels(prior, model, safe)
        x0 = x0[..., : x.shape[2], : x.shape[3]]
        noisy = (noise > 0).to(x.device).reshape(-1, 1, 1, 1)
        return torch.where(noisy, from_model(x0).to(x), x)


def window_of(prior: Prior) -> tuple[int, int, int]:
    """(C, H, W) of the smallest images a prior can be had for."""
    return prior.prior.image_shape if isinstance(prior, TiledPrior) else prior.image_shape


def resized(prior: Prior, image_shape: Sequence[int]) -> Prior:
    """The prior for images of another size, at least its window's, tiled as it was."""
    if tuple(image_shape) == tuple(prior.image_shape):
        return prior
    if isinstance(prior, TiledPrior):
        return TiledPrior(prior.prior, image_shape, prior.overlap, prior.tile_batch, prior.shift)
    return TiledPrior(prior, image_shape)


def reflected(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) as (B, C, height, width): mirrored about its last row and column, as often as needed."""

    def indices(side: int, wanted: int) -> Tensor:
        period = max(2 * (side - 1), 1)
        folded = torch.arange(wanted, device=x.device) % period
        return torch.minimum(folded, period - folded) if side > 1 else torch.zeros_like(folded)

    return x[..., indices(x.shape[2], height)[:, None], indices(x.shape[3], width)]


def between_levels(prior: Prior, x: Tensor, sigma: Tensor) -> Tensor:
    """x̂₀ from x = x₀ + σ ε by a prior of whole levels: linear in log σ between the two around σ (B,)."""
    schedule, answers, order = prior.schedule, [], []
    levels = schedule.level(sigma)
    told = levels.detach().tolist()
    for value in sorted(set(told)):
        rows = [i for i, level in enumerate(told) if level == value]
        below = min(math.floor(value + 1e-9), schedule.K)  # float32 σ may miss its level by rounding
        share = (levels[rows] - below).clamp(min=0).to(x).reshape(-1, 1, 1, 1)

        def ask(k: int) -> Tensor:
            x_k = math.sqrt(schedule.alpha_bar(k)) * x[rows]  # noqa: B023  # called in this round only
            return refusing_gradients(prior.denoise(x_k, k), x_k, prior).to(x)

        x0 = (1 - share) * ask(below)
        answers.append(x0 + share * ask(below + 1) if value > below else x0)
        order += rows
    back = torch.tensor(order).argsort().to(x.device)
    return torch.cat(answers)[back]


class _Undifferentiable(torch.autograd.Function):
    """The identity on an answer x̂₀ that does not depend on x as far as autograd knows: differentiating raises."""

    @staticmethod
    def forward(x0: Tensor, x: Tensor, why: str) -> Tensor:
        return x0.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
        ctx.why = inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(ctx.why)


def has_tangent(*tensors: Tensor) -> bool:
    """Whether forward-mode differentiation, as by ``torch.func.jvp``, passes through one of them."""
    return any(
        forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]
        for tensor in tensors
    )


def refusing_gradients(x0: Tensor, x: Tensor, prior: Prior) -> Tensor:
    """x̂₀; where it lost its way back to x, an error for whoever differentiates it, in place of zeros."""
    if x0.requires_grad or has_tangent(x0) or not x.requires_grad:
        return x0
    why = (
        f"{type(prior).__name__} gives no gradients: its denoise is computed without them; "
        "give it a denoise_at(x, sigma) that is not"
    )
    answer: Tensor = _Undifferentiable.apply(x0, x, why)
    return answer


def checked_sigma(sigma: float | Tensor, x: Tensor) -> Tensor:
    """σ as float64 (B,) on the CPU, with its gradient; ValueError where it is no σ."""
    values = torch.as_tensor(sigma).cpu().double().flatten()
    if len(values) not in (1, len(x)):
        raise ValueError(f"sigma must be a number, or one for each of {len(x)} images: got {len(values)}")
    if not bool(values.isfinite().all()) or bool((values < 0).any()):
        raise ValueError(f"sigma must be finite and ≥ 0: got {sigma}")
    return values.expand(len(x))


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
