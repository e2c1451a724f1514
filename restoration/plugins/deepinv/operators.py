"""deepinv's physics as operators of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from deepinv.physics import (
    MRI,
    BlurFFT,
    Decolorize,
    DecomposablePhysics,
    Downsampling,
    Inpainting,
    Physics,
    SinglePixelCamera,
)
from deepinv.physics import Blur as Convolution
from torch import Tensor

from degradations import (
    Blur,
    Colorization,
    FourierSampling,
    OperatorCheckError,
    Patterns,
    SVDOperator,
    check_operator,
)
from degradations import Downsampling as Shrinking
from degradations.fourier import AXES
from restoration.plugins.deepinv.decomposed import Decomposed
from restoration.plugins.deepinv.physics import SVDPhysics

INSTEAD = {
    "Downsampling": 'take padding="circular"',
    "DownsamplingMatlab": "take as_physics(Downsampling(image_shape, factor)), which is bicubic and circular",
    "Upsampling": "take Downsampling",
    "Blur": 'take padding="circular"',
    "MultiCoilMRI": "take MRI for a single coil",
}
ANYHOW = "take deepinv's DiffPIR or DPS with as_denoiser(prior), or write an SVDOperator (docs/custom-operator.md)"
TOLERANCE = 1e-4
"""Relative, of A by two programs in float32: their transforms differ by some 1e-6, another A by far more."""


def from_physics(physics: Physics, image_shape: Sequence[int] | None = None) -> SVDOperator:
    """The operator of a deepinv physics as it is now; later updates of the physics do not reach it.

    Works with every ``DecomposablePhysics`` whose bases are orthonormal (Denoising, Inpainting, Demosaicing, MRI
    with images of 2 channels, SinglePixelCamera, one's own). By bases of ours it works with MRI of real images,
    BlurFFT, whose half spectrum has inner columns once that count twice, circular Blur and Downsampling, and the
    economic bases of Decolorize and SinglePixelCamera(fast=False). All are checked on random numbers.

    Args:
        physics: A.
        image_shape: (C, H, W) of one image; None means ``physics.img_size``. (1, H, W) with MRI means real images.

    Raises:
        TypeError: a physics without a singular value decomposition, by name, with what to take in its place.
        ValueError: bases that are not orthonormal; a shape that does not fit.
    """
    refuse_undecomposable(physics)
    name = type(physics).__name__
    if isinstance(physics, SVDPhysics):
        operator, forward = copy.deepcopy(physics.operator), physics.A
    else:
        operator, forward = _adapt(physics, _shape(physics, image_shape))
    if image_shape is not None and operator.image_shape != tuple(image_shape):
        raise ValueError(
            f"image_shape must be that of {name}, {operator.image_shape}: got {tuple(image_shape)} (a prior "
            "brings its own; TiledPrior fits larger images)"
        )
    _check(physics, operator, forward)
    return operator


def refuse_undecomposable(physics: Physics) -> None:
    """TypeError, saying what to take instead, for a physics without a singular value decomposition."""
    name = type(physics).__name__
    if not isinstance(physics, DecomposablePhysics) and not _circular(physics):
        reasons = [INSTEAD[name], "or"] if name in INSTEAD else []
        raise TypeError(f"physics {name} has no singular value decomposition: {' '.join([*reasons, ANYHOW])}")


def _circular(physics: Physics) -> bool:
    """Whether it is a blur or down-sampling of periodic images, which its filter decides."""
    return type(physics) in (Convolution, Downsampling) and getattr(physics, "padding", None) == "circular"


def _shape(physics: Physics, image_shape: Sequence[int] | None) -> tuple[int, ...]:
    own = getattr(physics, "img_size", None)
    if isinstance(physics, MRI):
        if physics.mask.ndim != 4:  # volumes, and DynamicMRI
            raise ValueError(
                f"{type(physics).__name__} must be of slices, (2, H, W): its mask is {tuple(physics.mask.shape)}"
            )
        own = physics.mask.shape[1:]  # its img_size is not updated with its mask
    own = tuple(own) if own is not None and len(own) == 3 else None
    shape = own if image_shape is None else tuple(image_shape)
    if shape is None:
        raise ValueError(f"image_shape must be given for {type(physics).__name__}, which does not tell it")
    fits = own in (None, shape) or (isinstance(physics, MRI) and own is not None and shape == (1, *own[1:]))
    if not fits or len(shape) != 3:
        real = f" or, of real images, (1, {own[1]}, {own[2]})" if isinstance(physics, MRI) and own else ""
        raise ValueError(
            f"image_shape must be that of {type(physics).__name__}, {own or '(C, H, W)'}{real}: got {shape}"
            " (a prior brings its own; TiledPrior fits larger images)"
        )
    return shape


def _adapt(physics: Physics, shape: tuple[int, ...]) -> tuple[SVDOperator, Callable[[Tensor], Tensor]]:
    """The operator, and A as the physics itself says it."""
    if isinstance(physics, (MRI, Inpainting)) and physics.mask is not None:
        binary = bool(((physics.mask == 0) | (physics.mask == 1)).all())
        if not binary:
            raise ValueError(
                f"{type(physics).__name__} must have a mask of 0 and 1: by another its noisy measurement is not "
                "A x plus noise, since it multiplies that by the mask once more"
            )
    if isinstance(physics, MRI) and shape[0] == 1:
        return _real_mri(physics.mask, shape), lambda x: physics.A(torch.cat([x, torch.zeros_like(x)], dim=1))
    if isinstance(physics, (BlurFFT, Convolution)) or type(physics) is Downsampling:
        if physics.filter is None and not isinstance(physics, Downsampling):
            raise ValueError(f"{type(physics).__name__} has no filter yet: set it with physics.update(filter=...)")
        if type(physics) is Downsampling:
            return _shrinking(physics, shape), physics.A
        return Blur(shape, torch.fft.fftshift(_response(physics, shape), AXES)), physics.A
    if isinstance(physics, Decolorize):
        return Colorization(shape, physics.srf.detach().flatten()).to(physics.srf.device), physics.A
    if isinstance(physics, SinglePixelCamera) and not physics.fast:
        return Patterns(shape, physics.u, physics.mask.flatten(), physics.vh), physics.A
    return Decomposed(physics, shape), physics.A


def _real_mri(mask: Tensor, shape: tuple[int, ...]) -> FourierSampling:
    if not bool((mask == mask[..., :1, :, :]).all()):
        raise ValueError("mask must be the same for real and imaginary parts to restore real images")
    kept = mask[..., :1, :, :]
    return FourierSampling(shape, kept[0] if len(kept) == 1 else kept)


def _shrinking(physics: Downsampling, shape: tuple[int, ...]) -> Shrinking:
    """The filter as ours: about the middle of a block, where deepinv's is about its first pixel."""
    factor = int(physics.factor)
    if physics.filter is None:
        response = torch.zeros(shape[1:])
        response[0, 0] = 1
    else:
        if len(physics.filter) > 1 or physics.filter.shape[1] > 1:
            raise ValueError(
                f"Downsampling must have one filter for all images and channels: got {tuple(physics.filter.shape)}"
            )
        # Its A is the blur that padding and filter make, and then every factor-th pixel.
        blur = Convolution(physics.filter, padding="circular", device=physics.filter.device)
        response = _response(blur, (1, *shape[1:]))[0]
    # What lies d pixels from a kept one has the weight h(−d).
    around = response.flip(AXES).roll((1, 1), AXES)
    sides = [side - (side - factor) % 2 for side in shape[1:]]
    for axis, side in zip(AXES, sides, strict=True):
        around = around.roll((side - factor) // 2, axis).narrow(axis, 0, side)
    return Shrinking(shape, factor, around)


def _response(physics: Physics, shape: tuple[int, ...]) -> Tensor:
    """(C, H, W) or (B, C, H, W): the blur of a point at the origin."""
    point = torch.zeros(len(physics.filter), *shape, device=physics.filter.device)
    point[..., 0, 0] = 1
    response: Tensor = physics.A(point).detach()
    return response[0] if len(response) == 1 else response


@torch.no_grad()
def _check(physics: Physics, operator: SVDOperator, forward: Callable[[Tensor], Tensor]) -> None:
    """ValueError unless the operator keeps its promises and is the physics, on random numbers."""
    name, s, generator = type(physics).__name__, operator.singular_values, torch.Generator().manual_seed(0)
    try:
        check_operator(operator)
    except OperatorCheckError as error:
        raise ValueError(f"physics {name} must have orthonormal U and V: {error}; {ANYHOW}") from None
    x = torch.randn(operator.batch_size or 2, *operator.image_shape, generator=generator).to(s)

    def refuse_unless(fits: Tensor, wanted: Tensor, what: str) -> None:
        error = float((fits - wanted).norm() / wanted.norm().clamp(min=torch.finfo(wanted.dtype).tiny))
        if not error <= TOLERANCE:
            raise ValueError(f"physics {name} {what} (relative error {error:.2g} on random numbers); {ANYHOW}")

    wanted = forward(x)
    refuse_unless(operator(x).reshape(wanted.shape), wanted, "must have an A that is U diag(mask) Vᵀ")
    refuse_unless(physics.sensor(wanted), wanted, "must have no sensor_model")
