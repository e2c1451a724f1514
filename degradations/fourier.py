"""Fourier operators of real images, in an orthonormal real basis.

The discrete Hartley transform H = Re F − Im F (F orthonormal) is orthonormal, symmetric and real. With X = F x of
a real x, X_k = a + i b and X_{−k} = a − i b, its coefficients are h_k = a − b and h_{−k} = a + b: the even part of
h is Re X and minus its odd part is Im X. Whatever scales a and b alike is diagonal in it.

Source: Bracewell, *Discrete Hartley transform*, 1983.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from degradations.operator import Index, SVDOperator

AXES = (-2, -1)


class _Hartley(SVDOperator):
    """An operator whose V is the Hartley transform of each channel."""

    def Vt(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x, norm="ortho")
        z: Tensor = spectrum.real - spectrum.imag
        return z

    def V(self, z: Tensor) -> Tensor:
        return self.Vt(z)

    @property
    def batch_size(self) -> int | None:
        return len(self.singular_values) if self.singular_values.ndim == 4 else None

    def take(self, index: Index) -> SVDOperator:
        if self.batch_size is None:
            return self
        chosen, taken = [index] if isinstance(index, int) else index, copy.deepcopy(self)
        for name, buffer in self.named_buffers():
            setattr(taken, name, buffer[chosen])
        return taken


def opposite(z: Tensor) -> Tensor:
    """z at −k."""
    return z.flip(AXES).roll((1, 1), AXES)


def to_complex(z: Tensor) -> Tensor:
    """F x from Hartley coefficients z."""
    other = opposite(z)
    return torch.complex((z + other) / 2, (other - z) / 2)


def to_hartley(spectrum: Tensor) -> Tensor:
    """The adjoint of :func:`to_complex`, and its inverse on spectra of real images."""
    real, imag = spectrum.real, spectrum.imag
    return (real + opposite(real) - imag + opposite(imag)) / 2


class CircularBlur(_Hartley):
    """A convolves every channel with a filter, the image being periodic; s = |ĥ|, and U turns by ĥ's phase.

    Where |ĥ| is below float32 rounding of its largest value, s is 0: nothing can be said there.

    Args:
        response: (C, H, W), or (B, C, H, W) for one filter an image: the blur of a point at the origin.
    """

    angle: Tensor

    def __init__(self, response: Tensor) -> None:
        transfer = torch.fft.fft2(response.double())
        s = transfer.abs()
        height, width = s.shape[-2:]
        floor = s.amax((-3, -2, -1), keepdim=True) * torch.finfo(torch.float32).eps * max(height, width)
        super().__init__(s.shape[-3:], s.shape[-3:], torch.where(s > floor, s, 0).to(response.dtype))
        self.register_buffer("angle", transfer.angle().to(response.dtype))

    def U(self, z: Tensor) -> Tensor:
        y: Tensor = torch.fft.ifft2(to_complex(self._known(z)) * self._phase(), norm="ortho").real
        return y

    def Ut(self, y: Tensor) -> Tensor:
        return self._known(to_hartley(torch.fft.fft2(y, norm="ortho") * self._phase().conj()))

    def _phase(self) -> Tensor:
        return torch.polar(torch.ones_like(self.angle), self.angle)

    def _known(self, z: Tensor) -> Tensor:
        return z * (self.singular_values > 0)


class RealMRI(_Hartley):
    """A keeps some values of the centred k-space of a real image; real and imaginary parts are channels of y.

    F x at −k is the conjugate of that at k, so the pair is measured with s² = (m_k² + m_{−k}²)/2, which is ½ where
    the mask keeps one of them. The imaginary part at a frequency that is its own opposite is nothing but noise.

    Args:
        mask: (1, H, W) or (B, 1, H, W) as the measurement's rows and columns, or with two equal channels.

    Raises:
        ValueError: a mask whose real and imaginary channels differ.
    """

    kept: Tensor

    def __init__(self, mask: Tensor) -> None:
        if not bool((mask == mask[..., :1, :, :]).all()):
            raise ValueError("mask must be the same for real and imaginary parts to restore real images")
        kept = torch.fft.ifftshift(mask[..., :1, :, :].detach().to(torch.get_default_dtype()), AXES)
        kept = kept[0] if kept.ndim == 4 and len(kept) == 1 else kept
        s = pair_norm(kept)
        super().__init__(s.shape[-3:], (2, *s.shape[-2:]), s)
        self.register_buffer("kept", kept)

    def Vt(self, x: Tensor) -> Tensor:
        return super().Vt(torch.fft.ifftshift(x, AXES))

    def V(self, z: Tensor) -> Tensor:
        x: Tensor = torch.fft.fftshift(super().Vt(z), AXES)
        return x

    def U(self, z: Tensor) -> Tensor:
        spectrum = to_complex(z) * self._weights()
        y: Tensor = torch.fft.fftshift(torch.cat([spectrum.real, spectrum.imag], dim=1), AXES)
        return y

    def Ut(self, y: Tensor) -> Tensor:
        real, imag = torch.fft.ifftshift(y, AXES).split(1, dim=1)
        return to_hartley(torch.complex(real, imag) * self._weights())

    def _weights(self) -> Tensor:
        """m/s, 0 where s is."""
        s = pair_norm(self.kept)
        return torch.where(s > 0, self.kept / torch.where(s > 0, s, 1), 0)


def pair_norm(mask: Tensor) -> Tensor:
    """√((m_k² + m_{−k}²)/2)."""
    return ((mask**2 + opposite(mask) ** 2) / 2).sqrt()
