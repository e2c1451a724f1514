"""The noise schedule: how much noise an image holds at each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

Spacing = Literal["linspace", "log", "power", "ddrm"]
LOWEST_SIGMA = 0.01
"""Where ``"log"`` and ``"power"`` end, on the [-1, 1] scale: about a grey level of 8-bit pictures."""
KARRAS_POWER = 7.0
"""Of ``"power"``: levels are even in σ^(1/7). Source: Karras et al., 2022, equation 5."""


class NoiseSchedule:
    """Noise levels k = 0 … K in float64: x_k = √ᾱ_k x₀ + √(1−ᾱ_k) ε, with ᾱ₀ = 1 clean and ᾱ_K nearly noise.

    A DDPM network is called with t = k − 1. The noise-to-signal ratio σ_k = √((1−ᾱ_k)/ᾱ_k) is on the scale of
    the images, [-1, 1] for networks.

    Args:
        alpha_bars: ᾱ₀ = 1, ᾱ₁, …, ᾱ_K, strictly decreasing and positive. Use a named constructor.
    """

    def __init__(self, alpha_bars: Sequence[float] | Tensor) -> None:
        values = torch.as_tensor(alpha_bars, dtype=torch.float64).detach().cpu().clone()
        if values.ndim != 1 or len(values) < 2 or float(values[0]) != 1:
            raise ValueError("alpha_bars must be a sequence of at least two values that starts with 1")
        if not bool((values[1:] < values[:-1]).all()) or not float(values[-1]) > 0:
            raise ValueError("alpha_bars must decrease strictly and stay above 0")
        self.alpha_bars = values
        self.K = len(values) - 1
        # a step asks for several, one at a time
        self._alpha_bars: list[float] = values.tolist()
        self._sigmas: list[float] = ((1 - values) / values).sqrt().tolist()

    @classmethod
    def linear(cls, K: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """β evenly spaced from ``beta_start`` to ``beta_end``. Source: Ho et al., DDPM, 2020, section 4."""
        if not (K >= 1 and 0 < beta_start <= beta_end < 1):
            raise ValueError(
                f"linear needs K ≥ 1 and 0 < beta_start ≤ beta_end < 1: got {K}, {beta_start}, {beta_end}"
            )
        betas = torch.linspace(beta_start, beta_end, K, dtype=torch.float64)
        return cls.from_alpha_bar((1 - betas).cumprod(0))

    @classmethod
    def cosine(cls, K: int = 1000) -> NoiseSchedule:
        """Squared cosine, β at most 0.999. Source: Nichol and Dhariwal, 2021, equation 17."""
        if K < 1:
            raise ValueError(f"K must be at least 1: got {K}")
        signal = [math.cos((k / K + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(K + 1)]
        betas = [min(1 - after / before, 0.999) for before, after in pairwise(signal)]
        return cls.from_alpha_bar((1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0))

    @classmethod
    def from_alpha_bar(cls, values: Sequence[float] | Tensor) -> NoiseSchedule:
        """From ᾱ₁ … ᾱ_K (a leading ᾱ₀ = 1 is allowed)."""
        alpha_bars = torch.as_tensor(values, dtype=torch.float64).flatten()
        if len(alpha_bars) and float(alpha_bars[0]) != 1:
            alpha_bars = torch.cat([alpha_bars.new_ones(1), alpha_bars])
        return cls(alpha_bars)

    @overload
    def alpha_bar(self, k: int) -> float: ...
    @overload
    def alpha_bar(self, k: Sequence[int] | Tensor) -> Tensor: ...
    def alpha_bar(self, k: int | Sequence[int] | Tensor) -> float | Tensor:
        """ᾱ_k: a float for one level, float64 for several."""
        if type(k) is int and 0 <= k <= self.K:
            return self._alpha_bars[k]
        index = torch.as_tensor(k)
        if index.is_floating_point() or bool((index < 0).any()) or bool((index > self.K).any()):
            raise ValueError(f"k must be whole numbers from 0 to {self.K}: got {k}")
        values = self.alpha_bars[index.cpu()]
        return values if values.ndim else float(values)

    @overload
    def sigma(self, k: int) -> float: ...
    @overload
    def sigma(self, k: Sequence[int] | Tensor) -> Tensor: ...
    def sigma(self, k: int | Sequence[int] | Tensor) -> float | Tensor:
        """σ_k = √((1−ᾱ_k)/ᾱ_k): a float for one level, float64 for several."""
        if type(k) is int and 0 <= k <= self.K:
            return self._sigmas[k]
        alpha_bar = torch.as_tensor(self.alpha_bar(k), dtype=torch.float64)
        values = ((1 - alpha_bar) / alpha_bar).sqrt()
        return values if values.ndim else float(values)

    def level(self, sigma: Tensor) -> Tensor:
        """The level, between whole ones too, whose σ_k is σ: linear in log σ, and from 1 to K for any σ > 0.

        With gradients in σ, which are 0 outside the range.

        Args:
            sigma: any shape, on the scale of the images, above 0.

        Returns:
            float64, shaped as ``sigma``, on the CPU.
        """
        known = self.sigma(range(1, self.K + 1)).log()
        wanted = sigma.double().cpu().log()
        if self.K == 1:
            return torch.ones_like(wanted)
        inside = wanted.clamp(float(known[0]), float(known[-1]))
        below = (torch.searchsorted(known, inside.detach(), right=True) - 1).clamp(0, self.K - 2)
        slope = 1 / (known[below + 1] - known[below])
        return slope * (inside - known[below]) + (below + 1)  # numpy.interp's order, and so its bits

    def steps(self, k: int, n: int, spacing: Spacing = "linspace") -> tuple[int, ...]:
        """The falling levels at which a run of n steps from level k evaluates the network; then it lands on 0.

        Args:
            k: where the run starts, 1 … K.
            n: how many steps, 1 … k.
            spacing: ``"linspace"``: n levels from k to 1, rounded (n = 1: only k). ``"log"``: from k to the level
                of σ = 0.01, geometric in σ, rounded to n different levels. ``"power"``: likewise, even in
                σ^(1/7) (Karras et al., 2022). ``"ddrm"``: k' − 1 in
                range(0, k, k // n), as DDRM's published code: for k = 1000, n = 30 that is 31 evaluations
                from level 991.

        Raises:
            ValueError: k or n out of range.
        """
        if k != int(k) or n != int(n):
            raise ValueError(f"k and n must be whole numbers: got {k} and {n}")
        k, n = int(k), int(n)
        if not 1 <= k <= self.K:
            raise ValueError(f"k must be from 1 to {self.K}: got {k}")
        if not 1 <= n <= k:
            raise ValueError(f"a run from noise level {k} takes 1 to {k} steps: got {n}")
        if spacing == "ddrm":
            return tuple(t + 1 for t in reversed(range(0, k, k // n)))
        if spacing in ("log", "power"):
            power = math.inf if spacing == "log" else KARRAS_POWER
            return self.between(k, LOWEST_SIGMA, [1] * n, power)
        if spacing != "linspace":
            raise ValueError(f"spacing must be 'linspace', 'log', 'power' or 'ddrm': got {spacing!r}")
        return tuple(int(level) for level in np.rint(np.linspace(k, 1, n)))

    def between(self, k: int, lowest: float, rooms: Sequence[int], power: float = math.inf) -> tuple[int, ...]:
        """Falling levels from k towards the one of σ = ``lowest``, as even in σ^(1/power) as whole levels allow.

        Args:
            k: the first, and the highest.
            lowest: σ of the last, on the [-1, 1] scale; k's own where that is lower.
            rooms: one a level: that level is at least so high, and 1 above the next.
            power: ∞ is even in log σ.
        """
        sigma, n = self.sigma(k), len(rooms)
        lowest, shares = min(lowest, sigma), np.linspace(0, 1, n)
        if math.isinf(power):
            wanted = sigma ** (1 - shares) * lowest**shares
        else:
            wanted = (sigma ** (1 / power) * (1 - shares) + lowest ** (1 / power) * shares) ** power
        levels = np.rint(self.level(torch.as_tensor(wanted)).numpy()).astype(int)
        levels[0] = k
        for i in range(1, n):  # no level twice, from above …
            levels[i] = min(levels[i], levels[i - 1] - 1)
        below = 0
        for i in reversed(range(n)):  # … and room for those below
            below = levels[i] = max(levels[i], rooms[i], below + 1)
        return tuple(min(int(level), self.K) for level in levels)  # who asks for more room is told by nested


def outer_levels(K: int, outer: int) -> tuple[int, ...]:
    """The noise levels K·(N−i)/N, rounded, from which the N = ``outer`` inner runs start, and 0."""
    if not 1 <= outer <= K:
        raise ValueError(f"allocation must have from 1 to {K} outer steps: got {outer}")
    return tuple(round(K * (outer - i) / outer) for i in range(outer + 1))
