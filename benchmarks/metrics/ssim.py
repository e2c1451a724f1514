"""Structural similarity."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.metrics.pixels import check_pair
from restoration.pictures import scores

DEVIATION = 1.5
"""Of the Gaussian window, in pixels."""
C1, C2 = 0.01**2, 0.03**2


def ssim(restored: Tensor, original: Tensor) -> Tensor:
    """(B,) float64 where the images are, at most 1: SSIM of each, as ``restore --simulate`` tells it.

    Both are (B, C, H, W), clamped to [0, 1] and not rounded. It is scikit-image's (``pictures.scores``) to the
    rounding of float64, of a batch at once and on its device. Source: Wang et al., 2004.

    Raises:
        ValueError: no images, not of one shape, or smaller than the window.
    """
    check_pair(restored, original)
    if min(original.shape[2:]) < scores.WINDOW:
        size = scores.WINDOW
        raise ValueError(f"SSIM needs images of {size}×{size} or more: got {tuple(original.shape)}")
    x, y = (images.double().clamp(0, 1) for images in (restored, original))
    mean_x, mean_y = _blurred(x), _blurred(y)
    covariance = _blurred(x * y) - mean_x * mean_y
    spread = _blurred(x * x) - mean_x**2 + _blurred(y * y) - mean_y**2
    alike = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return (alike / ((mean_x**2 + mean_y**2 + C1) * (spread + C2))).mean(dim=(1, 2, 3))


def _blurred(images: Tensor) -> Tensor:
    """Means under the window, where it lies within the image."""
    window = _window().to(images.device)
    planes = images.flatten(0, 1)[:, None]
    down = functional.conv2d(planes, window.reshape(1, 1, -1, 1))
    return functional.conv2d(down, window.reshape(1, 1, 1, -1)).reshape(*images.shape[:2], *_valid(images))


def _valid(images: Tensor) -> tuple[int, int]:
    return images.shape[2] - scores.WINDOW + 1, images.shape[3] - scores.WINDOW + 1


@cache
def _window() -> Tensor:
    radius = scores.WINDOW // 2
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / DEVIATION) ** 2)
    return weights / weights.sum()
