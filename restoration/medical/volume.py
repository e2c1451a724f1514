"""A scan: slices in the file's own exact numbers, their units, and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restoration.medical.window import Window, WindowChoice

Array = npt.NDArray[Any]

NO_CHANGE = 1e-6
"""A restored value that differs by less, of the window's width, is the given one: float32 rounds by less."""
NOISE = 3.0
"""Standard deviations: measured values beyond the window by no more are noise around its ends."""


class Header(Protocol):
    """What a file said beside its voxels."""

    @property
    def suggested(self) -> Window | None:
        """The window that the file itself proposes to show."""
        ...


@dataclass(frozen=True)
class Grid:
    """Where a slice's pixels lie in the slice that was read: row r there is ``top + rows·r``, a column alike.

    Args:
        top, left: of the first pixel's middle, in pixels of the slice that was read.
        rows, columns: from one pixel to the next, in the same.
    """

    top: float = 0.0
    left: float = 0.0
    rows: float = 1.0
    columns: float = 1.0

    @property
    def same(self) -> bool:
        """Whether the slice is as it was read."""
        return self == Grid()

    def cropped(self, top: int, left: int) -> Grid:
        """Of a part that begins so many pixels further."""
        return replace(self, top=self.top + self.rows * top, left=self.left + self.columns * left)

    def resized(self, before: tuple[int, int], after: tuple[int, int]) -> Grid:
        """Of the same field of view in other pixels, (H, W) each."""
        down, across = (old / new for old, new in zip(before, after, strict=True))
        top, left = self.top + self.rows * (down - 1) / 2, self.left + self.columns * (across - 1) / 2
        return Grid(top, left, self.rows * down, self.columns * across)


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of a scan (one or many) in the file's own numbers.

    Args:
        stored: (D, H, W), integers or floats as the file holds them; slices stand upright, as they are looked at.
        slope, intercept: units = slope · stored + intercept.
        window: the units that are 0 and 1 in :attr:`images`.
        limits: least and largest number that may be stored; None for floats.
        padding: stored numbers, least and largest, that stand where nothing was measured.
        inverted: the least unit is shown white (DICOM's MONOCHROME1), and so are :attr:`images`.
        spacing: mm from slice to slice, row to row and column to column.
        orientation: (4, 4), from slice, row and column (d, h, w), as they were read, to mm right, anterior, up.
        unit: what units are called, as HU; "" where the file does not say.
        grid: where the pixels lie in the slices that were read.
        margin: how far beyond the window, of its width, a value is still noise and not cut.
        kept: (D, H, W), the share of what lies beyond the window that survives; None is all of it.
        deidentified: what names the patient is left out when it is written.
        header: what else the file said, to be written again; None of plain arrays.
        axis: of the file's array that the slices follow, counted from 0; None of a file that has but one way.
        notes: what the user should know of reading it, a line each.
    """

    stored: Array
    slope: float = 1.0
    intercept: float = 0.0
    window: Window = field(default_factory=lambda: Window(0.0, 1.0))
    limits: tuple[float, float] | None = None
    padding: tuple[float, float] | None = None
    inverted: bool = False
    spacing: tuple[float, float, float] | None = None
    orientation: Array | None = None
    unit: str = ""
    grid: Grid = field(default_factory=Grid)
    margin: float = 0.0
    kept: Array | None = None
    deidentified: bool = False
    header: Header | None = None
    axis: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        units: Array,
        spacing: tuple[float, float, float] | None = None,
        affine: Array | None = None,
        window: Window | None = None,
    ) -> Volume:
        """A scan of float numbers (D, H, W) or (H, W) that come from no file of ours.

        Args:
            spacing, affine: as ``spacing`` and ``orientation``.
            window: None is all of their range.

        Raises:
            ValueError: another shape, or numbers that are not finite.
        """
        stored = np.asarray(units, dtype=np.float32)
        stored = stored[None] if stored.ndim == 2 else stored
        if stored.ndim != 3 or not stored.size or not np.isfinite(stored).all():
            raise ValueError(f"units must be finite numbers (D, H, W): got {np.shape(units)}")
        volume = cls(stored, spacing=spacing, orientation=affine)
        return replace(volume, window=WindowChoice().of(stored) if window is None else window)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.stored.shape
        return depth, height, width

    @property
    def units(self) -> Array:
        """(D, H, W) float64."""
        units: Array = self.stored * np.float64(self.slope) + self.intercept
        return units

    @property
    def affine(self) -> Array | None:
        """(4, 4), from slice, row and column (d, h, w) to mm right, anterior, up; None if the file is silent."""
        if self.orientation is None:
            return None
        grid = self.grid
        placed = np.diag([1.0, grid.rows, grid.columns, 1.0])
        placed[1, 3], placed[2, 3] = grid.top, grid.left
        affine: Array = self.orientation @ placed
        return affine

    @property
    def images(self) -> Tensor:
        """(D, 1, H, W) float32: the window as 0 to 1. Values beyond it and ``margin`` are cut."""
        levels = self._levels()
        return torch.from_numpy(self._seen(self._cut(levels)).astype(np.float32))[:, None]

    def measured(self) -> Array:
        """(D, H, W), True where something was measured: padding and NaN are not."""
        found: Array = np.isfinite(self.stored)
        if self.padding is not None:
            low, high = self.padding
            found &= (self.stored < low) | (self.stored > high)
        return found

    @property
    def beyond(self) -> Array:
        """(D, H, W), True where a value lies so far beyond the window that the prior sees it cut."""
        levels = self._levels()
        far: Array = (levels < -self.margin) | (levels > 1 + self.margin)
        return far

    def windowed(self, choice: Window | WindowChoice) -> Volume:
        """The same slices in another window."""
        if isinstance(choice, WindowChoice):
            choice = choice.of(self.units[self.measured()])
        return replace(self, window=choice)

    def noisy(self, sigma: float) -> Volume:
        """The same slices, known to have noise of that standard deviation, of the window's width."""
        return replace(self, margin=NOISE * sigma)

    def as_floats(self) -> Volume:
        """The same slices stored as float32 numbers of their units, so that results are not rounded."""
        if self.stored.dtype.kind == "f" and (self.slope, self.intercept) == (1.0, 0.0):
            return self
        padding = None
        if self.padding is not None:
            ends = [self.slope * end + self.intercept for end in self.padding]
            padding = (min(ends), max(ends))
        stored = self.units.astype(np.float32)
        return replace(self, stored=stored, slope=1.0, intercept=0.0, limits=None, padding=padding)

    def slice(self, i: int) -> Volume:
        """The i-th slice alone, (1, H, W), without its place in the file."""
        kept = None if self.kept is None else self.kept[i : i + 1]
        return replace(self, stored=self.stored[i : i + 1], kept=kept)

    def cropped(self, top: int, left: int, height: int, width: int) -> Volume:
        """The same part of every slice."""
        part = np.s_[:, top : top + height, left : left + width]
        kept = None if self.kept is None else self.kept[part]
        return replace(self, stored=self.stored[part], kept=kept, grid=self.grid.cropped(top, left))

    def forgetting(self, share: Tensor) -> Volume:
        """The same slices, where what is beyond the window was not measured but marked to be filled.

        Args:
            share: (D or 1, 1, H, W), 1 where a pixel is filled, 0 where it is known.
        """
        filled = share[:, 0].cpu().numpy().astype(np.float64)
        return replace(self, kept=1 - np.broadcast_to(filled, self.shape))

    def like(self, images: Tensor) -> Volume:
        """Restored slices with all that these have, in numbers that the same file can hold.

        What was measured beyond the window survives: the restored value is added to it. Where a restored value is
        the given one, the stored number is exactly the given one.

        Args:
            images: (D, 1, H', W') in [0, 1] of the window; of another size they show the same field of view.

        Raises:
            ValueError: another number of slices.
        """
        shown = self._shown(images)
        levels, same_size = self._levels(), shown.shape == self.stored.shape
        given = self._cut(levels)
        beyond = levels - given
        survives = beyond if self.kept is None else beyond * self.kept
        if not same_size:
            return self._resized(shown, survives)
        units = self.window.low + self.window.width * (shown + survives)
        # float32 is what images are given out in
        untouched = np.abs(shown - given.astype(np.float32)) <= NO_CHANGE
        untouched = (untouched & (survives == beyond)) | (~np.isfinite(self.stored) & (survives == beyond))
        return replace(self, stored=np.where(untouched, self.stored, self._to_stored(units)))

    def mapped(self, values: Tensor, white: float = 1.0) -> Volume:
        """A map of these slices, as of a standard deviation, in their units.

        Args:
            values: (D, 1, H', W'), at least 0, in widths of the window.
            white: what pictures of the map show white; scans show its own largest.

        Returns:
            float32 numbers. A DICOM file holds them in 16 bits with a slope of their own.
        """
        shown = values[:, 0].detach().cpu().double().numpy() * self.window.width
        grid = self.grid.resized(self.shape[1:], shown.shape[1:])
        most = max(float(shown.max()), 1e-12)
        plain = replace(
            self._on(grid), limits=None, padding=None, inverted=False, kept=None, window=Window(0.0, most)
        )
        return replace(plain, stored=shown.astype(np.float32), slope=1.0, intercept=0.0)

    def _levels(self) -> Array:
        """(D, H, W) float64: the window as 0 to 1, uncut."""
        levels: Array = (self.units - self.window.low) / self.window.width
        return levels if self.stored.dtype.kind != "f" else np.nan_to_num(levels, nan=0.0, posinf=0.0, neginf=0.0)

    def _cut(self, levels: Array) -> Array:
        beyond = (levels < -self.margin) | (levels > 1 + self.margin) | ~self.measured()
        return np.where(beyond, levels.clip(0, 1), levels)

    def _seen(self, levels: Array) -> Array:
        return 1 - levels if self.inverted else levels

    def _shown(self, images: Tensor) -> Array:
        if images.ndim != 4 or images.shape[1] != 1 or len(images) != len(self):
            raise ValueError(f"images must be ({len(self)}, 1, H, W): got {tuple(images.shape)}")
        shown: Array = images[:, 0].detach().cpu().double().numpy()
        return self._seen(shown.clip(0, 1))

    def _to_stored(self, units: Array) -> Array:
        numbers = (units - self.intercept) / self.slope
        if self.stored.dtype.kind == "f":
            return numbers.astype(self.stored.dtype)
        low, high = self.limits or _limits(self.stored.dtype)
        return numbers.round().clip(low, high).astype(self.stored.dtype)

    def _resized(self, shown: Array, survives: Array) -> Volume:
        """Of another size: what lay beyond the window is repeated over the pixels that one has become."""
        before, after = self.shape[1:], (shown.shape[1], shown.shape[2])
        if all(new % old == 0 for old, new in zip(before, after, strict=True)):
            for axis, (old, new) in enumerate(zip(before, after, strict=True), start=1):
                survives = survives.repeat(new // old, axis=axis)
            shown = shown + survives
        units = self.window.low + self.window.width * shown
        return replace(self._on(self.grid.resized(before, after)), stored=self._to_stored(units), kept=None)

    def _on(self, grid: Grid) -> Volume:
        """With pixels that lie otherwise."""
        spacing = self.spacing
        if spacing is not None:
            down, across = grid.rows / self.grid.rows, grid.columns / self.grid.columns
            spacing = (spacing[0], spacing[1] * down, spacing[2] * across)
        return replace(self, grid=grid, spacing=spacing)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    told = np.iinfo(dtype)
    return float(told.min), float(told.max)
