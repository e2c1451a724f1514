"""The baseline of ``benchmarks.studies.ddrm_step``: DDRM on flattened, sorted vectors, as most public code has it.

Images become (B, N) vectors whose first M coefficients are the measured ones, Σ is a vector of N numbers, and
the three cases of DDRM are boolean masks over the N with gathered assignments. Written anew from that idea.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator

# Standard normal numbers for the components that a mask of N selects, shaped as the second argument.
Draw = Callable[[Tensor, Tensor], Tensor]


class FlatBasis:
    """Vᵀ, V and Uᵀ between images and sorted vectors; as it stands, of denoising, where nothing moves."""

    def __init__(self, operator: SVDOperator) -> None:
        self.image_shape = operator.image_shape
        self.singulars = operator.singular_values.new_ones(math.prod(operator.image_shape))

    def Vt(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)

    def V(self, z: Tensor) -> Tensor:
        return z.reshape(-1, *self.image_shape)

    def Ut(self, y: Tensor) -> Tensor:
        return y.reshape(len(y), -1)


class FlatGather(FlatBasis):
    """Inpainting: known values are gathered to the front, missing ones behind them."""

    def __init__(self, operator: Inpainting) -> None:
        self.image_shape = operator.image_shape
        known = operator.singular_values.expand(self.image_shape).flatten() > 0
        self.kept, self.missing = known.nonzero()[:, 0], (~known).nonzero()[:, 0]
        self.singulars = operator.singular_values.new_zeros(len(known))
        self.singulars[: len(self.kept)] = 1

    def Vt(self, x: Tensor) -> Tensor:
        flat, z = x.reshape(len(x), -1), x.new_empty(len(x), len(self.singulars))
        z[:, : len(self.kept)] = flat[:, self.kept]
        z[:, len(self.kept) :] = flat[:, self.missing]
        return z

    def V(self, z: Tensor) -> Tensor:
        flat = torch.empty_like(z)
        flat[:, self.kept] = z[:, : len(self.kept)]
        flat[:, self.missing] = z[:, len(self.kept) :]
        return flat.reshape(-1, *self.image_shape)

    def Ut(self, y: Tensor) -> Tensor:
        return y.reshape(len(y), -1)[:, self.kept]


class FlatPatches(FlatBasis):
    """A row of weights is measured: patches times the basis of its SVD, sorted coefficient by coefficient."""

    def __init__(self, operator: SVDOperator, row: Tensor) -> None:
        self.image_shape = operator.image_shape
        u, s, vt = torch.linalg.svd(row[None], full_matrices=True)
        self.sign: Tensor = u[0, 0]
        self.basis: Tensor = vt
        self.singulars = row.new_zeros(math.prod(self.image_shape))
        self.singulars[: math.prod(operator.measurement_shape)] = s

    def unfold(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to patches (B, P, coefficients)."""
        raise NotImplementedError

    def fold(self, patches: Tensor) -> Tensor:
        """The inverse of ``unfold``."""
        raise NotImplementedError

    def Vt(self, x: Tensor) -> Tensor:
        coefficients = self.unfold(x) @ self.basis.T
        _, patches, size = coefficients.shape
        z = x.new_empty(len(x), patches * size)
        z[:, :patches] = coefficients[..., 0]
        for i in range(1, size):
            z[:, patches + i - 1 :: size - 1] = coefficients[..., i]
        return z

    def V(self, z: Tensor) -> Tensor:
        size = len(self.basis)
        patches = z.shape[1] // size
        coefficients = z.new_empty(len(z), patches, size)
        coefficients[..., 0] = z[:, :patches]
        for i in range(1, size):
            coefficients[..., i] = z[:, patches + i - 1 :: size - 1]
        return self.fold(coefficients @ self.basis)

    def Ut(self, y: Tensor) -> Tensor:
        return y.reshape(len(y), -1) * self.sign


class FlatBlocks(FlatPatches):
    """Super-resolution: the f × f blocks of each channel."""

    def __init__(self, operator: SuperResolution) -> None:
        self.f = operator.factor
        super().__init__(operator, operator.singular_values.new_full((self.f**2,), 1 / self.f**2))

    def unfold(self, x: Tensor) -> Tensor:
        return x.unfold(2, self.f, self.f).unfold(3, self.f, self.f).reshape(len(x), -1, self.f**2)

    def fold(self, patches: Tensor) -> Tensor:
        channels, height, width = self.image_shape
        blocks = patches.reshape(-1, channels, height // self.f, width // self.f, self.f, self.f)
        return blocks.transpose(3, 4).reshape(-1, *self.image_shape)


class FlatColours(FlatPatches):
    """Colorization: the channels of each pixel; a 3 × 3 basis, then a permutation to channel by channel."""

    def __init__(self, operator: Colorization) -> None:
        super().__init__(operator, operator.weights)

    def Vt(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).reshape(len(x), -1, len(self.basis))
        return (pixels @ self.basis.T).permute(0, 2, 1).reshape(len(x), -1)

    def V(self, z: Tensor) -> Tensor:
        pixels = z.reshape(len(z), len(self.basis), -1).permute(0, 2, 1)
        return (pixels @ self.basis).permute(0, 2, 1).reshape(-1, *self.image_shape)


class FlatSorted(FlatBasis):
    """Any other operator: its own fast transforms, and its coefficients sorted by falling singular values."""

    def __init__(self, operator: SVDOperator) -> None:
        self.operator, self.image_shape = operator, operator.image_shape
        s = operator.singular_values.expand(self.image_shape).flatten()
        self.singulars, self.order = s.sort(descending=True, stable=True)
        self.place = self.order.argsort()

    def Vt(self, x: Tensor) -> Tensor:
        return self.operator.Vt(x).flatten(1)[:, self.order]

    def V(self, z: Tensor) -> Tensor:
        return self.operator.V(z[:, self.place].view(-1, *self.image_shape))

    def Ut(self, y: Tensor) -> Tensor:
        return self.operator.Ut(y).flatten(1)[:, self.order][:, self.singulars > 0]


def flat_basis(operator: SVDOperator) -> FlatBasis:
    """The flattened formulation of one of our operators."""
    match operator:
        case Denoising():
            return FlatBasis(operator)
        case SuperResolution():
            return FlatBlocks(operator)
        case Colorization():
            return FlatColours(operator)
        case Inpainting():
            return FlatGather(operator)
    return FlatSorted(operator)


class FlatDDRM:
    """DDRM on flattened vectors, for one σ_y ≥ 0 of the whole batch.

    Args:
        measurement: as ``solvers.DDRM`` takes it.
        eta, eta_b: as there.
    """

    def __init__(self, measurement: Measurement, eta: float = 0.85, eta_b: float = 1.0) -> None:
        self.basis = flat_basis(measurement.operator)
        self.sigma_y, self.eta, self.eta_b = float(measurement.sigma), eta, eta_b
        s = self.basis.singulars
        self.nu = torch.where(s > 0, self.sigma_y / s, torch.inf)
        self.ybar = torch.zeros_like(s).repeat(len(measurement), 1)
        self.ybar[:, s > 0] = self.basis.Ut(measurement.y) / s[s > 0]

    @torch.no_grad()
    def step(
        self, x: Tensor, x0: Tensor, eps: Tensor, alpha_bar: float, alpha_bar_next: float, draw: Draw, lean: bool
    ) -> Tensor:
        """x at ᾱ' from x at ᾱ and the network's x̂₀ and ε, all (B, C, H, W).

        The usual step also transforms x_t, which nothing afterwards needs; ``lean`` leaves that out.
        """
        s, sigma_next = self.basis.singulars, math.sqrt((1 - alpha_bar_next) / alpha_bar_next)
        if not lean:
            self.basis.Vt(x / math.sqrt(alpha_bar))
        z0, direction = self.basis.Vt(x0), self.basis.Vt(eps)
        missing = s == 0
        noisier = (s > 0) & (s * sigma_next < self.sigma_y)
        follows = (s > 0) & (s * sigma_next >= self.sigma_y)
        keep, fresh = math.sqrt(1 - self.eta**2) * sigma_next, self.eta * sigma_next

        z = torch.empty_like(z0)
        estimate = z0[:, missing]
        z[:, missing] = estimate + keep * direction[:, missing] + fresh * draw(missing, estimate)
        estimate = z0[:, noisier]
        towards_y = (self.ybar[:, noisier] - estimate) / self.nu[noisier]
        z[:, noisier] = estimate + keep * towards_y + fresh * draw(noisier, estimate)
        estimate, spread = z0[:, follows], (sigma_next**2 - self.eta_b**2 * self.nu[follows] ** 2).sqrt()
        mean = (1 - self.eta_b) * estimate + self.eta_b * self.ybar[:, follows]
        z[:, follows] = mean + spread * draw(follows, estimate)
        return self.basis.V(z) * math.sqrt(alpha_bar_next)
