"""Compressed sensing: a few random patterns of ±1, by a fast Walsh–Hadamard transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape


class CompressedSensing(SVDOperator):
    """A keeps some coefficients of the Walsh–Hadamard transform of every channel's pixels, flipped and shuffled.

    Signs are drawn at random, pixels are put in a random order, transformed, and a random share of coefficients
    is kept: V is orthonormal, every s is 1 or 0. Where the number of pixels is no power of two, they are
    transformed in runs that are, the longest that fit (96 = 64 + 32); padding would leave no orthonormal basis.

    Args:
        image_shape: (C, H, W).
        ratio: measurements a pixel, above 0 and at most 1; DDRM's "CS 4×" is 0.25.
        seed: of signs, order and choice, which are the same for all channels and on any device.

    Raises:
        ValueError: a ratio that leaves nothing, or is above 1; a seed that is no number from 0 to 2⁶³ − 1.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, appendix D: the transform.
    """

    order: Tensor
    signs: Tensor
    kept: Tensor

    def __init__(self, image_shape: Sequence[int], ratio: float, seed: int = 0) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        pixels = height * width
        if not 0 < ratio <= 1 or round(ratio * pixels) < 1:
            raise ValueError(f"ratio must be above 0, leave one measurement and be at most 1: got {ratio}")
        if seed != int(seed) or not 0 <= seed < 2**63:
            raise ValueError(f"seed must be a whole number from 0 to 2⁶³ − 1: got {seed}")
        generator = torch.Generator().manual_seed(int(seed))
        order = torch.randperm(pixels, generator=generator)
        signs = torch.randint(0, 2, (pixels,), generator=generator) * 2.0 - 1
        kept = torch.randperm(pixels, generator=generator)[: round(ratio * pixels)].sort().values
        values = torch.zeros(pixels)
        values[kept] = 1
        super().__init__(image_shape, (channels, len(kept), 1), values.reshape(1, height, width))
        self.register_buffer("order", order)
        self.register_buffer("signs", signs.to(values.dtype))
        self.register_buffer("kept", kept)

    def Vt(self, x: Tensor) -> Tensor:
        shuffled = (x.flatten(2) * self.signs.to(x))[..., self.order]
        return _transformed(shuffled).view_as(x)

    def V(self, z: Tensor) -> Tensor:
        shuffled = _transformed(z.flatten(2))
        x = torch.empty_like(shuffled)
        x[..., self.order] = shuffled
        return (x * self.signs.to(z)).view_as(z)

    def Ut(self, y: Tensor) -> Tensor:
        z = y.new_zeros(*y.shape[:2], self.order.numel())
        z[..., self.kept] = y[..., 0]
        return z.view(len(y), *self.image_shape)

    def U(self, z: Tensor) -> Tensor:
        return z.flatten(2)[..., self.kept, None]


def _transformed(values: Tensor) -> Tensor:
    """The orthonormal transform of (..., n), in runs whose lengths are the powers of two that n is made of."""
    n = values.shape[-1]
    lengths = [1 << bit for bit in reversed(range(n.bit_length())) if n >> bit & 1]
    return torch.cat([walsh_hadamard(run) for run in torch.split(values, lengths, dim=-1)], dim=-1)


def walsh_hadamard(values: Tensor) -> Tensor:
    """The orthonormal Walsh–Hadamard transform, its own inverse, of (..., n), n a power of two: O(n log n)."""
    n = values.shape[-1]
    half, out = 1, values
    while half < n:
        pairs = out.reshape(*values.shape[:-1], n // (2 * half), 2, half)
        first, second = pairs.unbind(-2)
        out = torch.stack([first + second, first - second], dim=-2)
        half *= 2
    transformed: Tensor = out.reshape(values.shape) / n**0.5
    return transformed
