"""Missing pixels of what another operator measures."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from degradations.operator import SVDOperator


class Masked(SVDOperator):
    """A is another operator's, of whose measurement some values are missing; they are 0.

    It takes operators whose U only moves coefficients to their places: denoising, inpainting, colorization,
    averaged blocks, mosaics, and what is composed of them. There a missing value is a missing coefficient. A mask
    after a blur, or after down-sampling by more than blocks, has no singular value decomposition that is cheap.

    Args:
        inner: the operator.
        mask: True or 1 where known, of its measurement: (H', W'), (C', H', W'), (B, C', H', W') or (B, 1, H', W').

    Raises:
        ValueError: an operator whose U mixes values; a mask of another shape, or of other values than 0 and 1.
    """

    def __init__(self, inner: SVDOperator, mask: Tensor) -> None:
        s = inner.singular_values
        known = torch.as_tensor(mask).to(s)
        if not bool(((known == 0) | (known == 1)).all()):
            raise ValueError("mask must hold only True/1 (known) and False/0 (missing)")
        known = known[None] if known.ndim == 2 else known
        channels, *size = inner.measurement_shape
        if known.ndim not in (3, 4) or list(known.shape[-2:]) != size or known.shape[-3] not in (1, channels):
            raise ValueError(
                f"mask must be (H, W), (C, H, W) or (B, C, H, W) of the measurement's "
                f"{inner.measurement_shape}: got {tuple(torch.as_tensor(mask).shape)}"
            )
        if not _only_moves(inner):
            raise ValueError(
                f"inner must measure each value by itself: the U of {type(inner).__name__} mixes values, and a "
                "mask after it leaves no singular value decomposition that is cheap"
            )
        several = known.ndim == 4
        batch = known.expand(len(known) if several else inner.batch_size or 1, *inner.measurement_shape)
        kept = inner.Ut(batch) * s
        super().__init__(
            inner.image_shape, inner.measurement_shape, kept if several or inner.batch_size else kept[0]
        )
        self.inner: SVDOperator = inner
        names = () if inner.batch_size is None else ("singular_values", *inner.per_image)
        self.per_image = ("singular_values", *(f"inner.{name}" for name in names))

    def Vt(self, x: Tensor) -> Tensor:
        return self.inner.Vt(x)

    def V(self, z: Tensor) -> Tensor:
        return self.inner.V(z)

    def Ut(self, y: Tensor) -> Tensor:
        return self.inner.Ut(y) * (self.singular_values > 0)

    def U(self, z: Tensor) -> Tensor:
        return self.inner.U(z * (self.singular_values > 0))

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{super().fingerprint()} {self.inner.fingerprint()}".encode()).hexdigest()


def _only_moves(operator: SVDOperator) -> bool:
    """Whether every measured value is one coefficient, to rounding: then U of squares is the square of U."""
    s = operator.singular_values
    z = torch.rand(operator.batch_size or 1, *operator.image_shape, generator=torch.Generator().manual_seed(0))
    z = z.to(s) * (s > 0)
    return torch.allclose(operator.U(z) ** 2, operator.U(z**2), atol=100 * torch.finfo(s.dtype).eps)
