"""BM3D of one picture, in a module that another process imports without torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def denoised(picture: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """A picture (H, W, C), C = 1 or 3, without its white noise of σ; Dabov et al., 2007, by the package bm3d.

    It runs in one thread: with more its answers differ from time to time.
    """
    import bm3d

    profile = bm3d.BM3DProfile()
    profile.num_threads = 1
    if picture.shape[2] == 3:
        return np.asarray(bm3d.bm3d_rgb(picture, sigma, profile))
    return np.asarray(bm3d.bm3d(picture[..., 0], sigma, profile)).reshape(picture.shape)
