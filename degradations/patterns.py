"""Every channel seen through a few dense patterns: a single-pixel camera without a fast transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape


class Patterns(SVDOperator):
    """A = U diag(s) Vᵀ of small dense matrices, the same for every channel; V completed to all H·W columns.

    Args:
        image_shape: (C, H, W).
        u, s, vh: (m, r), (r,) and (r, H·W), an economic singular value decomposition.

    Both bases are made orthonormal in float64, so that they are so in whatever dtype they are used. Memory is
    (H·W)² numbers.
    """

    v: Tensor
    u: Tensor

    def __init__(self, image_shape: Sequence[int], u: Tensor, s: Tensor, vh: Tensor) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        rank = len(s)
        v, upper = torch.linalg.qr(vh.detach().double().mT, mode="complete")
        v[:, :rank] *= upper.diagonal().sign()
        u, upper = torch.linalg.qr(u.detach().double())
        values = torch.zeros(channels, height * width, dtype=s.dtype, device=s.device)
        values[:, :rank] = s.detach().abs()
        super().__init__(image_shape, (channels, len(u), 1), values.reshape(image_shape))
        self.register_exact("v", v)
        self.register_exact("u", u * upper.diagonal().sign())

    def Vt(self, x: Tensor) -> Tensor:
        z: Tensor = x.flatten(2) @ self.v.to(x)
        return z.view_as(x)

    def V(self, z: Tensor) -> Tensor:
        x: Tensor = z.flatten(2) @ self.v.to(z).mT
        return x.view_as(z)

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(len(y), y.shape[1], len(self.v))
        z[..., : self.u.shape[1]] = y.flatten(2) @ self.u.to(y)
        return z.view(len(y), *self.image_shape)

    def U(self, z: Tensor) -> Tensor:
        y: Tensor = z.flatten(2)[..., : self.u.shape[1]] @ self.u.to(z).mT
        return y.unsqueeze(-1)
