"""How near a restoration is to the picture it was simulated from."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def scores_of(original: Tensor, image: Tensor) -> dict[str, float]:
    """PSNR in dB and SSIM (Gaussian window, σ = 1.5, as Wang et al. 2004), both on floats in [0, 1].

    Pictures smaller than that window, 11 pixels, have no SSIM.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # slow to import

    clean = original.clamp(0, 1).double().numpy()
    restored = image.cpu().double().numpy()
    psnr = peak_signal_noise_ratio(clean, restored, data_range=1)
    scores = {"psnr": round(float(np.minimum(psnr, 100)), 4)}
    if min(clean.shape[1:]) < 11:
        return scores
    ssim = structural_similarity(
        clean, restored, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return {**scores, "ssim": round(float(ssim), 5)}
