"""What people use against a known blur without a network: scikit-image's Wiener filter and Richardson–Lucy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from degradations import Blur, Measurement
from restoration.priors import DiffusionPrior

Plane = npt.NDArray[np.float64]
CONTRAST = 0.05
"""Expected size of what the Wiener filter's Laplacian sees of a picture, [0, 1] units."""
ROUNDS = 30
LEAST_SIGMA = 1e-3  # without any regularisation a filter returns amplified rounding


@dataclass(frozen=True)
class Wiener:
    """The Wiener–Hunt filter with the true kernel and σ; A⁺ y for what is no blur."""

    name: str = "Wiener"
    settings: str = (
        f"wiener of scikit-image, the true kernel, balance (σ/{CONTRAST})² with σ at least {LEAST_SIGMA}; others: "
        "A⁺y; no evaluation"
    )
    foreign: bool = True

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its picture."""
        if not isinstance(measurement.operator, Blur):
            return measurement.operator.pinv(measurement.y)
        return wiener(measurement)


@dataclass(frozen=True)
class RichardsonLucy:
    """Richardson–Lucy with the true kernel; A⁺ y for what is no blur."""

    name: str = "Richardson–Lucy"
    settings: str = f"scikit-image's, {ROUNDS} rounds, the true kernel; others: A⁺y; no evaluation"
    foreign: bool = True

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its picture."""
        if not isinstance(measurement.operator, Blur):
            return measurement.operator.pinv(measurement.y)
        return richardson_lucy(measurement)


def wiener(measurement: Measurement) -> Tensor:
    """(1, C, H, W) of the measurement of one blurred image, which is taken to be periodic."""
    from skimage import restoration

    balance = (max(float(measurement.sigma), LEAST_SIGMA) / CONTRAST) ** 2
    return _by_channel(measurement, lambda plane, kernel: restoration.wiener(plane, kernel, balance, clip=False))


def richardson_lucy(measurement: Measurement) -> Tensor:
    """(1, C, H, W) of the measurement of one blurred image; scikit-image takes zeros beyond its frame."""
    from skimage import restoration

    return _by_channel(
        measurement, lambda plane, kernel: restoration.richardson_lucy(plane.clip(0), kernel, ROUNDS)
    )


def _by_channel(measurement: Measurement, restore: Callable[[Plane, Plane], Plane]) -> Tensor:
    """Every channel by itself, with its kernel as the operator's response to a point in the middle."""
    operator, y = measurement.operator, measurement.y
    channels, height, width = operator.image_shape
    point = torch.zeros(1, channels, height, width, device=y.device)
    point[..., height // 2, width // 2] = 1
    kernels = operator(point)[0].cpu().double()
    # An odd number of rows and columns about the middle.
    kernels = kernels[:, 1 - height % 2 :, 1 - width % 2 :]
    planes = [
        torch.from_numpy(restore(plane.numpy(), kernel.numpy()))
        for plane, kernel in zip(y[0].cpu().double(), kernels, strict=True)
    ]
    return torch.stack(planes)[None].to(y)
