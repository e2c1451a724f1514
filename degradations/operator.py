"""The interface every degradation implements."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

Index = int | slice | Sequence[int] | Tensor


class SVDOperator(torch.nn.Module):
    """A linear degradation A = U diag(s) Vᵀ of images, known by its singular value decomposition.

    The spectral domain has the *shape of the image*: ``Vt`` and ``V`` map (B, C, H, W) to (B, C, H, W),
    ``singular_values`` broadcasts against it and is 0 on the null space of A. ``U`` and ``Ut`` are adjoint
    partial isometries between it and the measurement: ``Ut`` writes 0 wherever s = 0.

    A new degradation implements ``Vt``, ``V``, ``Ut`` and ``U``; :func:`degradations.check_operator` tells
    whether they fit together.

    Args:
        image_shape: (C, H, W) of one image.
        measurement_shape: (C', H', W') of one measurement.
        singular_values: non-negative, broadcastable against (B, C, H, W).

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, section 4 and appendix D.
    """

    singular_values: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        measurement_shape: Sequence[int],
        singular_values: Tensor,
    ) -> None:
        super().__init__()
        self.image_shape = checked_shape("image_shape", image_shape)
        self.measurement_shape = checked_shape("measurement_shape", measurement_shape)
        self.register_buffer("singular_values", singular_values)

    def Vt(self, x: Tensor) -> Tensor:
        """Image (B, C, H, W) to spectral coefficients (B, C, H, W)."""
        raise NotImplementedError

    def V(self, z: Tensor) -> Tensor:
        """Spectral coefficients (B, C, H, W) to image (B, C, H, W); the inverse of ``Vt``."""
        raise NotImplementedError

    def Ut(self, y: Tensor) -> Tensor:
        """Measurement (B, C', H', W') to spectral coefficients (B, C, H, W), 0 where s = 0."""
        raise NotImplementedError

    def U(self, z: Tensor) -> Tensor:
        """Spectral coefficients (B, C, H, W) to measurement (B, C', H', W'); what s = 0 hides is ignored."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """A x: the noiseless measurement (B, C', H', W') of images (B, C, H, W)."""
        return self.U(self.singular_values * self.Vt(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y: measurement (B, C', H', W') to image (B, C, H, W)."""
        return self.V(self.singular_values * self.Ut(y))

    def pinv(self, y: Tensor) -> Tensor:
        """A⁺ y: the image (B, C, H, W) of least norm that best explains y; 0 on the null space."""
        return self.V(self.whiten(y))

    def whiten(self, y: Tensor) -> Tensor:
        """S⁻¹ Uᵀ y: what y says of each spectral coefficient (B, C, H, W), 0 on the null space."""
        s = self.singular_values
        return torch.where(s > 0, self.Ut(y) / torch.where(s > 0, s, 1), 0)

    def fingerprint(self) -> str:
        """SHA-256 of its kind, image shape and tensors: equal for equal operators, on any device."""
        digest = hashlib.sha256(f"{type(self).__name__} {self.image_shape}".encode())
        for tensor in self.state_dict().values():
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()

    @property
    def batch_size(self) -> int | None:
        """Number of images this operator is made for, or None where it serves any number."""
        return None

    def take(self, index: Index) -> SVDOperator:
        """The operator of the images that ``index`` selects from a batch."""
        return self


def checked_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """``shape`` as (C, H, W) of positive whole numbers; ValueError otherwise."""
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 3 or min(sizes) < 1 or sizes != tuple(shape):
        raise ValueError(f"{name} must be (C, H, W), three positive whole numbers: got {tuple(shape)}")
    return sizes
