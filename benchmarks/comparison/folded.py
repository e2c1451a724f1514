"""A batch with an operator for each image, for samplers that take one operator for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepinv.physics import DecomposablePhysics
from torch import Tensor


class Folded(DecomposablePhysics):  # type: ignore[misc]  # deepinv is untyped
    """B images of C channels as one of B·C: what a sampler does number by number, it does the same.

    Args:
        physics: of a batch, its mask (B, C, H, W).
    """

    def __init__(self, physics: DecomposablePhysics) -> None:
        mask = fold(physics.mask)
        super().__init__(mask=mask, img_size=mask.shape[1:], noise_model=physics.noise_model, device=mask.device)
        self.physics, self.count = physics, len(physics.mask)

    def V_adjoint(self, x: Tensor) -> Tensor:
        return fold(self.physics.V_adjoint(self.unfold(x)))

    def V(self, x: Tensor, **kwargs: Any) -> Tensor:
        return fold(self.physics.V(self.unfold(x)))

    def U_adjoint(self, x: Tensor, **kwargs: Any) -> Tensor:
        return fold(self.physics.U_adjoint(self.unfold(x)))

    def U(self, x: Tensor) -> Tensor:
        return fold(self.physics.U(self.unfold(x)))

    def unfold(self, x: Tensor) -> Tensor:
        """(1, B·C, H, W) as (B, C, H, W)."""
        return x.reshape(self.count, -1, *x.shape[2:])

    def denoiser(self, denoiser: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Of folded images, by one of a batch."""
        return lambda x, sigma, **named: fold(denoiser(self.unfold(x), sigma, **named))


def fold(x: Tensor) -> Tensor:
    """(B, C, H, W) as (1, B·C, H, W)."""
    return x.reshape(1, -1, *x.shape[2:])
