"""DDRM: posterior sampling in the spectral domain of the degradation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from degradations import Measurement
from solvers.ddim import fingerprint
from solvers.noise import NoiseSource
from solvers.protocols import Prior
from solvers.schedule import NoiseSchedule


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


class DDRM:
    """Sample from p(x₀ | y) for a linear measurement, one spectral component at a time.

    A step costs one network evaluation, one Vᵀ, one V and elementwise work. x̂₀ is never clipped.

    Args:
        prior: the denoiser.
        measurement: what was measured, in the prior's [-1, 1] units (``Measurement.in_model_units()``).
        eta: stochasticity where the measurement says little, 0 … 1.
        eta_b: trust in the measurement where it is less noisy than the step, 0 … 1; with 1 and a noiseless
            measurement the result reproduces it exactly.

    Raises:
        ValueError: eta out of range, or a measurement of images of another shape than the prior's.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022.
    """

    def __init__(self, prior: Prior, measurement: Measurement, eta: float = 0.85, eta_b: float = 1.0) -> None:
        for name, value in (("eta", eta), ("eta_b", eta_b)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1: got {value}")
        if measurement.operator.image_shape != tuple(prior.image_shape):
            raise ValueError(
                f"measurement must be of images shaped as the prior's, {tuple(prior.image_shape)}: "
                f"got {measurement.operator.image_shape}"
            )
        self.prior = prior
        self.measurement = measurement
        self.eta, self.eta_b = float(eta), float(eta_b)
        self._ybar = measurement.operator.whiten(measurement.y).float()
        # Singular values repeat: coefficients are computed once a distinct (σ_y, s), in float64, and looked up.
        s, which = torch.unique(measurement.operator.singular_values, return_inverse=True)
        s, sigma = s.double().cpu(), torch.as_tensor(measurement.sigma, dtype=torch.float64).cpu().reshape(-1, 1)
        self._nu = torch.where(s > 0, sigma / torch.where(s > 0, s, 1), torch.inf).flatten()
        rows = torch.arange(len(sigma), device=which.device).reshape(-1, 1, 1, 1) * len(s)
        self._which = (which + rows).int()

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    def initial(self, k: int, noise: NoiseSource) -> Tensor:
        """x_k ~ q(x_k | y), (B, C, H, W): the measurement where it is less noisy than level k, else noise.

        Source: DDRM, equation 7, with mean 0 where y says nothing.
        """
        sigma = self.schedule.sigma(k)
        heard = (self._nu <= sigma).double()
        spread = (sigma**2 - heard * torch.where(heard > 0, self._nu, 0) ** 2).clamp(min=0).sqrt()
        mean, scale = self._look_up(heard, spread)
        z = mean * self._ybar + scale * noise.normal(self._ybar.shape)
        return self.measurement.operator.V(z) * math.sqrt(self.schedule.alpha_bar(k))

    def sample(self, x_k: Tensor, k: int, n: int, noise: NoiseSource) -> Iterator[Tensor]:
        """x̂₀ after each of n evaluations from x_k at level k; the last is x₀."""
        return self.follow(x_k, self.schedule.steps(k, n), noise)

    def follow(self, x: Tensor, levels: Sequence[int], noise: NoiseSource) -> Iterator[Tensor]:
        """As :meth:`sample`, along given falling levels; x is at the first of them."""
        V, Vt, schedule = self.measurement.operator.V, self.measurement.operator.Vt, self.schedule
        z = Vt(x / math.sqrt(schedule.alpha_bar(levels[0])))
        for k, k_next in pairwise((*levels, 0)):
            with torch.no_grad():
                x0 = self.prior.denoise(x, k)
            if k_next:
                yield x0
            z = self._update(z, Vt(x0), schedule.sigma(k), schedule.sigma(k_next), noise)
            x = math.sqrt(schedule.alpha_bar(k_next)) * V(z)
        yield x

    @torch.no_grad()
    def preview(self, x0: Tensor) -> Tensor:
        """An unfinished run's x̂₀ drawn towards the measurement on the range, image by image.

        With r² = max(mean((ȳ − ẑ₀)² − ν²), 0), the estimate's own error on the range, the range component
        becomes ẑ₀ + r²/(r² + ν²)(ȳ − ẑ₀); for ν = 0 that is ȳ.
        """
        known = self._nu.isfinite().double()
        is_known, variance = self._look_up(known, torch.where(known > 0, self._nu, 0) ** 2)
        residual = is_known * (self._ybar - self.measurement.operator.Vt(x0))
        excess = (residual**2 - is_known * variance).sum(dim=(1, 2, 3), keepdim=True)
        count = is_known.expand_as(x0).sum(dim=(1, 2, 3), keepdim=True)
        r2 = (excess / count.clamp(min=1)).clamp(min=0)
        weight = torch.where(variance > 0, r2 / (r2 + variance).clamp(min=torch.finfo(r2.dtype).tiny), 1)
        return x0 + self.measurement.operator.V(weight * residual)

    @torch.no_grad()
    def _update(self, z: Tensor, z0: Tensor, sigma: float, sigma_next: float, noise: NoiseSource) -> Tensor:
        a, b, c, d = self._look_up(*ddrm_coefficients(sigma, sigma_next, self._nu, self.eta, self.eta_b))
        moved = (a * z0).addcmul_(b, z).addcmul_(c, self._ybar)
        return moved.addcmul_(d, noise.normal(z.shape)) if sigma_next else moved

    def _look_up(self, *tables: Tensor) -> tuple[Tensor, ...]:
        """Each table's values for distinct ν as values for spectral components, in the state's dtype."""
        values = torch.stack(tables).to(self._ybar.device, self._ybar.dtype)
        chosen = values.index_select(1, self._which.flatten())  # several times faster than values[:, which]
        return chosen.view(len(tables), *self._which.shape).unbind()

    def take(self, index: int) -> DDRM:
        """The process of one image of the batch."""
        return DDRM(self.prior, self.measurement.take(index), self.eta, self.eta_b)

    def fingerprint(self) -> str:
        """SHA-256 of prior, schedule, measurement, η and η_b."""
        return fingerprint("DDRM", self.prior, self.measurement.fingerprint(), self.eta, self.eta_b)
