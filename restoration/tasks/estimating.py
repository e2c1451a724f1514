"""The noise of a measured picture, estimated from the picture itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restoration.errors import ImageError

SMALLEST = 16
"""Pixels a side of the smallest picture, and of the smallest part, that is estimated from."""
PARTS = 4
"""Parts a side that a picture is cut into, to see how far estimates differ."""
UNSURE = 1.5
"""How many times more the noisier parts may have than the calmer ones before an estimate is called unsure."""
TEXTURE = 0.035
"""σ that a clean photograph's texture may be taken for: 0.004 to 0.032 in five of BSDS500's validation set."""
LEAST = 1e-4
"""σ below which there is no noise: a tenth of what rounding to 8 bits leaves."""
FEWEST = 64
"""Blocks of known pixels that an estimate needs."""
_MAD = 0.6744897501960817  # median of |n|, n standard normal


@dataclass(frozen=True)
class Estimated:
    """An estimate, and how far to trust it.

    Args:
        sigma: standard deviation of the noise, [0, 1] units.
        low, high: a quarter of the picture's parts have at most ``low``, and a quarter at least ``high``.
    """

    sigma: float
    low: float
    high: float

    @property
    def told(self) -> str:
        """For the user."""
        spread = f"its parts: {self.low:.2g} to {self.high:.2g}"
        unsure = self.high > UNSURE * self.low or self.sigma < TEXTURE
        doubt = "; unsure: texture counts as noise, a smaller --sigma keeps more of it" if unsure else ""
        return f"noise of σ = {self.sigma:.2g} is estimated in the picture ({spread}){doubt}"


def estimated(planes: Tensor, known: Tensor | None = None) -> Estimated:
    """The noise of a picture's planes: the median deviation of its finest wavelets, over all planes.

    Pictures with missing pixels are estimated from the Haar wavelet of blocks of 2 × 2 known pixels, any others by
    scikit-image's ``estimate_sigma``. Both take texture of a pixel's width for noise, and so rather see too much.

    Args:
        planes: (N, H, W) in [0, 1] units, with noise of one strength.
        known: (H, W), True where there is a pixel; None for everywhere.

    Raises:
        ImageError: a picture too small or with too few known pixels.

    Source: Donoho and Johnstone, *Ideal spatial adaptation by wavelet shrinkage*, 1994.
    """
    _, height, width = planes.shape
    if min(height, width) < SMALLEST:
        raise ImageError(f"{width}×{height} pixels are too few to estimate noise from: give --sigma a number")
    whole = _sigma(planes, known)
    if not np.isfinite(whole):
        raise ImageError("there are too few known pixels to estimate noise from: give --sigma a number")
    across, down = (max(min(PARTS, side // SMALLEST), 1) for side in (width, height))
    parts = [_sigma(rows, None if known is None else seen) for rows, seen in _cut(planes, known, down, across)]
    finite = [part for part in parts if np.isfinite(part)] or [whole]
    low, high = np.quantile(finite, [0.25, 0.75])
    return Estimated(whole, float(low), float(high))


def _cut(planes: Tensor, known: Tensor | None, down: int, across: int) -> list[tuple[Tensor, Tensor | None]]:
    def split(image: Tensor) -> list[Tensor]:
        return [part for rows in image.tensor_split(down, -2) for part in rows.tensor_split(across, -1)]

    seen: list[Tensor] | list[None] = [None] * (down * across) if known is None else split(known)
    return list(zip(split(planes), seen, strict=True))


def _sigma(planes: Tensor, known: Tensor | None) -> float:
    """NaN where there is too little to say."""
    if known is not None:
        return _by_blocks(planes, known)
    from skimage.restoration import estimate_sigma  # slow to import

    pixels: npt.NDArray[np.float64] = planes.double().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of planes that are black, which have no noise
        found = estimate_sigma(pixels, channel_axis=0)
    return float(np.median(np.nan_to_num(found)))


def _by_blocks(planes: Tensor, known: Tensor) -> float:
    rows, columns = known.shape[0] // 2 * 2, known.shape[1] // 2 * 2
    corners = [planes[:, i:rows:2, k:columns:2].double() for i in (0, 1) for k in (0, 1)]
    seen = torch.stack([known[i:rows:2, k:columns:2] for i in (0, 1) for k in (0, 1)]).all(dim=0)
    if int(seen.sum()) < FEWEST:
        return float("nan")
    detail = (corners[0] - corners[1] - corners[2] + corners[3])[:, seen] / 2
    return float(detail.abs().median(dim=1).values.median()) / _MAD
