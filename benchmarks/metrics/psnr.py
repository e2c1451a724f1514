"""Peak signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

from benchmarks.metrics.mse import mse
from benchmarks.metrics.pixels import check_pair

CEILING = 100.0
"""dB of pictures that agree to 1e-5 RMSE or better, as ``restore --simulate`` tells it: a mean stays finite."""


def psnr(restored: Tensor, original: Tensor) -> Tensor:
    """(B,) float64, dB: −10 log₁₀ of each image's own mean squared error on the [0, 1] scale, at most ``CEILING``.

    Both are (B, C, H, W), on one device; both are clamped to [0, 1] and not rounded. The error is averaged over
    channels and pixels. A data set's PSNR is the mean of these, as in the papers; never the dB of a mean error.

    Raises:
        ValueError: no images, or not of one shape.
    """
    check_pair(restored, original)
    return (-10 * mse(restored, original).log10()).clamp(max=CEILING)
