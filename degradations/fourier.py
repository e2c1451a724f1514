"""Fourier operators of real images, in an orthonormal real basis.

The discrete Hartley transform H = Re F − Im F (F orthonormal) is orthonormal, symmetric and real. With X = F x of
a real x, X_k = a + i b and X_{−k} = a − i b, its coefficients are h_k = a − b and h_{−k} = a + b: the even part of
h is Re X and minus its odd part is Im X. Whatever scales a and b alike is diagonal in it.

Source: Bracewell, *Discrete Hartley transform*, 1983.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape

AXES = (-2, -1)


class _Hartley(SVDOperator):
    """An operator whose V is the Hartley transform of each channel."""

    def Vt(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x, norm="ortho")
        z: Tensor = spectrum.real - spectrum.imag
        return z

    def V(self, z: Tensor) -> Tensor:
        return self.Vt(z)


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


class Blur(_Hartley):
    """A convolves every channel with a kernel, the image being periodic; s = |ĥ|, and U turns by ĥ's phase.

    Where |ĥ| is below float32 rounding of its largest value, s is 0: nothing can be said there.

    Args:
        image_shape: (C, H, W) of one image.
        kernel: (h, w); (C, h, w) for one a channel; (B, C, h, w) or (B, 1, h, w) for one an image. At most as
            large as the image; its centre is at (h // 2, w // 2). Singular values have its dtype.

    Raises:
        TypeError: a kernel that is not a floating-point tensor.
        ValueError: a kernel of another shape, not finite, or 0 everywhere.
    """

    per_image = ("singular_values", "angle")
    angle: Tensor

    def __init__(self, image_shape: Sequence[int], kernel: Tensor) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
            raise TypeError(
                f"kernel must be a floating-point tensor: got {getattr(kernel, 'dtype', type(kernel))}"
            )
        h = kernel.detach().double()
        h = h[None] if h.ndim == 2 else h
        if h.ndim not in (3, 4) or h.shape[-3] not in (1, channels) or h.shape[-2] > height or h.shape[-1] > width:
            raise ValueError(
                f"kernel must be (h, w), (C, h, w) or (B, C, h, w) and at most as large as the image, "
                f"{(channels, height, width)}: got {tuple(kernel.shape)}"
            )
        if not bool(h.isfinite().all()) or not bool(h.any()):
            raise ValueError("kernel must be finite and not 0 everywhere: got NaN, infinity or only zeros")
        rows, columns = h.shape[-2:]
        point = torch.nn.functional.pad(h, (0, width - columns, 0, height - rows))
        transfer = torch.fft.fft2(point.roll((-(rows // 2), -(columns // 2)), AXES))
        transfer = transfer.expand(*h.shape[:-3], channels, height, width)
        s = transfer.abs()
        floor = s.amax((-3, -2, -1), keepdim=True) * torch.finfo(torch.float32).eps * max(height, width)
        super().__init__(s.shape[-3:], s.shape[-3:], torch.where(s > floor, s, 0).to(kernel.dtype))
        self.register_buffer("angle", transfer.angle().to(kernel.dtype))

    def U(self, z: Tensor) -> Tensor:
        y: Tensor = torch.fft.ifft2(to_complex(self._known(z)) * self._phase(), norm="ortho").real
        return y

    def Ut(self, y: Tensor) -> Tensor:
        return self._known(to_hartley(torch.fft.fft2(y, norm="ortho") * self._phase().conj()))

    def _phase(self) -> Tensor:
        return torch.polar(torch.ones_like(self.angle), self.angle)

    def _known(self, z: Tensor) -> Tensor:
        return z * (self.singular_values > 0)


class FourierSampling(_Hartley):
    """A keeps some values of the centred k-space of a real image, as single-coil MRI does.

    y holds the real parts of all channels, then their imaginary parts. F x at −k is the conjugate of that at k,
    so the pair is measured with s² = (m_k² + m_{−k}²)/2, which is ½ where the mask keeps one of them. The
    imaginary part at a frequency that is its own opposite is nothing but noise.

    Args:
        image_shape: (C, H, W) of one image; measurements are (2 C, H, W).
        mask: True or 1 where kept, False or 0 elsewhere, frequency 0 in the middle. (H, W) or (1, H, W): the same
            for all channels; (B, 1, H, W): one for each of B images.

    Raises:
        ValueError: a mask of another shape, or with values other than 0 and 1.
    """

    per_image = ("singular_values", "kept")
    kept: Tensor

    def __init__(self, image_shape: Sequence[int], mask: Tensor) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        kept = torch.as_tensor(mask).detach().to(torch.get_default_dtype())
        if not bool(((kept == 0) | (kept == 1)).all()):
            raise ValueError("mask must hold only True/1 (kept) and False/0 (not measured)")
        kept = kept[None] if kept.ndim == 2 else kept
        if kept.ndim not in (3, 4) or kept.shape[-3:] != (1, height, width):
            raise ValueError(
                f"mask must be (H, W), (1, H, W) or (B, 1, H, W) of the image's {(channels, height, width)}: "
                f"got {tuple(mask.shape)}"
            )
        kept = torch.fft.ifftshift(kept, AXES)
        super().__init__(image_shape, (2 * channels, height, width), pair_norm(kept))
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
        real, imag = torch.fft.ifftshift(y, AXES).chunk(2, dim=1)
        return to_hartley(torch.complex(real, imag) * self._weights())

    def zero_filled(self, y: Tensor) -> Tensor:
        """The magnitude (B, C, H, W) of y's inverse transform with 0 where nothing was measured.

        It is what scanners show of too few lines. Unlike ``pinv`` it does not assume that the image is real, so
        that it does not use what F x at k says of F x at −k.
        """
        real, imag = torch.fft.ifftshift(y, AXES).chunk(2, dim=1)
        image = torch.fft.ifft2(torch.complex(real, imag) * self.kept, norm="ortho")
        magnitude: Tensor = torch.fft.fftshift(image, AXES).abs()
        return magnitude

    def _weights(self) -> Tensor:
        """m/s, 0 where s is."""
        s = pair_norm(self.kept)
        return torch.where(s > 0, self.kept / torch.where(s > 0, s, 1), 0)


def pair_norm(mask: Tensor) -> Tensor:
    """√((m_k² + m_{−k}²)/2)."""
    return ((mask**2 + opposite(mask) ** 2) / 2).sqrt()
