"""Grey pictures among colour ones: their one plane is measured, and that they have no colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from degradations.operator import SVDOperator


class Achromatic(SVDOperator):
    """A measures a grey picture held as three channels: its plane by another operator, its chroma as exactly 0.

    What is wanted is the grey picture g that a prior of colour pictures finds likely, given y = A_g g + σ n: the
    prior conditioned on no colour. In the orthonormal basis of the axis (1, 1, 1)/√3 and two chroma axes a
    picture x has the plane w = √3 mean(x) and two chroma planes. A x is A_g (w/√3), with the noise σ of one
    plane, beside the chroma planes as they are, which the measurement of a grey picture holds as 0 *without*
    noise (``noiseless``).

    Plane noise σ is the same number in all three channels, hence √3 σ along the grey axis: s is s_g/√3 there. A
    sampler adds noise of its own to the chroma at every level, as a colour network expects, and ends at 0, so
    that a result is grey. To copy y to three channels as if each had noise of its own would tell the network of
    less noise than there is; to average a colour result would leave the holes' invented colours in its greys.

    The measurement is one row of numbers (1, 1, M + 2 H W); :meth:`measured` makes it, :meth:`plane` undoes it.

    Args:
        operator: A_g, of images (1, H, W).

    Raises:
        ValueError: an operator of images with more channels.
    """

    axes: Tensor
    inner: SVDOperator

    def __init__(self, operator: SVDOperator) -> None:
        channels, height, width = operator.image_shape
        if channels != 1:
            raise ValueError(f"operator must be of images (1, H, W): got {operator.image_shape}")
        count = math.prod(operator.measurement_shape)
        s = operator.singular_values / math.sqrt(3)
        s = s.expand(*s.shape[:-2], height, width)
        chroma = torch.ones_like(s).repeat_interleave(2, dim=-3)
        shape = (3, height, width)
        exactly = torch.tensor([False, True, True], device=s.device).reshape(3, 1, 1)
        super().__init__(shape, (1, 1, count + 2 * height * width), torch.cat([s, chroma], dim=-3), exactly)
        self.count = count
        self.inner = operator
        if operator.per_image:
            self.per_image = tuple(f"inner.{name}" for name in {"singular_values", *operator.per_image})
        self.register_exact("axes", grey_and_chroma_axes())

    def measured(self, y: Tensor) -> Tensor:
        """The measurement (B, 1, 1, M + 2 H W) of grey pictures whose plane was measured as y (B, C', H', W')."""
        _, height, width = self.image_shape
        return torch.cat([y.flatten(1), y.new_zeros(len(y), 2 * height * width)], dim=1)[:, None, None]

    def plane(self, y: Tensor) -> Tensor:
        """What of a measurement the plane's operator measured, (B, C', H', W')."""
        return y[..., : self.count].reshape(len(y), *self.inner.measurement_shape)

    def Vt(self, x: Tensor) -> Tensor:
        w = (self.axes.to(x) @ x.flatten(2)).view_as(x)
        return torch.cat([self.inner.Vt(w[:, :1]), w[:, 1:]], dim=1)

    def V(self, z: Tensor) -> Tensor:
        w = torch.cat([self.inner.V(z[:, :1]), z[:, 1:]], dim=1)
        return (self.axes.T.to(z) @ w.flatten(2)).view_as(z)

    def Ut(self, y: Tensor) -> Tensor:
        _, height, width = self.image_shape
        chroma = y[..., self.count :].reshape(len(y), 2, height, width)
        return torch.cat([self.inner.Ut(self.plane(y)), chroma], dim=1)

    def U(self, z: Tensor) -> Tensor:
        parts = self.inner.U(z[:, :1]).flatten(1), z[:, 1:].flatten(1)
        return torch.cat(parts, dim=1)[:, None, None]


def grey_and_chroma_axes() -> Tensor:
    """An orthonormal basis of colours, (3, 3) float64: the grey axis (1, 1, 1)/√3, and two axes of chroma."""
    r = math.sqrt(1 / 3), math.sqrt(1 / 2), math.sqrt(1 / 6)
    return torch.tensor([[r[0], r[0], r[0]], [r[1], -r[1], 0], [r[2], r[2], -2 * r[2]]], dtype=torch.float64)
