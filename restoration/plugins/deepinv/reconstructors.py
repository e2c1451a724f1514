"""Our samplers as deepinv reconstructors."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral

import torch
from deepinv.models import Reconstructor
from deepinv.physics import MRI, Physics
from torch import Tensor

from degradations import Measurement
from nested import uniform
from restoration.plugins.deepinv.denoisers import (
    DenoiserPrior,
    PriorDenoiser,
    checked_range,
    is_prior,
    register_network,
)
from restoration.plugins.deepinv.noise import sigma_of
from restoration.plugins.deepinv.operators import from_physics, refuse_undecomposable
from restoration.restorer import Preview, Restorer, resolve_seeds
from solvers import Prior, Spectral, posteriors, settings_of

Posterior = Spectral.Settings | type[Spectral] | str | None

Seed = int | Sequence[int] | None
Callback = Callable[[int, Tensor], bool | None]


class _Sampler(Reconstructor):  # type: ignore[misc]  # deepinv is untyped
    """A run of our solver for a measurement of deepinv's.

    ``seeds`` are the last run's, one an image; None before it.
    """

    seeds: tuple[int, ...] | None = None

    def __init__(
        self,
        denoiser: Prior | torch.nn.Module,
        allocation: Sequence[int],
        posterior: Spectral.Settings,
        image_shape: Sequence[int] | None,
        sigma_range: tuple[float, float] | None,
        seed: int | None,
    ) -> None:
        super().__init__()
        if isinstance(denoiser, PriorDenoiser):
            denoiser = denoiser.prior
        if is_prior(denoiser):
            if image_shape is not None or sigma_range is not None:
                raise ValueError("image_shape and sigma_range must be None for a prior, which has its own")
            register_network(self, denoiser)
        elif isinstance(denoiser, torch.nn.Module):
            sigma_range = checked_range(denoiser, sigma_range)
        else:
            raise TypeError(f"denoiser must be a deepinv denoiser or a prior: got {type(denoiser).__name__}")
        self.denoiser, self.sigma_range = denoiser, sigma_range
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.allocation, self.posterior = tuple(allocation), posterior
        self.seed = seed
        self._adapted: DenoiserPrior | None = None

    def forward(
        self,
        y: Tensor,
        physics: Physics,
        seed: Seed = None,
        get_trajectory: bool = False,
        callback: Callback | None = None,
        sigma: float | Tensor | None = None,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """A sample of p(x | y), (B, C, H, W) in [0, 1]; complex images of MRI, of 2 channels, are not cut to it.

        Args:
            y: measurements in [0, 1] units; not written to.
            physics: A, with a singular value decomposition, and its noise model.
            seed: of the first image, later ones count on; or one an image; None is the model's own, which draws
                them where it is None too. The global random state is not touched.
            get_trajectory: also return previews: of a nested run its completed outer steps, of a plain one x̂₀
                after every evaluation.
            callback: called with (nfe, x̂₀) after every evaluation; returning True ends the run, and the newest
                completed image is returned.
            sigma: the noise's standard deviation in place of the noise model's, a number or (B,).

        Raises:
            TypeError: a physics without a singular value decomposition.
            ValueError: a noise model that tells no σ; shapes that do not fit.
        """
        with torch.no_grad():
            restorer, measurement = self._pose(y, physics, sigma)
            previews: list[Tensor] = []

            def watch(preview: Preview) -> bool:
                image = preview.image.to(y)
                if self._shows(preview):
                    previews.append(image)
                return callback is not None and bool(callback(preview.nfe, image))

            done = restorer.restore(
                measurement, allocation=self.allocation, seeds=self._resolve(seed, len(y)), watch=watch
            )
            x = done.image.to(y)
        return (x, previews) if get_trajectory else x

    def iterate(
        self, y: Tensor, physics: Physics, seed: Seed = None, sigma: float | Tensor | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """(nfe, x̂₀ in [0, 1]) after every network evaluation; leave the loop at any time.

        Arguments and errors are those of :meth:`forward`; errors come at once.
        """
        restorer, measurement = self._pose(y, physics, sigma)
        stream = restorer.stream(measurement, allocation=self.allocation, seeds=self._resolve(seed, len(y)))
        return ((preview.nfe, preview.image.to(y)) for preview in stream)

    def _resolve(self, seed: Seed, count: int) -> tuple[int, ...]:
        """One seed an image, remembered."""
        seed = self.seed if seed is None else seed
        given = range(int(seed), int(seed) + count) if isinstance(seed, (int, Integral)) else seed
        self.seeds = resolve_seeds(given, count)
        return self.seeds

    @abstractmethod
    def _shows(self, preview: Preview) -> bool:
        """Whether a trajectory keeps it."""

    def _pose(self, y: Tensor, physics: Physics, sigma: float | Tensor | None) -> tuple[Restorer, Measurement]:
        """The problem in our words."""
        if not isinstance(y, Tensor):
            raise TypeError(f"y must be a tensor: got {type(y).__name__}")
        prior = self.denoiser
        if isinstance(prior, torch.nn.Module) and not is_prior(prior):
            refuse_undecomposable(physics)
            shape = self.image_shape or tuple(physics.A_adjoint(y).shape[1:])
            prior = self._as_prior(prior, shape)
        operator = from_physics(physics, prior.image_shape)
        wanted = operator.measurement_shape
        if y[0].numel() != math.prod(wanted):
            raise ValueError(
                f"y must hold {wanted} for each image, as A x of its {operator.image_shape}: got {tuple(y.shape)}"
            )
        measured = y.detach().reshape(len(y), *wanted)
        noise = sigma_of(physics, len(y)) if sigma is None else sigma
        signed = isinstance(physics, MRI) and operator.image_shape[0] == 2  # real and imaginary parts
        restorer = Restorer(prior, self.posterior, clamp=not signed)
        return restorer, Measurement(measured, operator, noise)

    def _as_prior(self, denoiser: torch.nn.Module, shape: tuple[int, ...]) -> DenoiserPrior:
        """The denoiser as a prior, kept from call to call: hashing its weights takes as long as using them."""
        kept = self._adapted
        if kept is None or kept.denoiser is not denoiser or kept.image_shape != shape:
            kept = self._adapted = DenoiserPrior(denoiser, shape, self.sigma_range)
        return kept


def _settings(posterior: Posterior, eta: float | None, eta_b: float | None) -> Spectral.Settings:
    """The sampler that was asked for, DDRM where none was, with what is given of η and η_b."""
    settings = settings_of(posteriors.DDRM if posterior is None else posterior)
    given = {"eta": eta, "eta_b": eta_b}
    return settings.replaced({name: value for name, value in given.items() if value is not None})


class NestedDDRM(_Sampler):
    """Nested Diffusion around DDRM or another sampler of ours: previews after every outer step.

    Args:
        denoiser: a prior of ours, or a deepinv denoiser on the [0, 1] scale.
        outer_steps, inner_steps: outer steps, and network evaluations in each.
        allocation: evaluations of every outer step in their place, e.g. (16, 8, 6).
        posterior: the inner sampler's settings, class or name, e.g. ``FIRE.Settings("natural")``; None is DDRM.
        eta, eta_b: of the sampler's settings, 0 … 1, where they are to differ; for samplers that have them.
        image_shape: (C, H, W) of a denoiser's images; None means those of ``physics.A_adjoint``.
        sigma_range: σ that a denoiser was trained for, as in :func:`from_denoiser`.
        seed: of calls that give none, e.g. ``deepinv.test``'s, each batch alike; None draws theirs.

    Raises:
        TypeError, ValueError: no sampler, or settings that it does not have; no denoiser, or no range of σ for it.

    Source: Elata et al., *Nested Diffusion Processes for Anytime Image Generation*, 2024, Algorithm 3.
    """

    def __init__(
        self,
        denoiser: Prior | torch.nn.Module,
        outer_steps: int = 3,
        inner_steps: int = 10,
        allocation: Sequence[int] | None = None,
        eta: float | None = None,
        eta_b: float | None = None,
        image_shape: Sequence[int] | None = None,
        sigma_range: tuple[float, float] | None = None,
        seed: int | None = None,
        posterior: Posterior = None,
    ) -> None:
        steps = uniform(outer_steps, inner_steps) if allocation is None else allocation
        settings = _settings(posterior, eta, eta_b)
        super().__init__(denoiser, steps, settings, image_shape, sigma_range, seed)

    def _shows(self, preview: Preview) -> bool:
        return preview.complete


class DDRM(_Sampler):
    """One plain run of DDRM, or of another sampler of ours.

    Args:
        denoiser: a prior of ours, or a deepinv denoiser on the [0, 1] scale.
        steps: network evaluations.
        posterior, eta, eta_b, image_shape, sigma_range, seed: as in :class:`NestedDDRM`.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022.
    """

    def __init__(
        self,
        denoiser: Prior | torch.nn.Module,
        steps: int = 30,
        eta: float | None = None,
        eta_b: float | None = None,
        image_shape: Sequence[int] | None = None,
        sigma_range: tuple[float, float] | None = None,
        seed: int | None = None,
        posterior: Posterior = None,
    ) -> None:
        settings = _settings(posterior, eta, eta_b)
        super().__init__(denoiser, uniform(1, steps), settings, image_shape, sigma_range, seed)

    def _shows(self, preview: Preview) -> bool:
        return True
