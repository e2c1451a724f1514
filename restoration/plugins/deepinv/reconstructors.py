"""Our samplers as deepinv reconstructors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nested import uniform
from restoration.plugins.deepinv.sampler import Sampler
from restoration.restorer import Preview
from solvers import Prior, Spectral, posteriors, settings_of

Posterior = Spectral.Settings | type[Spectral] | str | None


def _settings(posterior: Posterior, eta: float | None, eta_b: float | None) -> Spectral.Settings:
    """The sampler that was asked for, DDRM where none was, with what is given of η and η_b."""
    settings = settings_of(posteriors.DDRM if posterior is None else posterior)
    given = {"eta": eta, "eta_b": eta_b}
    return settings.replaced({name: value for name, value in given.items() if value is not None})


class NestedDDRM(Sampler):
    """Nested Diffusion around DDRM or another sampler of ours: previews after every outer step.

    Args:
        denoiser: a prior of ours, or a deepinv denoiser on the [0, 1] scale.
        outer_steps, inner_steps: outer steps, and network evaluations in each.
        allocation: evaluations of every outer step in their place, e.g. (16, 8, 6).
        posterior: the inner sampler's settings, class or name, e.g. ``FIRE.Settings("natural")``; None is DDRM.
        eta, eta_b: of the sampler's settings, 0 … 1, where they are to differ; for samplers that have them.
        image_shape: (C, H, W) of a denoiser's images; None means those of ``physics.A_adjoint``.
        sigma_range: σ that a denoiser was trained for, as in :func:`from_denoiser`.
        seed: of the first image of calls that give none, e.g. ``deepinv.test``'s; the images after it, of later
            calls too, count on. None draws a seed an image.
        rng: where unset seeds are drawn from; None is torch's default generator, as ``torch.manual_seed`` sets it.
        verbose: show a bar of evaluations.

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
        rng: torch.Generator | None = None,
        verbose: bool = False,
    ) -> None:
        steps = uniform(outer_steps, inner_steps) if allocation is None else allocation
        settings = _settings(posterior, eta, eta_b)
        super().__init__(denoiser, steps, settings, image_shape, sigma_range, seed, rng, verbose)

    def _shows(self, preview: Preview) -> bool:
        return preview.complete


class DDRM(Sampler):
    """One plain run of DDRM, or of another sampler of ours.

    Args:
        denoiser: a prior of ours, or a deepinv denoiser on the [0, 1] scale.
        steps: network evaluations.
        posterior, eta, eta_b, image_shape, sigma_range, seed, rng, verbose: as in :class:`NestedDDRM`.

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
        rng: torch.Generator | None = None,
        verbose: bool = False,
    ) -> None:
        settings = _settings(posterior, eta, eta_b)
        super().__init__(denoiser, uniform(1, steps), settings, image_shape, sigma_range, seed, rng, verbose)

    def _shows(self, preview: Preview) -> bool:
        return True
