"""Inpainting: some pixels, or some channel values, are measured and the rest are missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.arguments import as_plain
from degradations.operator import checked_shape
from degradations.pixelwise import Pixelwise


class Inpainting(Pixelwise):
    """A keeps the known values and writes 0 for the missing ones; V = U = I on what is known.

    Args:
        image_shape: (C, H, W) of one image.
        mask: True or 1 where known, False or 0 where missing. (H, W): per pixel; (C, H, W): per channel
            value; (B, C, H, W) or (B, 1, H, W): one mask for each of B images.

    Raises:
        ValueError: a mask of another shape, or with values other than 0 and 1.
    """

    per_image = ("singular_values",)

    def __init__(self, image_shape: Sequence[int], mask: Tensor) -> None:
        shape = checked_shape("image_shape", image_shape)
        mask = as_plain("mask", mask)
        known = mask.to(torch.get_default_dtype())
        if not bool(((known == 0) | (known == 1)).all()):
            raise ValueError("mask must hold only True/1 (known) and False/0 (missing)")
        if known.ndim == 2:
            known = known[None]
        if known.ndim not in (3, 4) or known.shape[-2:] != shape[1:] or known.shape[-3] not in (1, shape[0]):
            raise ValueError(
                f"mask must be (H, W), (C, H, W) or (B, C, H, W) of the image's {shape}: got {tuple(mask.shape)}"
            )
        super().__init__(shape, shape, known)
