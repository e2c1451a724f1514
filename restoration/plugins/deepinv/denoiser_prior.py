"""A deepinv denoiser as a prior."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import chain

import torch
from deepinv.models import ADMUNet, DiffUNet, DRUNet, NCSNpp
from torch import Tensor

from degradations.operator import checked_shape
from restoration.priors.diffusion import versions
from solvers import NoiseSchedule
from solvers.prior import per_image
from solvers.units import from_model, to_model

KNOWN_RANGES: dict[type, tuple[float, float]] = {
    DRUNet: (0.0, 50 / 255),
    DiffUNet: (0.0, math.inf),
    NCSNpp: (0.001, 40.0),
    ADMUNet: (0.001, 40.0),
}
"""σ on the [0, 1] scale that they were trained for, by their papers: Zhang et al., 2021; Choi et al., 2021; Karras
et al., 2022, table 1, 0.002 … 80 on the [-1, 1] scale."""


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
            (up to 50/255), DiffUNet (any), NCSNpp and ADMUNet (0.001 to 40, as EDM's weights).
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
        self.lowest, self.highest = checked_range(denoiser, sigma_range)
        self.schedule = up_to(schedule or NoiseSchedule.linear(), 2 * self.highest)
        self._hashed: tuple[tuple[tuple[int, int], ...], str] | None = None

    @property
    def device(self) -> torch.device:
        """Where the denoiser's tensors lie; AttributeError where it has none."""
        for tensor in chain(self.denoiser.parameters(), self.denoiser.buffers()):
            return tensor.device
        raise AttributeError("device")

    def fingerprint(self) -> str:
        """Equal for denoisers of one class, range and weights; hashed again once these have changed."""
        now = versions(self.denoiser)
        if self._hashed is None or self._hashed[0] != now:
            self._hashed = (now, self._digest())
        return self._hashed[1]

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
        return self._answer(x, sigma.flatten() if isinstance(sigma, Tensor) else sigma)

    def denoise_at(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) float32 from x = x₀ + σ ε, with gradients in both.

        The denoiser is told σ cut to its range.

        Args:
            x: variance exploding, on the [-1, 1] scale.
            sigma: (B,), above 0, on the [-1, 1] scale.
        """
        return self._answer(from_model(x), (sigma / 2).clamp(self.lowest, self.highest).to(x))

    def _answer(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        weights = next((w for w in self.denoiser.parameters() if w.is_floating_point()), x)
        x0: Tensor = self.denoiser(x.to(weights.dtype), sigma)
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
