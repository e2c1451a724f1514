"""Enlarging as picture editors do it: Pillow's bicubic and Lanczos kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.engine.methods import Method
from degradations import Measurement, SuperResolution
from solvers import Prior


@dataclass(frozen=True)
class Enlarged(Method):
    """A small picture enlarged by Pillow with one of its kernels, for super-resolution from block means.

    It has no data consistency: the block means of what it gives are not y. Channels are resampled one by one as
    32-bit floats (Pillow's mode "F"), unclipped, so that nothing is rounded to 8 bits. Pillow puts the middle of a
    small pixel on the middle of its block, where the mean of a block lies too.

    Args:
        name: of its rows.
        kernel: by Pillow's name.
    """

    name: str
    kernel: Image.Resampling
    allocation: tuple[int, ...] = (0,)
    foreign: ClassVar[bool] = True

    @property
    def settings(self) -> str:
        """What is done."""
        return f"Pillow's resize, {self.kernel.name}, of floats; without data consistency; no evaluation"

    def applies(self, measurement: Measurement) -> bool:
        """To means of square blocks."""
        return isinstance(measurement.operator, SuperResolution)

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its pictures."""
        y = measurement.y
        _, height, width = measurement.operator.image_shape
        planes = y.flatten(0, 1).cpu().float().numpy()
        large = [np.asarray(Image.fromarray(plane).resize((width, height), self.kernel)) for plane in planes]
        yield torch.from_numpy(np.stack(large)).reshape(*y.shape[:2], height, width).to(y)


BICUBIC = Enlarged("bicubic", Image.Resampling.BICUBIC)
LANCZOS = Enlarged("Lanczos", Image.Resampling.LANCZOS)
