"""How near a restoration is to the picture it was simulated from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

WINDOW = 11
"""Pixels a side of SSIM's window; smaller pictures have none."""


def scores_of(original: Tensor, image: Tensor) -> dict[str, float]:
    """PSNR in dB, at most 100, and :func:`ssim` of one picture (C, H, W), both on floats in [0, 1]."""
    from skimage.metrics import peak_signal_noise_ratio  # slow to import

    clean, restored = _pixels(original), _pixels(image)
    psnr = peak_signal_noise_ratio(clean, restored, data_range=1)
    scores = {"psnr": round(float(np.minimum(psnr, 100)), 4)}
    if min(clean.shape[1:]) < WINDOW:
        return scores
    return {**scores, "ssim": round(ssim(original, image), 5)}


def ssim(original: Tensor, image: Tensor) -> float:
    """Structural similarity of one picture (C, H, W), clamped to [0, 1]: scikit-image's, as Wang et al. (2004).

    A Gaussian window of σ = 1.5 cut at 11×11, K₁ = 0.01, K₂ = 0.03, population covariances, a data range of 1;
    the map is averaged without its outer 5 pixels and over channels.
    """
    from skimage.metrics import structural_similarity  # slow to import

    value = structural_similarity(
        _pixels(original), _pixels(image), data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return float(value)


def _pixels(image: Tensor) -> npt.NDArray[np.float64]:
    pixels: npt.NDArray[np.float64] = image.detach().cpu().double().clamp(0, 1).numpy()
    return pixels
