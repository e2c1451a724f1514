"""DDIM: the paper's Algorithm 1, and the inner process of its Algorithm 2."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from solvers.noise import NoiseSource
from solvers.protocols import Prior
from solvers.schedule import NoiseSchedule


@torch.no_grad()
def ddim_update(
    x: Tensor, x0: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float = 0.0, xi: Tensor | None = None
) -> Tensor:
    """x at the next level: √ᾱ' x̂₀ + √(1−ᾱ'−s²) ε̂ + s ξ, with ε̂ = (x − √ᾱ x̂₀)/√(1−ᾱ).

    s = η √((1−ᾱ')/(1−ᾱ)) √(1−ᾱ/ᾱ'). With ᾱ' = 1 it is x̂₀ itself. ``xi``: standard normal, needed for η > 0.
    Source: Song et al., DDIM, 2021, equations 12 and 16.
    """
    if alpha_bar_next == 1:
        return x0
    spread = eta * math.sqrt((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next))
    toward_x = math.sqrt((1 - alpha_bar_next - spread**2) / (1 - alpha_bar))
    moved = (math.sqrt(alpha_bar_next) - toward_x * math.sqrt(alpha_bar)) * x0 + toward_x * x
    return moved if xi is None else moved + spread * xi


class DDIM:
    """Unconditional sampling, deterministic for η = 0, ancestral (DDPM's variance) for η = 1.

    Args:
        prior: the denoiser.
        eta: 0 … 1.

    Source: Song et al., DDIM, 2021; Elata et al., Nested Diffusion, 2024, Algorithm 1.
    """

    def __init__(self, prior: Prior, eta: float = 0.0) -> None:
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be from 0 to 1: got {eta}")
        self.prior = prior
        self.eta = float(eta)

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    def initial(self, k: int, noise: NoiseSource) -> Tensor:
        """Pure noise (B, C, H, W): where a run from a high level k starts."""
        return noise.normal((len(noise.seeds), *self.prior.image_shape))

    def sample(self, x_k: Tensor, k: int, n: int, noise: NoiseSource) -> Iterator[Tensor]:
        """x̂₀ after each of n evaluations from x_k at level k; the last is x₀."""
        return self.follow(x_k, self.schedule.steps(k, n), noise)

    def follow(self, x: Tensor, levels: Sequence[int], noise: NoiseSource) -> Iterator[Tensor]:
        """As :meth:`sample`, along given falling levels; x is at the first of them."""
        for k, k_next in pairwise((*levels, 0)):
            with torch.no_grad():
                x0 = self.prior.denoise(x, k)
            yield x0
            xi = noise.normal(x.shape) if self.eta and k_next else None
            x = ddim_update(x, x0, self.schedule.alpha_bar(k), self.schedule.alpha_bar(k_next), self.eta, xi)

    def preview(self, x0: Tensor) -> Tensor:
        """x̂₀ itself: nothing more is known before the run ends."""
        return x0

    def take(self, index: int) -> DDIM:
        """Itself: nothing in it belongs to one image."""
        return self

    def fingerprint(self) -> str:
        """SHA-256 of prior, schedule and η."""
        return fingerprint("DDIM", self.prior, self.eta)


def fingerprint(solver: str, prior: Prior, *settings: object) -> str:
    """SHA-256 of a solver's name, its prior (by its own ``fingerprint`` where it has one) and settings."""
    digest = hashlib.sha256(prior.schedule.alpha_bars.numpy().tobytes())
    identity = getattr(prior, "fingerprint", type(prior).__name__)
    digest.update(repr((solver, prior.image_shape, identity, settings)).encode())
    return digest.hexdigest()
