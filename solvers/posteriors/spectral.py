"""What posterior samplers in the spectral domain of a degradation share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from degradations import Measurement
from solvers.fingerprint import fingerprint, fingerprints
from solvers.noise import NoiseSource
from solvers.prior import Prior
from solvers.question import InnerRun, Sampler
from solvers.schedule import Spacing

GRIDS: tuple[Spacing, ...] = ("linspace", "log", "power")


class Spectral(Sampler):
    """Samples p(x₀ | y) for a linear measurement, component by component of z = Vᵀx̄.

    In VE coordinates x̄ = x/√ᾱ. ȳ = S⁻¹Uᵀy is what the measurement says of each component, ν = σ_y/s its noise, ∞
    on the null space. A sampler of its own has a ``Settings`` and a :meth:`step`; a step costs one network
    evaluation, one Vᵀ, one V and elementwise work. x̂₀ is never clipped.

    Args:
        prior: the denoiser.
        measurement: what was measured, in the prior's [-1, 1] units (``Measurement.in_model_units()``).
        settings: the sampler's own; None means its defaults.

    Attributes:
        ybar: ȳ, (B, C, H, W) float32, 0 on the null space.
        nu: the distinct ν, float64 on the CPU, for tables that :meth:`look_up` spreads over components.
        exact: of each distinct ν whether it is 0 whatever σ_y is (``SVDOperator.noiseless``).

    Raises:
        ValueError: a measurement of images of another shape than the prior's.
        TypeError: another sampler's settings.
    """

    @dataclass(frozen=True)
    class Settings:
        """A sampler's choices, carried whole from the caller to the record of a result.

        Args:
            posterior: the sampler that they are of.
            grid: how the levels of a run are spread, as in ``NoiseSchedule.steps``: ``"linspace"``,
                ``"log"`` or ``"power"``.
        """

        posterior: ClassVar[type[Spectral]]
        grid: Spacing = field(default="linspace", kw_only=True)

        def __post_init__(self) -> None:
            if self.grid not in GRIDS:
                raise ValueError(f"grid must be one of {', '.join(GRIDS)}: got {self.grid!r}")

        def replaced(self, changed: Mapping[str, Any]) -> Self:
            """The settings with some of them changed, by name; TypeError for a name that is none of them."""
            known = [field.name for field in fields(self)]
            for name in changed:
                if name not in known:
                    raise TypeError(f"{self.posterior.__name__} has no setting {name}: it has {', '.join(known)}")
            return replace(self, **changed)

        def of(self, prior: Prior, measurement: Measurement) -> Spectral:
            """The sampler of a measurement in the prior's [-1, 1] units."""
            return self.posterior.of(prior, measurement, self)

    settings: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "Settings" in vars(cls):
            cls.Settings.posterior = cls

    def __init__(self, prior: Prior, measurement: Measurement, settings: Any = None) -> None:
        if measurement.operator.image_shape != tuple(prior.image_shape):
            raise ValueError(
                f"measurement must be of images shaped as the prior's, {tuple(prior.image_shape)}: "
                f"got {measurement.operator.image_shape}"
            )
        settings = type(self).Settings() if settings is None else settings
        if not isinstance(settings, type(self).Settings):
            raise TypeError(f"settings must be {type(self).__name__}.Settings: got {type(settings).__qualname__}")
        self.prior = prior
        self.measurement = measurement
        self.settings = settings
        self.ybar = measurement.operator.whiten(measurement.y).float()
        # Singular values repeat: coefficients are computed once a distinct (σ_y, s), in float64, and looked up.
        # Those of components that are measured without noise are marked by their sign.
        signed, noiseless = measurement.operator.singular_values, measurement.operator.noiseless
        signed = signed if noiseless is None else torch.where(noiseless, -signed, signed)
        s, which = torch.unique(signed, return_inverse=True)
        s, sigma = s.double().cpu(), torch.as_tensor(measurement.sigma, dtype=torch.float64).cpu().reshape(-1, 1)
        nu = torch.where(s > 0, sigma / torch.where(s > 0, s, 1), torch.inf)
        self.nu = torch.where(s < 0, 0, nu).flatten()
        self.exact = (s < 0).expand_as(nu).flatten()
        rows = torch.arange(len(sigma), device=which.device).reshape(-1, 1, 1, 1) * len(s)
        self._which = (which + rows).int()

    @classmethod
    def of(cls, prior: Prior, measurement: Measurement, settings: Any) -> Self:
        """The sampler with those settings."""
        return cls(prior, measurement, settings)

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        """z (B, C, H, W) at level k_next, 0 at the end, from z at level k and ẑ₀, the network's estimate there."""
        raise NotImplementedError

    def levels(self, k: int, n: int) -> tuple[int, ...]:
        """The n falling levels at which a run from level k asks, by the grid of its settings."""
        return self.schedule.steps(k, n, self.settings.grid)

    def initial(self, k: int, noise: NoiseSource) -> Tensor:
        """x_k ~ q(x_k | y), (B, C, H, W): the measurement where it is less noisy than level k, else noise.

        Source: DDRM, equation 7, with mean 0 where y says nothing.
        """
        sigma, heard = self.schedule.sigma(k), self.heard(k).double()
        spread = (sigma**2 - heard * torch.where(heard > 0, self.nu, 0) ** 2).clamp(min=0).sqrt()
        mean, scale = self.look_up(heard, spread)
        z = mean * self.ybar + scale * noise.normal(self.ybar.shape)
        return self.image(z, k)

    def heard(self, k: int) -> Tensor:
        """Of each distinct ν whether the measurement counts at level k, being no noisier."""
        return self.nu <= self.schedule.sigma(k)

    @torch.no_grad()
    def answer(self, run: InnerRun, x0: Tensor, noise: NoiseSource) -> tuple[InnerRun, Tensor]:
        """The sampler's step in the spectral domain, and x̂₀; at the end x₀."""
        k, *left = run.levels
        k_next = left[0] if left else 0
        z = self.step(self.spectrum(run), self.measurement.operator.Vt(x0), k, k_next, noise)
        x = self.image(z, k_next)
        return (InnerRun(x, tuple(left), (z,)), x0) if left else (InnerRun(x, ()), x)

    @torch.no_grad()
    def preview(self, x0: Tensor) -> Tensor:
        """An unfinished run's x̂₀ drawn towards the measurement on the range, image by image.

        With r² = max(mean((ȳ − ẑ₀)² − ν²), 0), the estimate's own error on the range, the range component
        becomes ẑ₀ + r²/(r² + ν²)(ȳ − ẑ₀); for ν = 0 that is ȳ.
        """
        known = self.nu.isfinite().double()
        is_known, variance = self.look_up(known, torch.where(known > 0, self.nu, 0) ** 2)
        residual = is_known * (self.ybar - self.measurement.operator.Vt(x0))
        r2 = masked_mean(residual**2 - variance, is_known).clamp(min=0)
        weight = torch.where(variance > 0, r2 / (r2 + variance).clamp(min=torch.finfo(r2.dtype).tiny), 1)
        return x0 + self.measurement.operator.V(weight * residual)

    @torch.no_grad()
    def measured_part(self, change: Tensor, k: int | None = None) -> Tensor:
        """A change (B, C, H, W) on the range; with k, where the measurement is less noisy than that level."""
        (known,) = self.look_up((self.nu.isfinite() if k is None else self.heard(k)).double())
        return self.measurement.operator.V(known * self.measurement.operator.Vt(change))

    @torch.no_grad()
    def moved(self, change: Tensor) -> Tensor:
        """y + A·change, in its units."""
        moved: Tensor = self.measurement.y + self.measurement.operator(change)
        return moved

    def remeasured(self, y: Tensor) -> Self:
        """The sampler with another y (B, C', H', W')."""
        return self.of(self.prior, replace(self.measurement, y=y), self.settings)

    def spectrum(self, run: InnerRun) -> Tensor:
        """z of an unfinished inner run: carried from the step before, or Vᵀx̄ where it begins."""
        if run.carry:
            return run.carry[0]
        return self.measurement.operator.Vt(run.x / math.sqrt(self.schedule.alpha_bar(run.levels[0])))

    def image(self, z: Tensor, k: int) -> Tensor:
        """x_k of its spectral z."""
        return math.sqrt(self.schedule.alpha_bar(k)) * self.measurement.operator.V(z)

    def look_up(self, *tables: Tensor) -> tuple[Tensor, ...]:
        """Each table's values for the distinct ν of ``nu`` as values for components, in the state's dtype."""
        values = torch.stack(tables).to(self.ybar.device, self.ybar.dtype)
        chosen = values.index_select(1, self._which.flatten())  # several times faster than values[:, which]
        return chosen.view(len(tables), *self._which.shape).unbind()

    def take(self, index: int | Sequence[int]) -> Self:
        """The sampler of one image of the batch, or of several, repeated ones too."""
        return self.of(self.prior, self.measurement.take(index), self.settings)

    def told(self) -> object:
        """What decides its answers beside prior and measurement: the settings, and what a sampler adds to them."""
        return self.settings

    def fingerprint(self) -> str:
        """SHA-256 of prior, schedule, measurement and settings."""
        return fingerprint(type(self).__name__, self.prior, self.measurement.fingerprint(), self.told())

    def identities(self) -> tuple[str, ...]:
        """The fingerprint of every image's own sampler."""
        own = [(image, self.told()) for image in self.measurement.fingerprints()]
        return fingerprints(type(self).__name__, self.prior, own)


def masked_mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of an image's components with weight 1 in ``where``, (B, 1, 1, 1); 0 where there are none.

    Args:
        values: (B, C, H, W).
        where: 1 or 0, broadcast against ``values``.
    """
    count = where.expand_as(values).sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return (where * values).sum(dim=(1, 2, 3), keepdim=True) / count
