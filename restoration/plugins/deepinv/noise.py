"""The measurement's noise, as a deepinv physics tells it."""

from __future__ import annotations

from deepinv.physics import GaussianNoise, Physics, ZeroNoise
from torch import Tensor


def sigma_of(physics: Physics, count: int) -> float | Tensor:
    """Standard deviation of the noise of a physics in [0, 1] units: a number, or (count,), one an image.

    ``GaussianNoise`` tells it, with one σ or one an image; ``ZeroNoise`` is 0. Nothing is assumed of others.

    Raises:
        ValueError: another noise model, or none; as many σ as neither 1 nor ``count``.
    """
    model = getattr(physics, "noise_model", None)
    if isinstance(model, ZeroNoise):
        return 0.0
    if not isinstance(model, GaussianNoise):
        found = "no noise_model" if model is None else f"{type(model).__name__} as its noise_model"
        raise ValueError(
            f"physics must have GaussianNoise or ZeroNoise to tell its sigma: {type(physics).__name__} has {found}"
            "; set physics.noise_model, or pass sigma= if Gaussian noise describes it"
        )
    sigma: Tensor = model.sigma.detach().flatten()
    if len(sigma) == 1:
        return float(sigma)
    if len(sigma) != count:
        raise ValueError(
            f"physics.noise_model.sigma must be one number, or one for each of {count} images: got {len(sigma)}"
        )
    return sigma
