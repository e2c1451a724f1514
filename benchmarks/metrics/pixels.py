"""What metrics take for an image."""

from __future__ import annotations

import torch
from torch import Tensor


def check_images(images: Tensor, name: str = "images") -> None:
    """ValueError where ``images`` are not (B, C, H, W) floats with C = 1 or 3."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise ValueError(
            f"{name} must be floats (B, C, H, W) with C = 1 or 3: got {tuple(images.shape)}, {images.dtype}"
        )


def check_pair(restored: Tensor, original: Tensor) -> None:
    """ValueError where the two are not images of one shape."""
    check_images(restored, "restored")
    check_images(original, "original")
    if restored.shape != original.shape:
        raise ValueError(
            f"restored and original must have one shape: got {tuple(restored.shape)} and {tuple(original.shape)}"
        )


def to_uint8(images: Tensor) -> Tensor:
    """(B, C, H, W) in [0, 1] clamped, times 255 and rounded half to even, as ``images.save`` does."""
    return (images.float().clamp(0, 1) * 255).round().to(torch.uint8)
