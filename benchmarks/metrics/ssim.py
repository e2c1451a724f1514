"""Structural similarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.metrics.pixels import check_pair

WINDOW = 11
"""Pixels a side; smaller images have no SSIM."""


def ssim(restored: Tensor, original: Tensor) -> Tensor:
    """(B,) float64, at most 1: scikit-image's SSIM of each image, with the conventions of Wang et al. (2004).

    Those are a Gaussian window of σ = 1.5 cut at 11×11, K₁ = 0.01, K₂ = 0.03, population covariances, a data
    range of 1; the map is averaged without its outer 5 pixels and over channels, as ``restore --simulate`` does.
    Both are (B, C, H, W), clamped to [0, 1] and not rounded. It runs on the CPU, 2 ms an RGB image of
    64×64, 22 ms one of 256×256.

    Raises:
        ValueError: no images, not of one shape, or smaller than the window.
    """
    from skimage.metrics import structural_similarity  # slow to import

    check_pair(restored, original)
    if min(original.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of {WINDOW}×{WINDOW} or more: got {tuple(original.shape)}")
    pairs = zip(_pixels(original), _pixels(restored), strict=True)
    scores = [
        structural_similarity(
            clean,
            picture,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for clean, picture in pairs
    ]
    return torch.tensor(scores, dtype=torch.float64)


def _pixels(images: Tensor) -> npt.NDArray[np.float64]:
    pixels: npt.NDArray[np.float64] = images.detach().cpu().double().clamp(0, 1).numpy()
    return pixels
