"""Denoising: the image itself is measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator


class Denoising(SVDOperator):
    """A = I: every pixel is measured, and only the measurement's noise degrades it.

    Args:
        image_shape: (C, H, W) of one image.
    """

    def __init__(self, image_shape: Sequence[int]) -> None:
        super().__init__(image_shape, image_shape, torch.ones(1, 1, 1))

    def Vt(self, x: Tensor) -> Tensor:
        return x

    def V(self, z: Tensor) -> Tensor:
        return z

    def Ut(self, y: Tensor) -> Tensor:
        return y

    def U(self, z: Tensor) -> Tensor:
        return z
