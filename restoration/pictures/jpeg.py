"""What a JPEG file holds before it is decoded: coefficients, tables of steps, subsampling."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from degradations.blocks import SIDE, SUBSAMPLINGS
from restoration.errors import ImageError
from restoration.pictures import images

_ORIENTATION = 0x0112
_FLIPS: dict[int, tuple[int, ...]] = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}
_TURNED = 5  # from this orientation on, rows are columns
_Blocks = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class JPEGFile:
    """A JPEG file's own numbers.

    Args:
        height, width: of the picture as it is stored, not yet turned upright.
        coefficients: (n, H', W') whole numbers in float32 of whole macroblocks, as the measurements of
            ``degradations.JPEG`` but for luma's level.
        tables: (8, 8) float64: one of a grey file, three of a colour one.
        subsampling: as ``degradations.JPEG``'s.
        orientation: EXIF's, 1 for upright.
    """

    height: int
    width: int
    coefficients: Tensor
    tables: tuple[Tensor, ...]
    subsampling: str = "4:4:4"
    orientation: int = 1

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of pixels of a macroblock."""
        down, across = SUBSAMPLINGS[self.subsampling]
        return SIDE * down, SIDE * across

    @property
    def rows(self) -> int:
        """Of pixels in whole macroblocks."""
        return -(-self.height // self.block[0]) * self.block[0]

    @property
    def columns(self) -> int:
        """Of pixels in whole macroblocks."""
        return -(-self.width // self.block[1]) * self.block[1]

    def rounding(self) -> float:
        """σ of what rounding did to a coefficient, in steps: at most 1/√12, unless steps are fine.

        Where a coefficient is not 0, its error is uniform on ±½. Most are 0 and smaller than half of a step: those
        of a frequency are taken to be Laplacian, with the share of zeros that the file has. Samples were rounded
        to whole numbers before the transform.

        Source: Reininger and Gibson, *Distributions of the two-dimensional DCT coefficients for images*, 1983.
        """
        luma = len(self.coefficients) - (0 if len(self.tables) == 1 else 2)
        planes = [self.coefficients[:luma], *(plane[None] for plane in self.coefficients[luma:])]
        variances = [
            _variance(part, table).mean() * len(part) for part, table in zip(planes, self.tables, strict=True)
        ]
        return float((torch.stack(variances).sum() / len(self.coefficients)).sqrt())

    def coloured(self) -> JPEGFile:
        """A grey file as one in colour whose chroma was measured to be 0; any other as it is."""
        if len(self.tables) == 3:
            return self
        chroma = torch.zeros_like(self.coefficients).expand(2, -1, -1)
        return replace(self, tables=self.tables * 3, coefficients=torch.cat([self.coefficients, chroma]))

    def luma(self) -> JPEGFile:
        """The luma of a colour file as a grey file; a grey one as it is."""
        if len(self.tables) == 1:
            return self
        down, across = SUBSAMPLINGS[self.subsampling]
        planes = self.coefficients[:-2]
        rows, columns = planes.shape[1] // SIDE, planes.shape[2] // SIDE
        cut = planes.reshape(down, across, rows, SIDE, columns, SIDE).permute(2, 0, 3, 4, 1, 5)
        grey = cut.reshape(1, self.rows, self.columns)
        alone = replace(self, tables=self.tables[:1], subsampling="4:4:4")
        return replace(alone, coefficients=grey[:, : alone.rows, : alone.columns])

    def upright(self, pictures: Tensor) -> Tensor:
        """Pictures (..., height, width) as they are to be seen."""
        turned = pictures.mT if self.orientation >= _TURNED else pictures
        return turned.flip(_FLIPS.get(self.orientation, ()))

    def as_stored(self, pictures: Tensor) -> Tensor:
        """The inverse of :meth:`upright`."""
        flipped = pictures.flip(_FLIPS.get(self.orientation, ()))
        return flipped.mT if self.orientation >= _TURNED else flipped


def read(path: Path) -> JPEGFile:
    """The numbers of a JPEG file, baseline or progressive.

    Raises:
        ImageError: another format, damage, other colours than grey and YCbCr, another subsampling than ours.
    """
    images.load(path)  # whatever is wrong with the file is said there, before a C library meets it
    with Image.open(path) as picture:
        if picture.format not in ("JPEG", "MPO"):
            raise ImageError(f"{path}: is {picture.format}: the task jpeg reads the numbers in a JPEG file itself")
        orientation = int(picture.getexif().get(_ORIENTATION, 1))
    import jpeglib

    try:
        held = jpeglib.read_dct(str(path))
    except Exception as error:  # its own word for anything it dislikes
        raise ImageError(f"{path}: its coefficients cannot be read: {' '.join(str(error).split())}") from None
    space = getattr(held.jpeg_color_space, "name", str(held.jpeg_color_space))
    if space not in ("JCS_GRAYSCALE", "JCS_YCbCr"):
        raise ImageError(f"{path}: has {space.removeprefix('JCS_')} colours; only grey and YCbCr are restored")
    tables = [torch.from_numpy(held.qt[number].astype(np.float64)) for number in held.quant_tbl_no]
    if space == "JCS_GRAYSCALE":
        luma = _planes(held.Y, 1, 1)
        return JPEGFile(held.height, held.width, _float(luma), (tables[0],), "4:4:4", orientation)
    subsampling = _subsampling(path, np.asarray(held.samp_factor))
    down, across = SUBSAMPLINGS[subsampling]
    rows, columns = (-(-side // (SIDE * n)) for side, n in ((held.height, down), (held.width, across)))
    luma = _planes(_whole(held.Y, rows * down, columns * across), down, across)
    chroma = [_planes(_whole(part, rows, columns), 1, 1) for part in (held.Cb, held.Cr)]
    coefficients = _float(np.concatenate([luma, *chroma]))
    return JPEGFile(held.height, held.width, coefficients, tuple(tables), subsampling, orientation)


def encoded(picture: Tensor, quality: int, subsampling: str = "4:2:0") -> JPEGFile:
    """The numbers of the file that Pillow writes of a picture (1 or 3, H, W) in [0, 1]."""
    levels = (picture.detach().cpu().clamp(0, 1) * 255).round().byte().numpy()
    options = {} if len(levels) == 1 else {"subsampling": subsampling}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        pixels = levels[0] if len(levels) == 1 else np.ascontiguousarray(np.moveaxis(levels, 0, 2))
        Image.fromarray(pixels).save(path, quality=quality, **options)
        return read(path)


def _variance(planes: Tensor, table: Tensor) -> Tensor:
    """(8, 8) of one table's planes (n, H', W'): the mean square of each frequency's error, in steps."""
    blocks = planes.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
    zero = (blocks == 0).double().mean(dim=(0, 1, 2))
    # P(|x| > ½), x in steps; of frequencies that are 0 in all blocks it is known only that together they are so.
    never = 0.5 / (blocks[..., 0, 0].numel() * max(int((zero == 1).sum()), 1))
    beyond = (1 - zero).clamp(min=never, max=1 - 1e-9)
    b = -0.5 / beyond.log()
    within = (2 * b**2 - beyond * (0.25 + b + 2 * b**2)) / (1 - beyond)
    return zero * within.clamp(0, 1 / 12) + (1 - zero) / 12 + 1 / (12 * table**2)


def _subsampling(path: Path, factors: npt.NDArray[np.int_]) -> str:
    luma, *chroma = ((int(row[0]), int(row[1])) for row in factors)
    for name, (down, across) in SUBSAMPLINGS.items():
        if all((luma[0], luma[1]) == (down * part[0], across * part[1]) for part in chroma):
            return name
    known = ", ".join(SUBSAMPLINGS)
    raise ImageError(f"{path}: has an unusual subsampling, {factors.tolist()}; {known} are known")


def _whole(blocks: _Blocks, rows: int, columns: int) -> _Blocks:
    """Blocks that fill macroblocks: what a file leaves out gets its neighbour's mean, as encoders write it."""
    missing = ((0, rows - len(blocks)), (0, columns - blocks.shape[1]), (0, 0), (0, 0))
    whole: _Blocks = np.pad(blocks, missing)
    whole[..., 0, 0] = np.pad(blocks[..., 0, 0], missing[:2], mode="edge")
    return whole


def _planes(blocks: _Blocks, down: int, across: int) -> _Blocks:
    """(rows, columns, 8, 8) as a plane for each of the down × across blocks of a macroblock."""
    rows, columns = len(blocks) // down, blocks.shape[1] // across
    cut = blocks.reshape(rows, down, columns, across, SIDE, SIDE).transpose(1, 3, 0, 4, 2, 5)
    return cut.reshape(down * across, rows * SIDE, columns * SIDE)


def _float(planes: _Blocks) -> Tensor:
    return torch.from_numpy(planes.astype(np.float32))
