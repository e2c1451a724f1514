"""Super-resolution: square blocks of pixels are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.arguments import whole
from degradations.operator import SVDOperator, checked_shape


class SuperResolution(SVDOperator):
    """A averages every factor × factor block of each channel into one pixel.

    Singular value 1/factor at the top-left pixel of each block, 0 elsewhere. V = Vᵀ is one Householder
    reflection a block, exchanging the block's unit mean vector with its top-left pixel.

    Args:
        image_shape: (C, H, W) of the large image.
        factor: side of a block in pixels; must divide H and W.

    Raises:
        ValueError: the factor does not divide the image.
    """

    def __init__(self, image_shape: Sequence[int], factor: int) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        try:
            whole("factor", factor, 1)
        except (TypeError, ValueError):
            raise ValueError(f"factor must be a positive whole number: got {factor!r}") from None
        if height % factor or width % factor:
            raise ValueError(
                f"factor must divide the image's height and width: got {factor} for {height}×{width}; "
                "crop or pad to a multiple"
            )
        self.factor = int(factor)
        singular_values = torch.zeros(1, height, width)
        singular_values[:, :: self.factor, :: self.factor] = 1 / self.factor
        super().__init__(image_shape, (channels, height // factor, width // factor), singular_values)

    def Vt(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        f = self.factor
        rows = x.reshape(*x.shape[:-2], -1, f, x.shape[-1])
        along = rows.sum(-2).reshape(*x.shape[:-2], -1, x.shape[-1] // f, f).sum(-1) / f
        correction = (along - x[..., ::f, ::f]) / (f - 1)
        reflected = (rows - correction.repeat_interleave(f, -1).unsqueeze(-2)).flatten(-3, -2)
        reflected[..., ::f, ::f] = along
        return reflected

    def V(self, z: Tensor) -> Tensor:
        return self.Vt(z)

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(y.shape[0], *self.image_shape)
        z[..., :: self.factor, :: self.factor] = y
        return z

    def U(self, z: Tensor) -> Tensor:
        return z[..., :: self.factor, :: self.factor]
