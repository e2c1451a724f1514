"""Mean squared error."""

from __future__ import annotations

from torch import Tensor


def mse(restored: Tensor, original: Tensor) -> Tensor:
    """(B,) float64: each image's own mean squared error, over channels and pixels, both clamped to [0, 1].

    Both are (B, C, H, W), on one device, and not rounded.
    """
    return (restored.double().clamp(0, 1) - original.double().clamp(0, 1)).square().mean(dim=(1, 2, 3))
