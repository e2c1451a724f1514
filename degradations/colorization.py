"""Colorization: a weighted sum of the channels is measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.arguments import as_plain
from degradations.operator import SVDOperator, checked_shape


class Colorization(SVDOperator):
    """A sums the channels of every pixel with fixed weights, by default equal ones (the mean, as DDRM).

    One singular value, the weights' Euclidean norm, held by the channel of least weight; V = Vᵀ is one
    Householder reflection a pixel, exchanging the unit weight vector with that channel.

    Args:
        image_shape: (C, H, W) of the colour image, C ≥ 2.
        weights: C numbers, e.g. (0.299, 0.587, 0.114); None means 1/C each.

    Raises:
        ValueError: fewer than two channels, another number of weights, weights all 0 or not finite.
    """

    weights: Tensor
    reflection: Tensor

    def __init__(self, image_shape: Sequence[int], weights: Sequence[float] | Tensor | None = None) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if channels < 2:
            raise ValueError(f"image_shape must have at least 2 channels to colorize: got {channels}")
        w = torch.full((channels,), 1 / channels, dtype=torch.float64)
        if weights is not None:
            w = as_plain("weights", weights).double().cpu()
        if w.shape != (channels,) or not bool(w.isfinite().all()) or not bool(w.any()):
            raise ValueError(f"weights must be {channels} finite numbers, not all 0: got {weights}")
        norm = w.norm()
        unit = w / norm
        self.pivot = int(unit.abs().argmin())  # far from unit: the reflection is well conditioned
        away = unit.clone()
        away[self.pivot] -= 1
        reflection = torch.eye(channels, dtype=torch.float64) + torch.outer(away, away) / away[self.pivot]
        singular_values = torch.zeros(channels, 1, 1)
        singular_values[self.pivot] = norm
        super().__init__(image_shape, (1, height, width), singular_values)
        self.register_buffer("weights", w.to(singular_values.dtype))
        self.register_exact("reflection", reflection)

    def Vt(self, x: Tensor) -> Tensor:
        # One product of C × C with C × pixels: the fastest way to reflect every pixel, also for large images.
        reflected: Tensor = self.reflection.to(x) @ x.flatten(2)
        return reflected.view_as(x)

    def V(self, z: Tensor) -> Tensor:
        return self.Vt(z)

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(y.shape[0], *self.image_shape)
        z[:, self.pivot] = y[:, 0]
        return z

    def U(self, z: Tensor) -> Tensor:
        return z[:, self.pivot : self.pivot + 1]
