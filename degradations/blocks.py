"""JPEG: colours, block transform and division by a table, the same in every block of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from degradations.operator import SVDOperator, checked_shape

SIDE = 8
SUBSAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:2:0": (2, 2), "4:1:1": (1, 4)}
"""Luma samples a chroma sample, down and across."""
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # JFIF


class JPEG(SVDOperator):
    """A is what JPEG does before it rounds: y = DCT(255 · YCbCr(x))/q, chroma being averaged first.

    A file holds round(y − 128 · 8/q₀₀ at the lowest luma frequency): a linear measurement, whose noise is uniform
    on ±½, of standard deviation 1/√12. A acts on every macroblock alike, so V and U are those of one small matrix,
    decomposed once for a pair of tables: 64 × 64 for grey, 192 × 192 for 4:4:4, 384 × 768 for 4:2:0.

    Measurements are (n, H', W'): one plane for each of the n blocks of a macroblock, its luma blocks row by row,
    then Cb and Cr; plane j holds at (8 i + u, 8 k + v) frequency (u, v) of block j in macroblock (i, k). Grey and
    4:4:4 have planes of the image's size.

    Args:
        image_shape: (1, H, W) or (3, H, W) in [0, 1], sides divided by the macroblock's.
        tables: of steps, (8, 8) in natural order: one for grey; luma and chroma, or luma, Cb and Cr, for colour.
        subsampling: of chroma: "4:4:4", "4:2:2", "4:4:0", "4:2:0" or "4:1:1"; nothing for grey.

    Raises:
        ValueError: other channels, tables or subsamplings; sides that the macroblock does not divide.

    Source: ITU-T T.81, 1992, annex A; JFIF 1.02 for the colours.
    """

    v: Tensor
    u: Tensor

    def __init__(self, image_shape: Sequence[int], tables: Sequence[Tensor], subsampling: str = "4:4:4") -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if subsampling not in SUBSAMPLINGS:
            raise ValueError(f"subsampling must be one of {', '.join(SUBSAMPLINGS)}: got {subsampling!r}")
        if channels not in (1, 3) or (channels == 1 and subsampling != "4:4:4"):
            raise ValueError(f"image_shape must have 3 channels, or 1 with 4:4:4: got {channels}, {subsampling}")
        counts = (1,) if channels == 1 else (2, 3)
        steps = [torch.as_tensor(table, dtype=torch.float64).cpu() for table in tables]
        if len(steps) not in counts or any(table.shape != (SIDE, SIDE) for table in steps):
            found = [tuple(table.shape) for table in steps]
            raise ValueError(f"tables must be {' or '.join(map(str, counts))} of (8, 8): got {found}")
        if not all(bool((table.isfinite() & (table > 0)).all()) for table in steps):
            raise ValueError("tables must hold finite steps above 0")
        down, across = SUBSAMPLINGS[subsampling]
        self.block = (SIDE * down, SIDE * across)
        if height % self.block[0] or width % self.block[1]:
            raise ValueError(
                f"image_shape must be divided by {self.block[1]}×{self.block[0]} pixels: got {width}×{height}"
            )
        planes = 1 if channels == 1 else down * across + 2
        u, s, v = _decomposed(tuple(tuple(table.flatten().tolist()) for table in steps), down, across)
        values = torch.zeros(len(v), dtype=torch.float64)
        values[: len(s)] = s
        tiled = values.reshape(channels, *self.block).repeat(1, height // self.block[0], width // self.block[1])
        measured = (planes, height // down, width // across)
        super().__init__(image_shape, measured, tiled.to(torch.get_default_dtype()))
        self.register_exact("v", v)
        self.register_exact("u", u)

    def Vt(self, x: Tensor) -> Tensor:
        return _joined(_cut(x, self.block) @ self.v.to(x), self.block, self.image_shape)

    def V(self, z: Tensor) -> Tensor:
        return _joined(_cut(z, self.block) @ self.v.to(z).mT, self.block, self.image_shape)

    def U(self, z: Tensor) -> Tensor:
        ranged = _cut(z, self.block)[..., : len(self.u)] @ self.u.to(z).mT
        return _joined(ranged, (SIDE, SIDE), self.measurement_shape)

    def Ut(self, y: Tensor) -> Tensor:
        ranged = _cut(y, (SIDE, SIDE)) @ self.u.to(y)
        null = len(self.v) - len(self.u)
        return _joined(torch.nn.functional.pad(ranged, (0, null)), self.block, self.image_shape)


def level(tables: Sequence[Tensor], planes: int) -> Tensor:
    """(planes, 8, 8): what y holds more than the file, which counts luma from −128.

    Args:
        planes: of the measurement.
    """
    shift = torch.zeros(planes, SIDE, SIDE, dtype=torch.float64)
    luma = planes if planes == 1 else planes - 2
    shift[:luma, 0, 0] = 128 * SIDE / float(tables[0][0][0])
    return shift


def _cut(image: Tensor, block: tuple[int, int]) -> Tensor:
    """(B, C, H, W) as (B, rows, columns, C·h·w) of blocks."""
    batch, channels, height, width = image.shape
    h, w = block
    cut = image.reshape(batch, channels, height // h, h, width // w, w)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)


def _joined(blocks: Tensor, block: tuple[int, int], shape: tuple[int, int, int]) -> Tensor:
    """The inverse of :func:`_cut`."""
    channels, height, width = shape
    h, w = block
    cut = blocks.reshape(len(blocks), height // h, width // w, channels, h, w)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(len(blocks), channels, height, width)


@lru_cache(maxsize=32)
def _decomposed(tables: tuple[tuple[float, ...], ...], down: int, across: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and the whole V of a macroblock's matrix, float64."""
    u, s, vh = torch.linalg.svd(macroblock(tables, down, across), full_matrices=True)
    return u, s, vh.mT


def macroblock(tables: Sequence[Sequence[float]], down: int, across: int) -> Tensor:
    """A of one macroblock, (blocks · 64, channels · pixels) in float64."""
    eye = torch.eye(SIDE, dtype=torch.float64)
    dct = _dct()

    def transform(rows: Tensor, columns: Tensor, table: Sequence[float]) -> Tensor:
        steps = torch.tensor(table, dtype=torch.float64)
        return 255 * torch.kron(dct @ rows, dct @ columns) / steps[:, None]

    def part(count: int, i: int) -> Tensor:
        return torch.kron(torch.eye(count, dtype=torch.float64)[i : i + 1], eye)

    luma = [transform(part(down, i), part(across, k), tables[0]) for i in range(down) for k in range(across)]
    if len(tables) == 1:
        return torch.cat(luma)
    rows, columns = (torch.kron(eye, torch.full((1, n), 1 / n, dtype=torch.float64)) for n in (down, across))
    chroma = [transform(rows, columns, table) for table in (tables[1], tables[-1])]
    weights = torch.tensor(_YCC, dtype=torch.float64)
    colours = [weights[:1]] * len(luma) + [weights[1:2], weights[2:]]
    return torch.cat([torch.kron(row, block) for row, block in zip(colours, luma + chroma, strict=True)])


def _dct() -> Tensor:
    """The orthonormal DCT-II of 8 values, float64: frequencies down, values across."""
    n = torch.arange(SIDE, dtype=torch.float64)
    waves: Tensor = torch.cos(torch.pi * n[:, None] * (2 * n + 1) / (2 * SIDE)) * (2 / SIDE) ** 0.5
    waves[0] /= 2**0.5
    return waves
