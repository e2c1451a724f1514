"""A prior whose every posterior is known in closed form: the ground truth of the tests."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from solvers import NoiseSchedule
from solvers.prior import per_image


class GaussianPrior:
    """x₀ ~ N(mean, covariance), with the exact E[x₀ | x_k].

    Args:
        mean: (C, H, W), on the [-1, 1] scale.
        covariance: (d, d) with d = C·H·W, symmetric and positive semi-definite.
        schedule: noise levels; None means ``NoiseSchedule.linear()``.

    Raises:
        ValueError: shapes that do not fit, or a matrix that is no covariance.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, schedule: NoiseSchedule | None = None) -> None:
        if mean.ndim != 3:
            raise ValueError(f"mean must be (C, H, W): got {tuple(mean.shape)}")
        d = mean.numel()
        if covariance.shape != (d, d):
            raise ValueError(f"covariance must be ({d}, {d}) for a mean of {d}: got {tuple(covariance.shape)}")
        sigma = covariance.double()
        if not torch.allclose(sigma, sigma.mT):
            raise ValueError("covariance must be symmetric")
        variances, axes = torch.linalg.eigh(sigma)
        if float(variances.min()) < -1e-5 * float(variances.max()) - 1e-30:  # beyond float32 rounding
            raise ValueError(
                f"covariance must be positive semi-definite: least eigenvalue {float(variances.min())}"
            )
        channels, height, width = mean.shape
        self.image_shape = (channels, height, width)
        self.schedule = schedule or NoiseSchedule.linear()
        self.device = mean.device
        self.name = "gaussian"
        self._digest = hashlib.sha256(
            mean.cpu().double().numpy().tobytes() + sigma.cpu().numpy().tobytes()
        ).hexdigest()
        self._mean = mean.double().flatten()
        self._variances, self._axes = variances.clamp(min=0), axes

    def fingerprint(self) -> str:
        """SHA-256 of mean and covariance."""
        return self._digest

    def rmse(self, k: int) -> float:
        """x̂₀'s RMSE at level k, exact, on the [-1, 1] scale."""
        variance = self.schedule.sigma(k) ** 2
        return float((self._variances * variance / (self._variances + variance)).mean().sqrt())

    @torch.no_grad()
    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """E[x₀ | x_k] = μ + √ᾱ Σ (ᾱ Σ + (1−ᾱ) I)⁻¹ (x_k − √ᾱ μ), computed in float64, in x_k's dtype."""
        flat = x_k.flatten(1).double()
        alpha_bar = per_image(k, self.schedule.alpha_bars, flat)
        root = alpha_bar**0.5
        gain = root * self._variances / (alpha_bar * self._variances + 1 - alpha_bar)
        centred = flat - root * self._mean
        x0: Tensor = self._mean + ((centred @ self._axes) * gain) @ self._axes.mT
        return x0.reshape(x_k.shape).to(x_k.dtype)

    def denoise_at(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x₀ + σ ε = x] = μ + Σ (Σ + σ² I)⁻¹ (x − μ), for σ > 0 an image (B,); with gradients."""
        gain = self._variances / (self._variances + sigma.to(self._variances).reshape(-1, 1) ** 2)
        centred = x.flatten(1).double() - self._mean
        x0: Tensor = self._mean + ((centred @ self._axes) * gain) @ self._axes.mT
        return x0.reshape(x.shape).to(x.dtype)
