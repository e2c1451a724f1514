"""Any matrix, for images small enough for one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape

KEPT = 4
"""Decompositions that are remembered."""
_known: OrderedDict[str, tuple[Tensor, Tensor, Tensor]] = OrderedDict()


class Dense(SVDOperator):
    """A is a matrix, decomposed once in float64; an equal matrix is not decomposed again.

    Singular values below float64's rounding of the largest are 0. Memory is n² numbers for n = C·H·W.

    Args:
        image_shape: (C, H, W).
        matrix: (m, C·H·W), floating-point, finite.

    Raises:
        TypeError: a matrix that is no floating-point tensor.
        ValueError: another shape, NaN or infinity, or zeros everywhere.
    """

    v: Tensor
    u: Tensor

    def __init__(self, image_shape: Sequence[int], matrix: Tensor) -> None:
        shape = checked_shape("image_shape", image_shape)
        n = shape[0] * shape[1] * shape[2]
        if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
            raise TypeError(
                f"matrix must be a floating-point tensor: got {getattr(matrix, 'dtype', type(matrix))}"
            )
        if matrix.ndim != 2 or matrix.shape[1] != n or not len(matrix):
            raise ValueError(f"matrix must be (m, {n}) for images {shape}: got {tuple(matrix.shape)}")
        if not bool(matrix.isfinite().all()) or not bool(matrix.any()):
            raise ValueError("matrix must be finite and not 0 everywhere: got NaN, infinity or only zeros")
        u, s, v = _decomposed(matrix.detach().cpu().double())
        values = torch.zeros(n, dtype=torch.float64)
        values[: len(s)] = s
        super().__init__(shape, (len(matrix), 1, 1), values.reshape(shape).to(matrix.dtype))
        self.register_exact("v", v)
        self.register_exact("u", u)

    def Vt(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.v.to(x)).view_as(x)

    def V(self, z: Tensor) -> Tensor:
        return (z.flatten(1) @ self.v.to(z).mT).view_as(z)

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(len(y), self.v.shape[0])
        z[:, : self.u.shape[1]] = y.flatten(1) @ self.u.to(y)
        return z.view(len(y), *self.image_shape)

    def U(self, z: Tensor) -> Tensor:
        y: Tensor = z.flatten(1)[:, : self.u.shape[1]] @ self.u.to(z).mT
        return y[..., None, None]


def _decomposed(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and the whole V, without what is 0 to rounding."""
    key = hashlib.sha256(f"{tuple(matrix.shape)}".encode() + matrix.numpy().tobytes()).hexdigest()
    if key not in _known:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=True)
        rank = int((s > s.max() * torch.finfo(torch.float64).eps * max(matrix.shape)).sum())
        _known[key] = (u[:, :rank], s[:rank], vh.mT)
        while len(_known) > KEPT:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]
