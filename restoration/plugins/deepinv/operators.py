"""deepinv's physics as operators of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from deepinv.physics import MRI, BlurFFT, Decolorize, DecomposablePhysics, Inpainting, Physics, SinglePixelCamera
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
from degradations.fourier import AXES
from restoration.plugins.deepinv.decomposed import Decomposed
from restoration.plugins.deepinv.physics import SVDPhysics

INSTEAD = {
    "Downsampling": "take as_physics(SuperResolution(image_shape, factor)), which averages blocks",
    "DownsamplingMatlab": "take as_physics(SuperResolution(image_shape, factor)), which averages blocks",
    "Blur": "take BlurFFT, whose blur is circular",
    "MultiCoilMRI": "take MRI for a single coil",
}
ANYHOW = "take deepinv's DiffPIR or DPS with as_denoiser(prior), or write an SVDOperator (docs/custom-operator.md)"
TOLERANCE = 1e-4
"""Relative, of A by two programs in float32: their transforms differ by some 1e-6, another A by far more."""


def from_physics(physics: Physics, image_shape: Sequence[int] | None = None) -> SVDOperator:
    """The operator of a deepinv physics as it is now; later updates of the physics do not reach it.

    Works with every ``DecomposablePhysics`` whose bases are orthonormal (Denoising, Inpainting, Demosaicing, MRI
    with images of 2 channels, SinglePixelCamera, one's own). By bases of ours it works with MRI of real images,
    BlurFFT, whose half spectrum has inner columns once that count twice, and the economic bases of Decolorize
    and SinglePixelCamera(fast=False). All are checked on random numbers.

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
    if not isinstance(physics, DecomposablePhysics):
        reasons = [INSTEAD[name], "or"] if name in INSTEAD else []
        raise TypeError(f"physics {name} has no singular value decomposition: {' '.join([*reasons, ANYHOW])}")


def _shape(physics: DecomposablePhysics, image_shape: Sequence[int] | None) -> tuple[int, ...]:
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


def _adapt(physics: DecomposablePhysics, shape: tuple[int, ...]) -> tuple[SVDOperator, Callable[[Tensor], Tensor]]:
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
    if isinstance(physics, BlurFFT):
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


def _response(physics: BlurFFT, shape: tuple[int, ...]) -> Tensor:
    """(C, H, W) or (B, C, H, W): the blur of a point at the origin."""
    if physics.filter is None:
        raise ValueError("BlurFFT has no filter yet: set it with physics.update(filter=...)")
    point = torch.zeros(len(physics.mask), *shape, device=physics.mask.device)
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
