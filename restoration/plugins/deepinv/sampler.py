"""What our samplers do alike as deepinv reconstructors."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from deepinv.models import Reconstructor
from deepinv.physics import MRI, Physics
from deepinv.sampling.utils import Welford
from torch import Tensor
from tqdm import tqdm

from degradations import Measurement
from nested import NestedDiffusion
from restoration.plugins.deepinv.denoiser_prior import DenoiserPrior, checked_range
from restoration.plugins.deepinv.denoisers import PriorDenoiser, is_prior, register_network
from restoration.plugins.deepinv.noise import sigma_of
from restoration.plugins.deepinv.operators import from_physics, refuse_undecomposable
from restoration.restorer import Preview, Restorer, resolve_seeds
from solvers import NoiseSource, Prior, Spectral
from solvers.units import to_model

Seed = int | Sequence[int] | None
Callback = Callable[[int, Tensor], bool | None]


class Sampler(Reconstructor):  # type: ignore[misc]  # deepinv is untyped
    """A run of our solver for a measurement of deepinv's.

    ``seeds`` are the last run's, one an image (and sample); None before it.
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
        rng: torch.Generator | None,
        verbose: bool,
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
        if seed is not None and rng is not None:
            raise ValueError("seed or rng must be None: seeds are drawn from one of them")
        self.denoiser, self.sigma_range = denoiser, sigma_range
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.allocation, self.posterior = tuple(allocation), posterior
        self.rng, self.verbose = rng, verbose
        self.seed = seed
        self._adapted: DenoiserPrior | None = None

    @property
    def seed(self) -> int | None:
        """Of the first image of the first call that gives none; setting it starts the stream anew."""
        return self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        self._seed = self._next = seed

    def forward(
        self,
        y: Tensor,
        physics: Physics,
        seed: Seed = None,
        get_trajectory: bool = False,
        callback: Callback | None = None,
        sigma: float | Tensor | None = None,
        x_init: Tensor | None = None,
        n_samples: int | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, list[Tensor]] | tuple[Tensor, Tensor]:
        """A sample of p(x | y), (B, C, H, W) in [0, 1]; complex images of MRI, of 2 channels, are not cut to it.

        Args:
            y: measurements in [0, 1] units; not written to.
            physics: A, with a singular value decomposition, and its noise model.
            seed: of the first image, later ones count on; or one an image. None: the model's stream of seeds goes
                on, or they are drawn from its ``rng``, else from torch's default generator. Noise itself comes
                from other generators: with a seed the global random state is not touched.
            get_trajectory: also return previews: of a nested run its completed outer steps, of a plain one x̂₀
                after every evaluation.
            callback: called with (nfe, x̂₀) after every evaluation; returning True ends the run, and the newest
                completed image is returned.
            sigma: the noise's standard deviation in place of the noise model's, a number or (B,).
            x_init: (B, C, H, W) in [0, 1], a first guess: where y says nothing, a run starts from it plus the
                noise of the highest level, and not from grey.
            n_samples: draw so many samples an image, at least 2, and return their (mean, variance), each
                (B, C, H, W); a sequence of seeds has one a sample then, those of the first samples first.
            kwargs: what loops of deepinv give to every model; a warning names what is not used.

        Raises:
            TypeError: a physics without a singular value decomposition; ``compute_metrics``.
            ValueError: a noise model that tells no σ; shapes that do not fit.
        """
        _refuse_unused(type(self).__name__, kwargs)
        count = 1 if n_samples is None else n_samples
        if n_samples is not None and (not isinstance(n_samples, Integral) or n_samples < 2 or get_trajectory):
            raise ValueError(
                f"n_samples must be at least 2, and without get_trajectory: got {n_samples!r}, {get_trajectory}"
            )
        with torch.no_grad():
            restorer, measurement = self._pose(y, physics, sigma)
            seeds = self._resolve(seed, count * len(y))
            previews: list[Tensor] = []
            nfe = sum(self.allocation)
            bar = tqdm(total=count * nfe, disable=not self.verbose, desc=type(self).__name__, unit="nfe")

            def watch(preview: Preview) -> bool:
                bar.update(1)
                image = preview.image.to(y)
                if get_trajectory and self._shows(preview):
                    previews.append(image)
                return callback is not None and bool(callback(preview.nfe, image))

            moments = None
            with bar:
                for first in range(0, count * len(y), len(y)):
                    run = self._begun(restorer, measurement, seeds[first : first + len(y)], x_init)
                    image = restorer.restore(measurement, **run, watch=watch).image
                    moments = Welford(image) if moments is None else moments
                    if first:
                        moments.update(image)
            assert moments is not None  # a batch of none is refused by _pose
            if n_samples is not None:
                return moments.mean().to(y), moments.var().to(y)
            x = image.to(y)
        return (x, previews) if get_trajectory else x

    def iterate(
        self,
        y: Tensor,
        physics: Physics,
        seed: Seed = None,
        sigma: float | Tensor | None = None,
        x_init: Tensor | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(nfe, x̂₀ in [0, 1]) after every network evaluation; leave the loop at any time.

        Arguments and errors are those of :meth:`forward`; errors come at once.
        """
        restorer, measurement = self._pose(y, physics, sigma)
        stream = restorer.stream(
            measurement, **self._begun(restorer, measurement, self._resolve(seed, len(y)), x_init)
        )
        return ((preview.nfe, preview.image.to(y)) for preview in stream)

    def _begun(
        self, restorer: Restorer, measurement: Measurement, seeds: tuple[int, ...], x_init: Tensor | None
    ) -> dict[str, Any]:
        """What tells a restorer where its run starts."""
        if x_init is None:
            return {"allocation": self.allocation, "seeds": seeds}
        posterior = restorer.posterior(measurement)
        wanted = (len(measurement), *posterior.prior.image_shape)
        if not isinstance(x_init, Tensor) or tuple(x_init.shape) != wanted:
            got = tuple(x_init.shape) if isinstance(x_init, Tensor) else type(x_init).__name__
            raise ValueError(f"x_init must be images (B, C, H, W), {wanted}: got {got}")
        nested = NestedDiffusion(posterior, self.allocation)
        state = nested.begin(NoiseSource(seeds, posterior.measurement.y.device))
        k, operator = nested.levels[0], posterior.measurement.operator
        (heard,) = posterior.look_up(posterior.heard(k).double())
        unheard = operator.V((1 - heard) * operator.Vt(to_model(x_init.detach()).to(state.x_k)))
        moved = state.x_k + math.sqrt(posterior.schedule.alpha_bar(k)) * unheard
        return {"allocation": self.allocation, "state": replace(state, x_k=moved)}

    def _resolve(self, seed: Seed, count: int) -> tuple[int, ...]:
        """``count`` seeds, remembered."""
        if seed is None and self._next is not None:
            seed, self._next = self._next, self._next + count
        if seed is None:
            place = "cpu" if self.rng is None else self.rng.device
            seed = torch.randint(2**31, (count,), generator=self.rng, device=place).tolist()
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


def _refuse_unused(name: str, given: dict[str, Any]) -> None:
    if given.get("compute_metrics"):
        raise TypeError(f"{name} computes no metrics while it runs: leave out compute_metrics")
    unused = sorted(key for key, value in given.items() if value is not None and value is not False)
    if unused:
        warnings.warn(f"{name} does not use {', '.join(unused)}", UserWarning, stacklevel=4)
