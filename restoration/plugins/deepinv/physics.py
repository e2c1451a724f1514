"""Our operators as deepinv physics."""

from __future__ import annotations

import copy
from typing import Any

import torch
from deepinv.physics import DecomposablePhysics, GaussianNoise, ZeroNoise
from torch import Tensor

from degradations import Inpainting, SVDOperator


class SVDPhysics(DecomposablePhysics):  # type: ignore[misc]  # deepinv is untyped
    """What :func:`as_physics` makes: an operator's U, s and V under deepinv's names."""

    mask: Tensor

    def __init__(self, operator: SVDOperator, noise_model: torch.nn.Module) -> None:
        operator = copy.deepcopy(operator)  # moving the physics must not move the caller's
        s = operator.singular_values
        mask = s.expand(operator.batch_size or 1, *operator.image_shape).clone()
        super().__init__(mask=mask, img_size=operator.image_shape, noise_model=noise_model, device=s.device)
        self.operator = operator

    def V_adjoint(self, x: Tensor) -> Tensor:
        """Image (B, C, H, W) to spectral coefficients (B, C, H, W)."""
        return self.operator.Vt(x)

    def V(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Spectral coefficients (B, C, H, W) to image (B, C, H, W)."""
        return self.operator.V(x)

    def U_adjoint(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Measurement (B, C', H', W') to spectral coefficients (B, C, H, W), 0 where nothing was measured."""
        return self.operator.Ut(x)

    def U(self, x: Tensor) -> Tensor:
        """Spectral coefficients (B, C, H, W) to measurement (B, C', H', W')."""
        return self.operator.U(x)

    def noise(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Noise on what is measured only, as deepinv's own inpainting: a missing value stays 0."""
        return self.operator.U(self.operator.Ut(self.noise_model(x, **kwargs)))

    def update_parameters(self, mask: Tensor | None = None, **kwargs: Any) -> None:
        """Another mask for inpainting, as deepinv's mask generators give it; other operators have none to change.

        Args:
            mask: 1 where known, 0 where missing: (H, W), (C, H, W) or (1, C, H, W) for all images, or (B, C, H, W)
                or (B, 1, H, W), one an image.

        Raises:
            ValueError: a mask for another operator than ``Inpainting``; one that does not fit it.
        """
        if mask is not None:
            self._set_mask(mask)
        super().update_parameters(**kwargs)

    def _set_mask(self, mask: Tensor) -> None:
        if not isinstance(self.operator, Inpainting):
            raise ValueError(
                "mask must be None: only Inpainting has one to change, the singular values of "
                f"{type(self.operator).__name__} are fixed; make another operator"
            )
        for_all = mask[0] if mask.ndim == 4 and len(mask) == 1 else mask
        self.operator = Inpainting(self.operator.image_shape, for_all.detach()).to(self.mask)
        s = self.operator.singular_values
        self.mask = s.expand(self.operator.batch_size or 1, *self.operator.image_shape).clone()


def as_physics(operator: SVDOperator, sigma: float | Tensor | torch.nn.Module | None = None) -> SVDPhysics:
    """Our operator for deepinv's samplers, data terms and training.

    Args:
        operator: A, copied. That of an ``Inpainting`` takes other masks, by ``physics.update(mask=...)`` or by a
            call's ``mask=``.
        sigma: Gaussian noise of this standard deviation in [0, 1] units, a number or (B,); or a noise model of
            deepinv. None is deepinv's own default, ``ZeroNoise``.

    Raises:
        TypeError: no operator of ours.
    """
    if not isinstance(operator, SVDOperator):
        raise TypeError(f"operator must be an SVDOperator: got {type(operator).__name__}")
    if sigma is None:
        return SVDPhysics(operator, ZeroNoise())
    return SVDPhysics(operator, sigma if isinstance(sigma, torch.nn.Module) else GaussianNoise(sigma))
