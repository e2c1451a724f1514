"""Non-local means: noise is averaged away over patches that look alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.engine.methods import Method
from degradations import Denoising, Measurement
from solvers import Prior

PATCH, DISTANCE = 5, 6
"""Pixels a side of a patch, and how far away another may lie: as in scikit-image's example."""
STRENGTH = 0.8
"""h over σ, which scikit-image's example has for its fast mode when it is told σ."""


@dataclass(frozen=True)
class NonLocalMeans(Method):
    """Non-local means (Buades, Coll and Morel, 2005) of scikit-image with the true σ, for denoising."""

    name: str = "non-local means"
    allocation: tuple[int, ...] = (0,)
    foreign: ClassVar[bool] = True

    @property
    def settings(self) -> str:
        """Of scikit-image."""
        return (
            f"denoise_nl_means of scikit-image in its fast mode, the true σ, h = {STRENGTH} σ, patches of "
            f"{PATCH} × {PATCH} up to {DISTANCE} pixels away; no evaluation"
        )

    def applies(self, measurement: Measurement) -> bool:
        """To pictures with white noise: h is 0 without any."""
        noisy = bool((torch.as_tensor(measurement.sigma) > 0).all())
        return isinstance(measurement.operator, Denoising) and noisy

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its pictures."""
        from skimage.restoration import denoise_nl_means

        sigmas = torch.as_tensor(measurement.sigma).double().cpu().expand(len(measurement)).tolist()
        done = [
            denoise_nl_means(
                picture.permute(1, 2, 0).cpu().double().numpy(),
                patch_size=PATCH,
                patch_distance=DISTANCE,
                h=STRENGTH * sigma,
                sigma=sigma,
                fast_mode=True,
                channel_axis=-1,
            )
            for picture, sigma in zip(measurement.y, sigmas, strict=True)
        ]
        channels, height, width = measurement.operator.image_shape
        planes = np.stack(done).reshape(-1, height, width, channels)  # scikit-image drops the axis of one channel
        yield torch.from_numpy(planes).permute(0, 3, 1, 2).to(measurement.y)
