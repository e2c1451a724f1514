"""Separable operators: one matrix down the columns, another along the rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape


class Separable(SVDOperator):
    """A x = R x Cᵀ for every channel; its singular values are the products of R's and C's.

    Args:
        image_shape: (C, H, W).
        rows: R, (H', H), floating-point.
        columns: C, (W', W), floating-point.
        threshold: singular values of R and C at most this are 0; DDRM's blurs take 0.02 or 0.03.

    Raises:
        TypeError: a matrix that is no floating-point tensor.
        ValueError: other shapes, NaN or infinity, or nothing above the threshold.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, appendix D.
    """

    v_rows: Tensor
    v_columns: Tensor
    u_rows: Tensor
    u_columns: Tensor

    def __init__(self, image_shape: Sequence[int], rows: Tensor, columns: Tensor, threshold: float = 0.0) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        for name, matrix, side in (("rows", rows, height), ("columns", columns, width)):
            if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
                raise TypeError(
                    f"{name} must be a floating-point tensor: got {getattr(matrix, 'dtype', type(matrix))}"
                )
            if matrix.ndim != 2 or matrix.shape[1] != side or not bool(matrix.isfinite().all()):
                raise ValueError(f"{name} must be (n, {side}) and finite: got {tuple(matrix.shape)}")
        u_rows, s_rows, v_rows = _decomposed(rows, threshold)
        u_columns, s_columns, v_columns = _decomposed(columns, threshold)
        if not len(s_rows) or not len(s_columns):
            raise ValueError(f"threshold must leave singular values: got {threshold:g}, and none is larger")
        values = torch.zeros(1, height, width, dtype=torch.float64)
        values[0, : len(s_rows), : len(s_columns)] = torch.outer(s_rows, s_columns)
        super().__init__(image_shape, (channels, len(rows), len(columns)), values.to(rows.dtype))
        self.register_exact("v_rows", v_rows)
        self.register_exact("v_columns", v_columns)
        self.register_exact("u_rows", u_rows)
        self.register_exact("u_columns", u_columns)

    def Vt(self, x: Tensor) -> Tensor:
        z: Tensor = self.v_rows.to(x).mT @ x @ self.v_columns.to(x)
        return z

    def V(self, z: Tensor) -> Tensor:
        x: Tensor = self.v_rows.to(z) @ z @ self.v_columns.to(z).mT
        return x

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(len(y), *self.image_shape)
        ranged = self.u_rows.to(y).mT @ y @ self.u_columns.to(y)
        z[..., : ranged.shape[-2], : ranged.shape[-1]] = ranged
        return z

    def U(self, z: Tensor) -> Tensor:
        ranged = z[..., : self.u_rows.shape[1], : self.u_columns.shape[1]]
        y: Tensor = self.u_rows.to(z) @ ranged @ self.u_columns.to(z).mT
        return y


def convolution(weights: Tensor, side: int) -> Tensor:
    """(side, side): the convolution of ``side`` values with odd weights about their middle, zeros beyond them.

    Args:
        weights: (n,), n odd.
        side: of the values.
    """
    reach = len(weights) // 2
    offsets = torch.arange(side)[:, None] - torch.arange(side) + reach
    inside = (offsets >= 0) & (offsets < len(weights))
    return torch.where(inside, weights[offsets.clamp(0, len(weights) - 1)], 0)


def _decomposed(matrix: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """U and s above the threshold, and the whole V, in float64."""
    u, s, vh = torch.linalg.svd(matrix.detach().cpu().double(), full_matrices=True)
    rounding = torch.finfo(torch.float64).eps * max(matrix.shape)
    kept = int((s > max(threshold, float(s.max()) * rounding)).sum())
    return u[:, :kept], s[:kept], vh.mT
