"""FIRE: renoise so that the network meets just the noise that it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from solvers.noise import NoiseSource
from solvers.posteriors.spectral import Spectral
from solvers.schedule import Spacing


class FIRE(Spectral):
    """Samples by iterative colored renoising, one spectral component at a time.

    DDRM adds noise of variance σ'² to an x̂₀ that has an error of variance v of its own, so that the network meets
    more noise than it is told. Here what is known is combined first, and only the rest is added:

    =====================  ==========================================================================
    ν ≤ σ, or null space   m = ẑ₀ + v/(v + ν²) (ȳ − ẑ₀), then m + √max(σ'² − v ν²/(v + ν²), 0) ξ
    ν > σ                  ẑ₀ + √(1−η²) σ' (z − ẑ₀)/σ + η σ' ξ: z holds y already
    =====================  ==========================================================================

    v is the estimate's own error: the mean of (ȳ − ẑ₀)² − ν² over components with ν ≤ σ, an image, at most σ².
    With a noiseless measurement the last step returns ȳ exactly.

    Source: Bendel, Shastri, Ahmad and Schniter, *Solving Inverse Problems using Diffusion with Iterative Colored
    Renoising*, 2025, whose linear step is elementwise in this basis; v from the residual is ours.
    """

    @dataclass(frozen=True)
    class Settings(Spectral.Settings):
        """FIRE's choices.

        Args:
            eta: stochasticity where the measurement is noisier than the step, 0 … 1.
            grid: how the levels of a run are spread.
        """

        eta: float = 0.0
        grid: Spacing = field(default="log", kw_only=True)

        def __post_init__(self) -> None:
            Spectral.Settings.__post_init__(self)
            if not 0 <= self.eta <= 1:
                raise ValueError(f"eta must be from 0 to 1: got {self.eta}")

    settings: FIRE.Settings

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """z' as in the table above."""
        sigma, sigma_next, eta = self.schedule.sigma(k), self.schedule.sigma(k_next), self.settings.eta
        null = self.nu.isinf()
        heard = (self.nu <= sigma) & ~null
        is_heard, is_null, variance = self.look_up(
            heard.double(), null.double(), torch.where(heard, self.nu, 0) ** 2
        )
        residual = is_heard * (self.ybar - z0)
        count = is_heard.expand_as(z0).sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        v = ((residual**2 - is_heard * variance).sum(dim=(1, 2, 3), keepdim=True) / count).clamp(0, sigma**2)
        gain = torch.where(variance > 0, v / (v + variance).clamp(min=torch.finfo(v.dtype).tiny), 1)
        m = z0 + gain * residual
        if not k_next:
            return m
        added = (sigma_next**2 - is_heard * gain * variance - is_null * v).clamp(min=0).sqrt()
        ours = is_heard + is_null
        kept = (1 - ours) * (math.sqrt(1 - eta**2) * sigma_next / sigma)
        spread = ours * added + (1 - ours) * (eta * sigma_next)
        return m.addcmul_(kept, z - z0).addcmul_(spread, noise.normal(z.shape))
