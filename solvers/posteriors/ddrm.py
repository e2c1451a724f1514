"""DDRM: posterior sampling in the spectral domain of the degradation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from degradations import Measurement
from solvers.noise import NoiseSource
from solvers.posteriors.spectral import Spectral
from solvers.prior import Prior
from solvers.schedule import Spacing


def ddrm_coefficients(
    sigma: float, sigma_next: float, nu: Tensor | float, eta: float, eta_b: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(a, b, c, d) of one DDRM step z' = a ẑ₀ + b z + c ȳ + d ξ, from noise σ to σ' (VE coordinates).

    ===================================  =====================================================
    null space (ν = ∞)                   ẑ₀ + √(1−η²) σ' (z − ẑ₀)/σ + η σ' ξ
    σ' < ν                               ẑ₀ + √(1−η²) σ' (ȳ − ẑ₀)/ν + η σ' ξ
    σ' ≥ ν                               (1−η_b) ẑ₀ + η_b ȳ + √(σ'² − η_b² ν²) ξ
    ===================================  =====================================================

    Args:
        sigma, sigma_next: σ > 0 and σ' ≥ 0, in the units of the images ([-1, 1] for networks).
        nu: ν = σ_y/s, the measurement's noise in each spectral component, any shape; ∞ on the null space.
        eta, eta_b: 0 … 1.

    Returns:
        Four float64 tensors shaped as ``nu``, finite everywhere.

    Source: Kawar et al., DDRM, 2022, equation 8.
    """
    nu = torch.as_tensor(nu, dtype=torch.float64)
    null = nu.isinf()
    noisier = (nu > sigma_next) & ~null
    follows = (nu <= sigma_next).double()
    keep = math.sqrt(1 - eta**2) * sigma_next
    b = null.double() * (keep / sigma)
    c = torch.where(noisier, keep / torch.where(noisier, nu, 1), follows * eta_b)
    remaining = sigma_next**2 - eta_b**2 * torch.where(null, 0, nu) ** 2
    d = torch.where(follows > 0, remaining.clamp(min=0).sqrt(), eta * sigma_next)
    return 1 - b - c, b, c, d


class DDRM(Spectral):
    """Sample from p(x₀ | y) for a linear measurement, one spectral component at a time.

    A step costs one network evaluation, one Vᵀ, one V and elementwise work. x̂₀ is never clipped.

    Args:
        prior: the denoiser.
        measurement: what was measured, in the prior's [-1, 1] units (``Measurement.in_model_units()``).
        eta: stochasticity where the measurement says little, 0 … 1.
        eta_b: trust in the measurement where it is less noisy than the step, 0 … 1; with 1 and a noiseless
            measurement the result reproduces it exactly.
        grid: how the levels of a run are spread, as in ``NoiseSchedule.steps``.

    Raises:
        ValueError: eta out of range, or a measurement of images of another shape than the prior's.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022.
    """

    @dataclass(frozen=True)
    class Settings(Spectral.Settings):
        """DDRM's choices, by default those of its paper.

        Args:
            eta, eta_b: as there, 0 … 1.
            grid: how the levels of a run are spread.
        """

        eta: float = 0.85
        eta_b: float = 1.0
        grid: Spacing = field(default="linspace", kw_only=True)

        def __post_init__(self) -> None:
            Spectral.Settings.__post_init__(self)
            for name, value in (("eta", self.eta), ("eta_b", self.eta_b)):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name} must be from 0 to 1: got {value}")

    settings: DDRM.Settings

    def __init__(
        self,
        prior: Prior,
        measurement: Measurement,
        eta: float = Settings.eta,
        eta_b: float = Settings.eta_b,
        grid: Spacing = Settings.grid,
    ) -> None:
        super().__init__(prior, measurement, DDRM.Settings(float(eta), float(eta_b), grid=grid))

    @classmethod
    def of(cls, prior: Prior, measurement: Measurement, settings: DDRM.Settings) -> Self:
        """The sampler with those settings."""
        return cls(prior, measurement, settings.eta, settings.eta_b, settings.grid)

    @property
    def eta(self) -> float:
        """As given."""
        return self.settings.eta

    @property
    def eta_b(self) -> float:
        """As given."""
        return self.settings.eta_b

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """z' = a ẑ₀ + b z + c ȳ + d ξ, by :func:`ddrm_coefficients`."""
        sigma, sigma_next = self.schedule.sigma(k), self.schedule.sigma(k_next)
        a, b, c, d = self.look_up(*ddrm_coefficients(sigma, sigma_next, self.nu, self.eta, self.eta_b))
        moved = (a * z0).addcmul_(b, z).addcmul_(c, self.ybar)
        return moved.addcmul_(d, noise.normal(z.shape)) if k_next else moved
