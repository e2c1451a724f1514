"""Down-sampling: a periodic image is filtered, and every f-th pixel is kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.fourier import AXES, opposite, to_complex
from degradations.kernels import shrinking
from degradations.operator import SVDOperator, checked_shape

ROUNDED = 1e-13
"""Share of ĥ's largest value below which it is rounding, in float64."""


class Downsampling(SVDOperator):
    """A shrinks every channel by a whole factor, as Pillow's ``resize`` does inside of the frame.

    Filtering multiplies the spectrum by ĥ; keeping every f-th pixel adds up the f² frequencies that become one. So
    after ĥ's phase, in the Hartley basis, each group of f² coefficients is measured once, along |ĥ|: s = ‖ĥ‖/f of
    the group, held by its lowest frequency, and V is one Householder reflection a group.

    Args:
        image_shape: (C, H, W) of the large image.
        factor: a whole number that divides H and W.
        kernel: "bicubic", "lanczos" or "box", the antialiasing filters of Pillow and MATLAB; or a floating-point
            (h, w), at most as large as the image. Its middle is that of a block of factor × factor pixels, so its
            sides and the factor must be both odd or both even.

    Raises:
        TypeError: a kernel that is neither a name nor a floating-point tensor.
        ValueError: another name or shape; a kernel not finite or 0 everywhere; a factor that does not divide.

    Source: Zhao et al., *Fast Single Image Super-Resolution Using a New Analytical Solution*, 2016: the groups.
    """

    cosine: Tensor
    sine: Tensor
    direction: Tensor

    def __init__(self, image_shape: Sequence[int], factor: int, kernel: str | Tensor = "bicubic") -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if factor != int(factor) or factor < 1:
            raise ValueError(f"factor must be a positive whole number: got {factor}")
        if height % factor or width % factor:
            raise ValueError(
                f"factor must divide the image's height and width: got {factor} for {height}×{width}; "
                "crop or pad to a multiple"
            )
        self.factor = int(factor)
        weights = shrinking(kernel, self.factor) if isinstance(kernel, str) else kernel
        response = self._response(weights, height, width)
        size = response.abs()
        faint = size <= size.max() * ROUNDED
        size = torch.where(faint, 0, size)
        phase = torch.where(faint, 1, response / torch.where(faint, 1, size))
        groups = self._grouped(size[None, None])
        norm = groups.square().sum((-4, -2), keepdim=True).sqrt()
        norm = torch.where(norm > norm.max() * torch.finfo(torch.float32).eps * max(height, width), norm, 0)
        lowest = torch.zeros_like(groups)
        lowest[:, :, :1, :, :1] = 1  # where nothing is measured any direction will do
        unit = torch.where(norm > 0, groups / torch.where(norm > 0, norm, 1), lowest)
        small = (height // self.factor, width // self.factor)
        values = torch.zeros(1, height, width, dtype=torch.float64)
        values[:, : small[0], : small[1]] = norm.reshape(small) / self.factor
        super().__init__(image_shape, (channels, *small), values.to(torch.get_default_dtype()))
        self.register_exact("cosine", phase.real)
        self.register_exact("sine", phase.imag)
        self.register_exact("direction", unit.reshape(height, width))

    def Vt(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x, norm="ortho") * self._phase(x)
        return self._reflected(spectrum.real - spectrum.imag)

    def V(self, z: Tensor) -> Tensor:
        spectrum = to_complex(self._reflected(z)) * self._phase(z).conj()
        x: Tensor = torch.fft.ifft2(spectrum, norm="ortho").real
        return x

    def U(self, z: Tensor) -> Tensor:
        _, rows, columns = self.measurement_shape
        spectrum = torch.fft.fft2(self._known(z)[..., :rows, :columns], norm="ortho")
        y: Tensor = spectrum.real - spectrum.imag
        return y

    def Ut(self, y: Tensor) -> Tensor:
        _, rows, columns = self.measurement_shape
        spectrum = torch.fft.fft2(y, norm="ortho")
        z = y.new_zeros(len(y), *self.image_shape)
        z[..., :rows, :columns] = spectrum.real - spectrum.imag
        return self._known(z)

    def _known(self, z: Tensor) -> Tensor:
        return z * (self.singular_values > 0)

    def _phase(self, like: Tensor) -> Tensor:
        return torch.complex(self.cosine.to(like), self.sine.to(like))

    def _grouped(self, h: Tensor) -> Tensor:
        """(B, C, H, W) as (B, C, f, H/f, f, W/f): the f² frequencies of a group are those over both f."""
        f = self.factor
        return h.reshape(*h.shape[:2], f, h.shape[2] // f, f, h.shape[3] // f)

    def _reflected(self, h: Tensor) -> Tensor:
        """Minus the reflection that takes each group's direction u to its lowest frequency e: w = u + e.

        Both are ≥ 0 there, so |w|² = 2 (1 + u·e) is never small.
        """
        unit = self._grouped(self.direction.to(h)[None, None])
        groups = self._grouped(h)
        first = groups[:, :, :1, :, :1]
        along = (unit * groups).sum((-4, -2), keepdim=True)
        share = (along + first) / (1 + unit[:, :, :1, :, :1])
        out = unit * share - groups
        out[:, :, :1, :, :1] += share
        return out.reshape(h.shape)

    def _response(self, kernel: Tensor, height: int, width: int) -> Tensor:
        """ĥ, (H, W) complex128, exactly that of a real kernel: its value at −k is the conjugate of that at k."""
        if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
            raise TypeError(
                f"kernel must be a name or a floating-point tensor: got {getattr(kernel, 'dtype', type(kernel))}"
            )
        weights = kernel.detach().cpu().double()
        if weights.ndim != 2 or weights.shape[0] > height or weights.shape[1] > width:
            raise ValueError(
                f"kernel must be (h, w) and at most as large as the image, {height}×{width}: got "
                f"{tuple(kernel.shape)}"
            )
        if any((side - self.factor) % 2 for side in weights.shape):
            raise ValueError(
                f"kernel must have sides that are odd or even as the factor, {self.factor}: got "
                f"{tuple(kernel.shape)}; add a row or column of zeros"
            )
        if not bool(weights.isfinite().all()) or not bool(weights.any()):
            raise ValueError("kernel must be finite and not 0 everywhere: got NaN, infinity or only zeros")
        rows, columns = weights.shape
        point = torch.nn.functional.pad(weights, (0, width - columns, 0, height - rows))
        begin = tuple((self.factor - side) // 2 for side in (rows, columns))
        # Pixel i of the small image is Σ h_d x_{f i + d}: a correlation.
        response = torch.fft.fft2(point.roll(begin, AXES)).conj()
        real, imag = response.real, response.imag
        return torch.complex((real + opposite(real)) / 2, (imag - opposite(imag)) / 2)
