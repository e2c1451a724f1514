"""What people use without a network: BM3D, bicubic enlarging, biharmonic inpainting."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from multiprocessing import get_context
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison import bm3d_process
from benchmarks.engine.methods import Method
from degradations import Denoising, Inpainting, Measurement, SuperResolution
from restoration.errors import RestorationError
from solvers import Prior


class NoBM3DError(RestorationError):
    """The package bm3d is not installed."""


def bm3d_version() -> str:
    """Of the package bm3d, in words; "none" where it is not installed."""
    try:
        return version("bm3d")
    except PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class Classic(Method):
    """The usual way without a network, by the kind of the measurement.

    Denoising by BM3D (Dabov et al., 2007; package bm3d) with the noise's true σ; super-resolution by bicubic
    enlarging, moved to what was measured by A⁺ (y − A x); inpainting by the biharmonic equation (scikit-image);
    anything else by A⁺ y. Noise is heard of in denoising alone. All run on the CPU.
    """

    name: str = "classic"
    allocation: tuple[int, ...] = (0,)
    foreign: ClassVar[bool] = True

    @property
    def settings(self) -> str:
        """What is done."""
        return (
            f"denoise: BM3D (package bm3d {bm3d_version()}) with the true σ, in a process a core; "
            "super-resolution: bicubic, then A⁺ (y − A x) is added; inpaint: biharmonic, of scikit-image; others: "
            "A⁺y; no evaluation"
        )

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its pictures."""
        operator, y = measurement.operator, measurement.y
        if isinstance(operator, Denoising):
            yield _bm3d(y, float(measurement.sigma))
        elif isinstance(operator, SuperResolution):
            size = operator.image_shape[1:]
            x = functional.interpolate(y, size, mode="bicubic", align_corners=False)
            yield x + operator.pinv(y - operator(x))
        elif isinstance(operator, Inpainting):
            yield _biharmonic(operator, y)
        else:
            yield operator.pinv(y)


def _bm3d(y: Tensor, sigma: float) -> Tensor:
    if bm3d_version() == "none":
        raise NoBM3DError("the method classic needs the package bm3d: pip install bm3d")
    pictures = list(y.permute(0, 2, 3, 1).cpu().double().numpy())
    if len(pictures) == 1:
        done = [bm3d_process.denoised(pictures[0], sigma)]
    else:
        done = list(_processes().map(bm3d_process.denoised, pictures, repeat(sigma)))
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).to(y)


@cache
def _processes() -> ProcessPoolExecutor:
    """One a core, kept until the command ends: BM3D takes a second a picture, and two at a time end a process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ProcessPoolExecutor(cores, get_context("spawn"))  # forked ones would inherit torch's threads and CUDA


def _biharmonic(operator: Inpainting, y: Tensor) -> Tensor:
    from skimage.restoration import inpaint_biharmonic

    known = operator.singular_values.expand(len(y), *operator.image_shape).cpu() > 0
    filled = operator.pinv(y).cpu().double()
    planes = []
    for plane, mask in zip(filled.flatten(0, 1), known.flatten(0, 1), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            planes.append(torch.from_numpy(inpaint_biharmonic(plane.numpy(), ~mask.numpy())))
    return torch.stack(planes).reshape(filled.shape).to(y)
