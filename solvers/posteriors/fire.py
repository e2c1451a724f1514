"""FIRE: renoise so that the network meets just the noise that it is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from degradations import Measurement
from solvers.noise import NoiseSource
from solvers.posteriors.missing import width
from solvers.posteriors.spectral import Spectral, masked_mean
from solvers.prior import Prior, rmse_of
from solvers.question import InnerRun
from solvers.schedule import Spacing

Aim = Literal["natural", "faithful"]
START = {"natural": 8.5, "faithful": 2.6}
"""σ at which a run begins where something is not measured: above, pictures are lost in noise whatever is known."""
UNSEEN_COLOUR = 25.0
"""σ at which it begins where some flat colour is not measured at all (colorizing): what all pixels share is lost
in noise much later than what few do. Lower, an accurate network takes its absence for a grey picture."""
LOST = 20.0
"""ν beyond which a component counts as not measured: pictures reach from -1 to 1."""
FALL = 0.01
"""Outer steps restart at levels that fall, evenly in log σ, towards this share of the first one's σ."""
FORGETS = 0.13
"""σ that lets a restart forget what is wrong in one pixel; in a gap of so many pixels it takes so many times that,
since what they share stands out of the noise of each. Fitted on held-out pictures: docs/effort.md."""
LEAST_FALL, MOST_FALL = 0.15, 0.8
"""Of σ from one outer step to the next, by that rule."""
COLOUR_FALL = 0.6
"""The same where a flat colour is missing."""


class FIRE(Spectral):
    """Samples by iterative colored renoising, one spectral component at a time.

    From noise σ to σ', with ẑ₀ the network's estimate, v its error's variance and e = (z − ẑ₀)/σ:

    ======================  ================================================================
    null space              ẑ₀ + √max(σ'² − λ v, 0) (r e + √(1−r²) ξ)
    ν ≤ σ'                  ȳ + √(σ'² − ν²) (r e + √(1−r²) ξ)
    σ' < ν ≤ σ              ẑ₀ + σ' (q (ȳ − ẑ₀)/ν + √(1−q²) ξ): ȳ is the state at noise ν
    σ < ν                   ẑ₀ + σ' (q e + √(1−q²) ξ): the state holds ȳ already
    σ' = 0, ν ≤ σ           ȳ + β (ẑ₀ − ȳ), β as in :meth:`landing`; ȳ itself where ν = 0
    σ' = 0, else            ẑ₀
    ======================  ================================================================

    - **natural** draws a sample: λ = 0, and r = σ'/σ, q = σ'/min(σ, ν), the reverse diffusion's own noise.
    - **faithful** goes for the nearest picture: λ = 1, r = 0, so that the network never meets more noise than it
      is told; q = 1. Where σ < ν it ends at the mean of the estimates made since the state was ȳ, which speckles
      less than the last. Where everything is measured it is deterministic: its samples do not differ.

    A run begins where it has something to learn: at the level of ν where everything is equally measured, else at
    ``START``, or ``UNSEEN_COLOUR`` where a flat colour is not measured. v is the prior's own RMSE at the level,
    squared, or without one the mean of (ȳ − ẑ₀)² − ν² over components with ν ≤ σ, an image. Measured in
    docs/samplers.md.

    Source: Bendel, Shastri, Ahmad and Schniter, *Solving Inverse Problems using Diffusion with Iterative Colored
    Renoising*, 2025, for λ = 1 on the null space; the other rows, where its data step loses, are ours.
    """

    @dataclass(frozen=True)
    class Settings(Spectral.Settings):
        """FIRE's choices.

        Args:
            aim: ``"faithful"``, nearest to the truth, or ``"natural"``, a sample: several differ as much as the
                measurement leaves open.
            grid: how the levels of a run are spread.
        """

        aim: Aim = "faithful"
        grid: Spacing = field(default="log", kw_only=True)

        def __post_init__(self) -> None:
            Spectral.Settings.__post_init__(self)
            if self.aim not in get_args(Aim):
                raise ValueError(f"aim must be {' or '.join(get_args(Aim))}: got {self.aim!r}")

    settings: FIRE.Settings

    def __init__(self, prior: Prior, measurement: Measurement, settings: Any = None) -> None:
        super().__init__(prior, measurement, settings)
        self._null = self.nu > LOST
        self._nu = torch.where(self._null, 0, self.nu)
        # The whole level nearest to ν, where ȳ is the state; 0 for ν below all levels, K + 1 on the null space.
        known = ~self._null & (self.nu > self.schedule.sigma(1) / 2**0.5)
        self._level = torch.where(self._null, self.schedule.K + 1, 0).double()
        self._level[known] = self.schedule.level(self.nu[known]).round()
        self._width: float | None = None

    def starts(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """Levels even in log σ, from where the run begins, not below the noise of what is partly measured."""
        noisiest = float(self._nu.max())
        sigma = noisiest if self._alike else max(self._lost(), noisiest)
        k = max(int(self.schedule.level(torch.tensor(sigma)).round()), allocation[0] if allocation else 1)
        return self.onward((min(k, self.schedule.K),), allocation)

    def onward(self, begun: Sequence[int], allocation: Sequence[int]) -> tuple[int, ...]:
        """Levels even in log σ, from where the run stands towards where :meth:`starts` would have ended."""
        first, here = self.schedule.sigma(begun[0]), self.schedule.sigma(begun[-1])
        lowest = first if self._alike else max(first * FALL, float(self._nu.max()))
        n, lowest = len(allocation), min(lowest, here)
        levels = self.schedule.between(begun[-1], here ** (1 / n) * lowest ** (1 - 1 / n), allocation)
        return (*levels, 0)

    def fitted(self, allocation: Sequence[int]) -> tuple[int, ...]:
        """Levels even in log σ that fall less the wider the gaps are: what is wrong there must be forgotten."""
        starts = self.starts(allocation)
        gap = self.width()
        if not gap or len(allocation) < 2:
            return starts
        first = self.schedule.sigma(starts[0])
        fall = COLOUR_FALL if math.isinf(gap) else min(max(FORGETS * gap / first, LEAST_FALL), MOST_FALL)
        lowest = max(first * fall ** (len(allocation) - 1), float(self._nu.max()))
        return (*self.schedule.between(starts[0], lowest, allocation), 0)

    def width(self) -> float:
        """Of the gaps in what was measured, in pixels; see ``missing.width``. ∞ where a flat colour is missing.

        Raises:
            ValueError: a measurement of several images, whose gaps can differ.
        """
        if len(self.ybar) != 1:
            raise ValueError(f"a width is that of one image's gaps: got {len(self.ybar)} images")
        if self._width is None:
            (null,), operator = self.look_up(self._null.double()), self.measurement.operator
            found = width(lambda z: operator.V(null * z.to(null)), operator.image_shape)
            self._width = math.inf if found and self._lost() == UNSEEN_COLOUR else found
        return self._width

    @property
    def _alike(self) -> bool:
        """Whether everything is measured, and equally noisy."""
        noisy = self._nu[~self.exact] if not bool(self.exact.all()) else self._nu
        return not bool(self._null.any()) and float(noisy.min()) == float(self._nu.max()) > 0

    def _lost(self) -> float:
        """σ at which what is not measured is lost in noise."""
        (null,) = self.look_up(self._null.double())
        channels, height, width = self.measurement.operator.image_shape
        flat = torch.eye(channels, device=null.device)[:, :, None, None].expand(-1, -1, height, width)
        unseen = torch.stack([self.measurement.operator.Vt(one[None].contiguous()) * null for one in flat])
        mixed = torch.einsum("ibchw,jbchw->bij", unseen, unseen) / (height * width)
        # 1 where a flat colour lies in the null space as a whole; with hints of colour it does for the most part,
        # while what is light and dark is measured everywhere
        shares = torch.linalg.eigvalsh(mixed.double().cpu())
        hints = bool(((shares[:, -1] > 0.5) & (shares[:, 0] < 0.001)).any())
        return UNSEEN_COLOUR if hints or float(shares[:, -1].max()) > 0.999 else START[self.settings.aim]

    def heard(self, k: int) -> Tensor:
        """As in the base class, by whole levels: also where ν's level is k, so that ȳ is the state there."""
        return self._level <= k

    @torch.no_grad()
    def answer(self, run: InnerRun, x0: Tensor, noise: NoiseSource) -> tuple[InnerRun, Tensor]:
        """As in the base class; a faithful run also keeps each component's mean of ẑ₀ since its state holds ȳ."""
        k, *left = run.levels
        carried = self._carried(k)
        holds = carried | (self._level == k)
        if self.settings.aim == "natural" or not bool(holds.any()):
            return super().answer(run, x0, noise)
        z, z0 = self.spectrum(run), self.measurement.operator.Vt(x0)
        mean, count = run.carry[1:] if len(run.carry) > 1 else (torch.zeros_like(z0), torch.zeros_like(z0))
        is_held, is_carried = self.look_up(holds.double(), carried.double())
        count = count + is_held
        mean = mean + is_held * (z0 - mean) / count.clamp(min=1)
        k_next = left[0] if left else 0
        z = self.step(z, z0, k, k_next, noise)
        if not left:
            x = self.image(torch.lerp(z, mean, is_carried), 0)
            return InnerRun(x, ()), x
        shown = x0 if bool(self._null.any()) else self.measurement.operator.V(torch.lerp(z0, mean, is_held))
        return InnerRun(self.image(z, k_next), tuple(left), (z, mean, count)), shown

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """z' as in the table above."""
        if not k_next:
            return self.landing(z, z0, k)
        sigma, sigma_next = self.schedule.sigma(k), self.schedule.sigma(k_next)
        natural = self.settings.aim == "natural"
        old = sigma_next / sigma if natural else 0.0  # r of the table
        toward, fresh = self._from_measurement(k, k_next)
        heard, carried = self.heard(k_next), self._carried(k)
        share = sigma_next / sigma if natural else 1.0  # q of the table, where the state holds ȳ
        keep = torch.where(heard, fresh * old, 0) / sigma
        fresh = torch.where(heard, fresh * math.sqrt(1 - old**2), fresh)
        keep = torch.where(carried, sigma_next * share / sigma, keep)
        fresh = torch.where(carried, sigma_next * math.sqrt(1 - share**2), fresh)
        toward, keep, fresh, is_null = self.look_up(toward, keep, fresh, self._null.double())
        free = self._free(z0, k, sigma_next)
        keep = keep + is_null * (free * (old / sigma))
        fresh = fresh + is_null * (free * math.sqrt(1 - old**2))
        moved = z0 + toward * (self.ybar - z0)
        return moved.addcmul_(keep, z - z0).addcmul_(fresh, noise.normal(z.shape))

    @torch.no_grad()
    def restart(self, x_k: Tensor, x0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """x₀ with new noise of level k_next, and ȳ as in a step wherever it is less noisy than level k.

        DDIM's outer step takes x_k − x₀ for noise; from a low first level that holds much of a picture, which
        this one has never seen.
        """
        if not k_next:
            return x0
        z0 = self.measurement.operator.Vt(x0)
        toward, fresh = self._from_measurement(self.schedule.K, k_next)
        free = torch.where(self._null, self.schedule.sigma(k_next), fresh)
        toward, fresh = self.look_up(toward, free)
        z = (z0 + toward * (self.ybar - z0)).addcmul_(fresh, noise.normal(z0.shape))
        return self.image(z, k_next)

    def again(self, x0: Tensor, k: int, noise: NoiseSource) -> Tensor:
        """As :meth:`restart`, which does not ask where the run before began."""
        return self.restart(x0, x0, self.schedule.K, k, noise)

    def _from_measurement(self, k: int, k_next: int) -> tuple[Tensor, Tensor]:
        """How far towards ȳ, and how much noise: where ν ≤ σ', and where σ' < ν ≤ σ; 0 elsewhere."""
        sigma_next = self.schedule.sigma(k_next)
        heard = self.heard(k_next)
        crossing = ~heard & self.heard(k)
        ratio = sigma_next / self._nu.clamp(min=sigma_next)
        share = ratio if self.settings.aim == "natural" else torch.ones_like(ratio)  # q of the table
        toward = heard + crossing * share * ratio
        noisy = heard * (sigma_next**2 - self._nu**2).clamp(min=0).sqrt()
        return toward, noisy + crossing * sigma_next * (1 - share**2).sqrt()

    def _carried(self, k: int) -> Tensor:
        """Of each distinct ν whether it was measured and is noisier than level k: the state holds ȳ there."""
        return ~self.heard(k) & ~self._null

    def landing(self, z: Tensor, z0: Tensor, k: int) -> Tensor:
        """The end: ȳ + β (ẑ₀ − ȳ) where ν ≤ σ, ẑ₀ elsewhere.

        With g the mean derivative of ẑ₀ by z, β = ν² (1 − g)/mean((ȳ − ẑ₀)²) has the least expected error (Stein,
        1981), which is at most ν²: what was measured does not get worse. 1 − g is estimated as
        mean((z − ẑ₀)²)/σ² and, where the prior's RMSE is known, as 1 − v/σ²: the lower one counts.
        """
        sigma = self.schedule.sigma(k)
        heard = self.heard(k)
        is_heard, is_noisy, variance = self.look_up(
            heard.double(), (heard & (self._nu > 0)).double(), torch.where(heard, self._nu, 0) ** 2
        )
        residual = self.ybar - z0
        flat = masked_mean((z - z0) ** 2, is_noisy) / sigma**2
        rmse = rmse_of(self.prior, k)
        if rmse is not None:
            flat = flat.clamp(max=max(1 - rmse**2 / sigma**2, 0))
        away = masked_mean(residual**2, is_noisy).clamp(min=torch.finfo(z0.dtype).tiny)
        beta = (variance * (flat / away)).clamp(0, 1)
        return z0 + is_heard * (1 - beta) * residual

    def told(self) -> object:
        """The settings, the prior's RMSE, which is no part of its fingerprint, and what a stored run carries."""
        levels = [k for k in (1, 10, 100, self.schedule.K) if k <= self.schedule.K]
        return self.settings, [rmse_of(self.prior, k) for k in levels], "means by component"

    def _free(self, z0: Tensor, k: int, sigma_next: float) -> Tensor | float:
        """√max(σ'² − λ v, 0) on the null space: a number, or (B, 1, 1, 1)."""
        if self.settings.aim == "natural":
            return sigma_next
        sigma, rmse = self.schedule.sigma(k), rmse_of(self.prior, k)
        if rmse is not None:
            return math.sqrt(max(sigma_next**2 - min(rmse, sigma) ** 2, 0))
        heard = self.heard(k)
        is_heard, variance = self.look_up(heard.double(), torch.where(heard, self._nu, 0) ** 2)
        v = masked_mean((self.ybar - z0) ** 2 - variance, is_heard).clamp(0, sigma**2)
        return (sigma_next**2 - v).clamp(min=0).sqrt()
