"""The interface every degradation implements."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from degradations.arguments import whole

Index = int | slice | Sequence[int] | Tensor


class SVDOperator(torch.nn.Module):
    """A linear degradation A = U diag(s) Vᵀ of images, known by its singular value decomposition.

    The spectral domain has the *shape of the image*: ``Vt`` and ``V`` map (B, C, H, W) to (B, C, H, W),
    ``singular_values`` broadcasts against it and is 0 on the null space of A. ``U`` and ``Ut`` are adjoint
    partial isometries between it and the measurement: ``Ut`` writes 0 wherever s = 0.

    A new degradation implements ``Vt``, ``V``, ``Ut`` and ``U``; :func:`degradations.check_operator` tells
    whether they fit together. Every tensor that defines it is a buffer (``register_buffer``, or
    :meth:`register_exact` for float64 bases), so that it moves, is saved, and enters the fingerprint.

    An operator is made for a batch, one for each image, where ``singular_values`` have 4 dimensions.

    Args:
        image_shape: (C, H, W) of one image.
        measurement_shape: (C', H', W') of one measurement.
        singular_values: non-negative, broadcastable against (B, C, H, W).
        noiseless: bool, broadcastable against (B, C, H, W): components that are measured exactly, whatever the
            measurement's sigma; None where there are none.

    Attributes:
        per_image: names of the buffers that have one entry for each image as soon as ``singular_values`` do. A
            class that names any promises that its methods work on such a batch, so that :meth:`stack` may
            concatenate these buffers; operators of a class that names none are stacked by applying each to its own
            image.

    Source: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, section 4 and appendix D.
    """

    per_image: tuple[str, ...] = ()
    singular_values: Tensor
    noiseless: Tensor | None

    def __init__(
        self,
        image_shape: Sequence[int],
        measurement_shape: Sequence[int],
        singular_values: Tensor,
        noiseless: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_shape("image_shape", image_shape)
        self.measurement_shape = checked_shape("measurement_shape", measurement_shape)
        self.register_buffer("singular_values", singular_values)
        self.register_buffer("noiseless", noiseless)
        self._exact: tuple[str, ...] = ()

    def register_exact(self, name: str, tensor: Tensor) -> None:
        """Register a float64 buffer that stays float64 whatever dtype the operator is converted to.

        An orthonormal basis is kept so, and cast where it is used: rounded to the operator's dtype once, it could
        not become more exact again. Where a device has no float64 (Apple's) the buffer stays on the CPU.

        Args:
            name: of the attribute.
            tensor: any shape; converted to float64.
        """
        self.register_buffer(name, tensor.detach().double())
        self._exact = (*self._exact, name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert the buffers; exact ones are only moved, to where an empty float32 tensor goes."""
        exact = {name: self._buffers[name] for name in self._exact}
        for name, buffer in exact.items():
            self._buffers[name] = None if buffer is None else buffer.new_empty(0, dtype=torch.float32)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            marker = self._buffers[name]
            self._buffers[name] = buffer
            if buffer is not None and marker is not None and marker.device.type != "mps":
                self._buffers[name] = buffer.to(marker.device)
        return self

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
        """SHA-256 of its kind, image shape and tensors: equal for equal operators, on any device.

        The operator of one image has the same fingerprint whether it was made alone or taken from a batch.
        """
        digest = hashlib.sha256(f"{type(self).__name__} {self.image_shape}".encode())
        alone = self._per_image() if self.batch_size == 1 else {}
        for name, tensor in {**self.state_dict(), **dict(self.named_buffers())}.items():
            values = tensor[0] if name in alone else tensor
            digest.update(f"{tuple(values.shape)}".encode())
            digest.update(values.detach().cpu().double().numpy().tobytes())
        return digest.hexdigest()

    @property
    def batch_size(self) -> int | None:
        """Number of images this operator is made for, or None where it serves any number."""
        return len(self.singular_values) if self.singular_values.ndim == 4 else None

    def take(self, index: Index) -> SVDOperator:
        """The operator of the images that ``index`` (a position, slice or sequence) selects from a batch."""
        if self.batch_size is None:
            return self
        chosen = [index] if isinstance(index, int) else index
        return self._with({name: buffer[chosen] for name, buffer in self._per_image().items()})

    @staticmethod
    def stack(operators: Iterable[SVDOperator]) -> SVDOperator:
        """One operator for the images of all, in order: each image keeps its own.

        Equal operators that serve any number of images become the first of them. Operators that differ only in
        their ``per_image`` buffers become one of their class; any others, also of different classes, are applied
        image by image. ``stack(operators).take(i)`` does what the i-th operator does and has its fingerprint.

        Args:
            operators: on one device; one that serves any number of images counts for one image.

        Raises:
            ValueError: no operators, or different image shapes, measurement shapes or devices.
        """
        from degradations.stacked import stack

        return stack(operators)

    def _per_image(self) -> dict[str, Tensor]:
        """The buffers with an entry for each image, by their names in ``state_dict``."""
        if self.batch_size is None:
            return {}
        names = {"singular_values", *self.per_image}
        return {name: buffer for name, buffer in self.named_buffers() if name in names}

    def _with(self, buffers: Mapping[str, Tensor]) -> Self:
        """A copy with some buffers replaced; all others are shared, since nothing writes into a buffer."""
        twin = copy.deepcopy(self, {id(buffer): buffer for buffer in self.buffers()})
        for name, buffer in buffers.items():
            owner, _, attribute = name.rpartition(".")
            setattr(twin.get_submodule(owner), attribute, buffer)
        return twin


def checked_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """``shape`` as (C, H, W) of positive whole numbers; ValueError otherwise."""
    try:
        sizes = tuple(whole(name, size, 1) for size in shape)
        channels, height, width = sizes
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be (C, H, W), three positive whole numbers: got {shape!r:.60}") from None
    return channels, height, width
