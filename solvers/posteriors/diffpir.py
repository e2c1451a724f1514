"""DiffPIR: plug-and-play restoration by a proximal step on every estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from solvers.noise import NoiseSource
from solvers.posteriors.spectral import Spectral
from solvers.schedule import Spacing


class DiffPIR(Spectral):
    """Moves every estimate to where prior and measurement agree, and renoises that.

    With ẑ₀ the network's estimate at noise σ, v = σ²/λ and m = ẑ₀ + v/(v + ν²) (ȳ − ẑ₀), which is its proximal step
    in closed form, z' = m + σ' (√(1−ζ) (z − m)/σ + √ζ ξ). On the null space m is ẑ₀; a noiseless measurement is met
    exactly. Runs start from level K.

    Source: Zhu et al., *Denoising Diffusion Models for Plug-and-Play Image Restoration*, 2023, algorithm 1.
    """

    @dataclass(frozen=True)
    class Settings(Spectral.Settings):
        """DiffPIR's choices, by default those of its paper.

        Args:
            lam: λ, above 0: the larger, the more the prior is believed.
            zeta: ζ, 0 … 1: the share of new noise.
            grid: how the levels of a run are spread.
        """

        lam: float = 7.0
        zeta: float = 0.3
        grid: Spacing = field(default="log", kw_only=True)

        def __post_init__(self) -> None:
            Spectral.Settings.__post_init__(self)
            if not 0 < self.lam < math.inf:
                raise ValueError(f"lam must be above 0: got {self.lam}")
            if not 0 <= self.zeta <= 1:
                raise ValueError(f"zeta must be from 0 to 1: got {self.zeta}")

    settings: DiffPIR.Settings

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """z' as above."""
        sigma, sigma_next = self.schedule.sigma(k), self.schedule.sigma(k_next)
        v = sigma**2 / self.settings.lam
        (weight,) = self.look_up(torch.where(self.nu.isinf(), 0, v / (v + self.nu**2)))
        m = z0 + weight * (self.ybar - z0)
        if not k_next:
            return m
        kept, new = math.sqrt(1 - self.settings.zeta), math.sqrt(self.settings.zeta)
        return m + sigma_next * (kept / sigma * (z - m) + new * noise.normal(z.shape))
