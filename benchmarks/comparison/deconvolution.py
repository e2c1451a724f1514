"""What people use against a known blur without a network: scikit-image's Wiener filter and Richardson–Lucy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.engine.methods import Method
from degradations import Blur, Measurement
from solvers import Prior

Plane = npt.NDArray[np.float64]
CONTRAST = 0.05
"""Expected size of what the Wiener filter's Laplacian sees of a picture, [0, 1] units."""
ROUNDS = 30
LEAST_SIGMA = 1e-3  # without any regularisation a filter returns amplified rounding


@dataclass(frozen=True)
class Wiener(Method):
    """The Wiener–Hunt filter with the true kernel and σ, of measurements of a blur."""

    name: str = "Wiener"
    allocation: tuple[int, ...] = (0,)
    foreign: ClassVar[bool] = True

    @property
    def settings(self) -> str:
        """Of scikit-image."""
        return f"wiener of scikit-image, the true kernel, balance (σ/{CONTRAST})² with σ at least {LEAST_SIGMA}"

    def applies(self, measurement: Measurement) -> bool:
        """To blurs of periodic images."""
        return isinstance(measurement.operator, Blur)

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its pictures."""
        yield torch.cat([wiener(measurement.take([i])) for i in range(len(measurement))])


@dataclass(frozen=True)
class RichardsonLucy(Method):
    """Richardson–Lucy with the true kernel, of measurements of a blur."""

    name: str = "Richardson–Lucy"
    allocation: tuple[int, ...] = (0,)
    foreign: ClassVar[bool] = True

    @property
    def settings(self) -> str:
        """Of scikit-image."""
        return f"richardson_lucy of scikit-image, {ROUNDS} rounds, the true kernel"

    def applies(self, measurement: Measurement) -> bool:
        """To blurs of periodic images."""
        return isinstance(measurement.operator, Blur)

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its pictures."""
        yield torch.cat([richardson_lucy(measurement.take([i])) for i in range(len(measurement))])


def wiener(measurement: Measurement) -> Tensor:
    """(1, C, H, W) of the measurement of one blurred image, which is taken to be periodic."""
    from skimage import restoration

    balance = (max(float(torch.as_tensor(measurement.sigma).max()), LEAST_SIGMA) / CONTRAST) ** 2
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
