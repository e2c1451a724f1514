"""A sensor's mosaic out of a DNG, by rawpy, which is imported only here: the extra ``raw``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor

from restoration.errors import ImageError
from restoration.pictures import raster
from restoration.pictures.picture import Depth, Picture

_TURNS = {0: 0, 3: 2, 5: 1, 6: 3}  # LibRaw's flip: quarter turns counter-clockwise
_CFA = 32803
_REPEATED, _ACROSS, _DOWN = 50713, 50715, 50716  # black levels by place, and their changes along a row and column


@dataclass(frozen=True)
class Layout:
    """How a DNG's mosaic lies.

    Args:
        pattern: colours of the active area's first 2 × 2 pixels, row by row, such as "RGGB".
        turns: quarter turns counter-clockwise that make it upright.
    """

    pattern: str
    turns: int

    def upright(self, pictures: Tensor) -> Tensor:
        """Pictures (..., H, W) as they are to be seen."""
        return torch.rot90(pictures, self.turns, (-2, -1))


def read(path: Path) -> tuple[Picture, Layout]:
    """Read a DNG's active area as a grey picture (1, H, W), as stored: each pixel of the colour it measured.

    The file's black and white level become 0 and 1, its colours are balanced for the light that the camera took it
    to be, and values get sRGB's curve, as pictures have that priors know; all of that is done to each pixel by
    itself. They stay in the camera's own colours: its colour matrix mixes channels, which a mosaic has not yet.

    Raises:
        ImageError: rawpy is missing; no DNG, or damaged; one that holds no Bayer mosaic of red, green and blue, or
            levels or an orientation that are not understood.
    """
    try:
        import rawpy
    except ImportError:
        raise ImageError(f"{path}: a DNG needs rawpy (pip install 'nested-restoration[raw]')") from None
    if path.suffix.lower() != ".dng" or not path.is_file():
        raise ImageError(f"{path}: is no DNG, whose pattern could be read")
    try:
        _check_levels(path)
        with rawpy.RawPy() as raw:
            raw.open_file(str(path))
            raster.check_size(raw.sizes.raw_width, raw.sizes.raw_height)
            raw.unpack()
            return _mosaic(raw, rawpy.RawType.Flat)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except Exception as error:  # of LibRaw, and of tifffile, whatever the bytes are
        told = " ".join(str(error).split())
        raise ImageError(f"{path}: is no DNG, or damaged ({type(error).__name__}: {told})") from None


def _mosaic(raw: Any, flat: Any) -> tuple[Picture, Layout]:
    sizes, places = raw.sizes, raw.raw_pattern
    if raw.raw_type != flat or places is None or places.shape != (2, 2) or raw.color_desc != b"RGBG":
        raise ImageError("holds no Bayer mosaic of red, green and blue")
    if sizes.flip not in _TURNS or sizes.pixel_aspect != 1:
        raise ImageError(
            f"has orientation {sizes.flip} and pixels of aspect {sizes.pixel_aspect:g}: not understood"
        )
    indices = raw.raw_colors_visible
    pattern = "".join("RGBG"[index] for index in indices[:2, :2].flatten())
    black = np.array(raw.black_level_per_channel, np.float32)
    white = np.array(raw.camera_white_level_per_channel or [raw.white_level] * 4, np.float32)
    if not (white > black).all():
        raise ImageError(f"has black levels {black.tolist()} and white levels {white.tolist()}: not understood")
    gains = np.array(raw.camera_whitebalance, np.float32)
    gains[3] = gains[3] or gains[1]  # the second green
    notes = [f"DNG, {pattern}, balanced as by the camera, in the camera's own colours"]
    if not (np.isfinite(gains) & (gains > 0)).all():
        gains, notes = np.ones(4, np.float32), [f"DNG, {pattern}, without white balance: it tells none"]
    linear = (raw.raw_image_visible - black[indices]) / (white - black)[indices]
    linear = (linear * (gains / gains.min())[indices]).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels = torch.from_numpy(curved.astype(np.float32))[None]
    return Picture(pixels, depth=Depth.SIXTEEN, notes=tuple(notes)), Layout(pattern, _TURNS[sizes.flip])


def _check_levels(path: Path) -> None:
    """Refuse black levels that differ from place to place, which rawpy does not tell."""
    with tifffile.TiffFile(path) as file:
        pages = [page for first in file.pages for page in (first, *(first.pages or ()))]
        tags = next((page.tags for page in pages if page.photometric == _CFA), None)
        if tags is None:
            raise ImageError("holds no Bayer mosaic of red, green and blue")
        repeated = tags.valueof(_REPEATED, (1, 1))
        changes = [np.ravel(tags.valueof(code, 0)) for code in (_ACROSS, _DOWN)]
        if tuple(repeated) not in ((1, 1), (2, 2)) or any(change.any() for change in changes):
            raise ImageError("has black levels that change across the sensor: not understood")
