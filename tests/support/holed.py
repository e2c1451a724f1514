"""A picture with a hole to fill, for tests of the command."""

from __future__ import annotations

import numpy as np
from PIL import Image

COMMON = ("in.png", "--task", "inpaint", "--mask", "mask.png", "--prior", "faces-64", "--device", "cpu")
"""What its restorations share."""


def write_holed() -> None:
    """Write a picture of 64 × 64 and a mask of its middle into this folder."""
    rows, columns = np.mgrid[:64, :64] / 63
    picture = np.stack([rows, columns, (rows + columns) / 2], axis=-1)
    Image.fromarray((picture * 255).astype(np.uint8)).save("in.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(mask).save("mask.png")
