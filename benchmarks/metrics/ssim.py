"""Structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.metrics.pixels import check_pair
from restoration.pictures import scores


def ssim(restored: Tensor, original: Tensor) -> Tensor:
    """(B,) float64, at most 1: SSIM of each image, as ``restore --simulate`` tells it (``pictures.scores``).

    Both are (B, C, H, W), clamped to [0, 1] and not rounded. It runs on the CPU, 2 ms an RGB image of
    64×64, 22 ms one of 256×256.

    Raises:
        ValueError: no images, not of one shape, or smaller than the window.
    """
    check_pair(restored, original)
    if min(original.shape[2:]) < scores.WINDOW:
        size = scores.WINDOW
        raise ValueError(f"SSIM needs images of {size}×{size} or more: got {tuple(original.shape)}")
    pairs = zip(original, restored, strict=True)
    return torch.tensor([scores.ssim(clean, image) for clean, image in pairs], dtype=torch.float64)
