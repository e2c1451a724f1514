"""What people use without a network: BM3D, bicubic enlarging, biharmonic inpainting, the Wiener filter."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison.deconvolution import wiener
from degradations import Blur, Denoising, Inpainting, Measurement, SuperResolution
from restoration.errors import RestorationError
from restoration.priors import DiffusionPrior


class NoBM3DError(RestorationError):
    """The package bm3d is not installed."""


def bm3d_version() -> str:
    """Of the package bm3d, in words; "none" where it is not installed."""
    try:
        return version("bm3d")
    except PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class Classic:
    """The usual way without a network, by the kind of the measurement.

    Denoising by BM3D (Dabov et al., 2007; package bm3d) with the noise's true σ; super-resolution by bicubic
    enlarging, moved to what was measured by A⁺ (y − A x); inpainting by the biharmonic equation, deblurring by the
    Wiener filter (scikit-image); anything else by A⁺ y. Noise is heard of in denoising and deblurring alone.
    """

    name: str = "classic"
    settings: str = (
        f"denoise: BM3D (package bm3d {bm3d_version()}) with the true σ; super-resolution: bicubic, then "
        "A⁺ (y − A x) is added; inpaint: biharmonic, deblur: Wiener, of scikit-image; others: A⁺y; no evaluation"
    )
    foreign: bool = True

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its picture."""
        operator, y = measurement.operator, measurement.y
        if isinstance(operator, Denoising):
            return _bm3d(y, float(measurement.sigma))
        if isinstance(operator, SuperResolution):
            size = operator.image_shape[1:]
            x = functional.interpolate(y, size, mode="bicubic", align_corners=False)
            return x + operator.pinv(y - operator(x))
        if isinstance(operator, Inpainting):
            return _biharmonic(operator, y)
        if isinstance(operator, Blur):
            return wiener(measurement)
        return operator.pinv(y)


def _bm3d(y: Tensor, sigma: float) -> Tensor:
    try:
        import bm3d
    except ImportError:
        raise NoBM3DError("the method classic needs the package bm3d: pip install bm3d") from None
    picture = y[0].permute(1, 2, 0).cpu().double().numpy()
    colour = picture.shape[2] == 3
    done = bm3d.bm3d_rgb(picture, sigma) if colour else bm3d.bm3d(picture[..., 0], sigma)[..., None]
    return torch.from_numpy(done).permute(2, 0, 1)[None].to(y)


def _biharmonic(operator: Inpainting, y: Tensor) -> Tensor:
    from skimage.restoration import inpaint_biharmonic

    known = operator.Vt(torch.ones(1, *operator.image_shape, device=y.device)) * operator.singular_values > 0
    filled = operator.pinv(y)[0].cpu().double()
    channels = []
    for plane, mask in zip(filled, known[0].cpu(), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            channels.append(torch.from_numpy(inpaint_biharmonic(plane.numpy(), ~mask.numpy())))
    return torch.stack(channels)[None].to(y)
