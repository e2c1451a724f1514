"""Any deepinv physics that knows its singular value decomposition, as an operator of ours."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence

import torch
from deepinv.physics import DecomposablePhysics, ZeroNoise
from torch import Tensor

from degradations import SVDOperator
from restoration.errors import first_line


class Decomposed(SVDOperator):
    """A = U diag(mask) Vᵀ by the physics' own U and V, which are copied as they are now.

    They are applied in the mask's dtype where that is the wider one. Signs of the mask go into U. Measurements of
    fewer than three dimensions get ones behind: (C, m) is (C, m, 1).

    Args:
        physics: with an orthonormal V between images and a spectral domain of as many real numbers.
        image_shape: (C, H, W) of one image.

    Raises:
        ValueError: no mask yet, or a spectral domain that is complex or of another size than the image.
    """

    per_image = ("singular_values", "signs")
    signs: Tensor

    def __init__(self, physics: DecomposablePhysics, image_shape: Sequence[int]) -> None:
        if physics.mask is None:
            raise ValueError(f"{type(physics).__name__} has no mask yet: set it with physics.update(mask=...)")
        bases = copied(physics)
        spectrum, values = _spectrum(bases, image_shape)
        values = values[0] if len(values) == 1 else values
        measured = bases.U(spectrum).shape[1:]
        padded = (*measured, 1, 1)[:3] if len(measured) <= 3 else (math.prod(measured), 1, 1)
        super().__init__(image_shape, padded, values.abs())
        self.register_buffer("signs", values.sign())
        bases.mask = None  # it is singular_values · signs
        self.bases = bases
        self._spectral, self._measured = tuple(spectrum.shape[1:]), tuple(measured)

    def Vt(self, x: Tensor) -> Tensor:
        z: Tensor = self.bases.V_adjoint(self._wide(x))
        return z.reshape(x.shape).to(x)

    def V(self, z: Tensor) -> Tensor:
        x: Tensor = self.bases.V(self._wide(z).reshape(len(z), *self._spectral))
        return x.reshape(z.shape).to(z)

    def Ut(self, y: Tensor) -> Tensor:
        z: Tensor = self.bases.U_adjoint(self._wide(y).reshape(len(y), *self._measured))
        return self._signed(z.reshape(len(y), *self.image_shape)).to(y)

    def U(self, z: Tensor) -> Tensor:
        y: Tensor = self.bases.U(self._signed(self._wide(z)).reshape(len(z), *self._spectral))
        return y.reshape(len(z), *self.measurement_shape).to(z)

    def fingerprint(self) -> str:
        """As every operator's, with the physics' kind and settings, which say what its U and V are."""
        settings = [
            (type(module).__qualname__, name, value)
            for module in self.bases.modules()
            for name, value in sorted(vars(module).items())
            if isinstance(value, (bool, int, float, str, tuple)) and name != "training"
        ]
        return hashlib.sha256(
            f"{super().fingerprint()} {type(self.bases).__qualname__} {settings}".encode()
        ).hexdigest()

    def _wide(self, values: Tensor) -> Tensor:
        return values.to(torch.promote_types(values.dtype, self.singular_values.dtype))

    def _signed(self, z: Tensor) -> Tensor:
        return z * self.signs


def _spectrum(bases: DecomposablePhysics, image_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """An empty spectrum (1, …) of an image, and the mask in the image's shape, (1, C, H, W) or (B, C, H, W)."""
    name, mask = type(bases).__name__, torch.as_tensor(bases.mask).detach()
    if not mask.is_floating_point() and not mask.is_complex():
        mask = mask.to(torch.get_default_dtype())
    image = torch.zeros(1, *image_shape, dtype=mask.real.dtype, device=mask.device)
    try:
        spectrum = bases.V_adjoint(image)
        values = mask * torch.ones_like(spectrum)
    except RuntimeError as error:
        raise ValueError(f"{name} must take images of {tuple(image_shape)}: {first_line(error)}") from None
    if values.is_complex():
        raise ValueError(f"{name} must have a real spectral domain: its V_adjoint or mask is complex")
    if spectrum.numel() != image.numel():
        raise ValueError(
            f"{name} must have a V with as many columns as the image has values, {image.numel()}: it has "
            f"{spectrum.numel()} (an economic basis), and how to complete it is not known"
        )
    if values.shape[1:] != spectrum.shape[1:]:
        raise ValueError(
            f"{name} must have a mask that fits its spectral domain, {tuple(spectrum.shape)}: got "
            f"{tuple(mask.shape)}"
        )
    return spectrum, values.reshape(-1, *image_shape)


def copied(physics: DecomposablePhysics) -> DecomposablePhysics:
    """A copy without noise and random generators: the original may be moved and updated, and clone() is slow.

    Its tensors are all buffers, also those that the physics keeps as plain attributes.
    """
    generators = [
        value
        for module in physics.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Generator)
    ]
    memo: dict[int, object] = {id(generator): generator for generator in generators}
    for buffer in physics.buffers():
        if not buffer.is_leaf:  # e.g. a learned mask, which deepcopy refuses
            memo[id(buffer)] = buffer.detach().clone()
    copy_: DecomposablePhysics = copy.deepcopy(physics, memo)
    copy_.noise_model = ZeroNoise()
    for module in copy_.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, torch.Generator):
                setattr(module, name, None)
            elif isinstance(value, Tensor):
                delattr(module, name)
                module.register_buffer(name, value)
    return copy_.requires_grad_(False)
