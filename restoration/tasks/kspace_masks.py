"""Which k-space values a faster scan measures: whole lines by fastMRI's rules, or points apart from each other.

Frequency 0 lies in the middle, at (H // 2, W // 2). Lines are columns: rows are read out, columns phase encoded.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from restoration.errors import ImageError
from restoration.tasks.mri import EQUISPACED, POISSON, usual_centre
from restoration.tasks.seeds import derived_seed

NEAR = 0.02
"""How near, relatively, the share of Poisson-disk points comes to what was asked for."""


def kept(kind: str, rows: int, columns: int, acceleration: float, centre: float, seed: int) -> Tensor:
    """The k-space values (rows, columns) that are measured, True; one in ``acceleration`` of all.

    Args:
        kind: "equispaced" or "random" columns beside a block of columns in the middle, or "poisson": points
            whose distances grow with that from the middle, around a rectangle that is measured wholly.
        centre: share of the columns in the middle that are all measured; of "poisson" share of either side.
        seed: decides offset, columns or points, on any device alike.

    Raises:
        ValueError: a middle that already has more values than are to be measured.

    Source: Zbontar et al., *fastMRI*, 2018 (columns; "random" draws so many that the acceleration is exact).
    """
    share = centre**2 if kind == POISSON else centre
    if share * acceleration > 1:
        raise ValueError(
            f"center_fraction must leave lines to be dropped: got {centre:g} at acceleration {acceleration:g} "
            f"(--center-fraction; usual is {usual_centre(acceleration):.2g})"
        )
    generator = torch.Generator().manual_seed(derived_seed(seed, "k-space"))
    if kind == POISSON:
        return _poisson(rows, columns, acceleration, centre, generator)
    middle = max(round(columns * centre), 1)
    lines = torch.zeros(columns, dtype=torch.bool)
    first = (columns - middle + 1) // 2
    lines[first : first + middle] = True
    wanted = columns / acceleration
    if kind == EQUISPACED:
        if wanted > middle:
            step = acceleration * (middle - columns) / (middle * acceleration - columns)
            offset = int(torch.randint(max(round(step), 1), (), generator=generator))
            places = torch.arange(offset, columns - 1, step, dtype=torch.float64).round().long()
            lines[places] = True
    else:
        others = torch.nonzero(~lines)[:, 0]
        order = torch.randperm(len(others), generator=generator)
        lines[others[order[: max(round(wanted) - middle, 0)]]] = True
    return lines.expand(rows, columns).clone()


def from_file(path: Path, rows: int, columns: int) -> Tensor:
    """The values (rows, columns) that a picture's white marks as measured; one row of pixels is of all rows.

    Raises:
        ImageError: a picture of another size, or without any white.
    """
    from restoration.pictures import images

    mask = images.load(path).mean(dim=0) > 0.5
    if tuple(mask.shape) not in ((rows, columns), (2, columns)):
        raise ImageError(
            f"{path}: a mask must have k-space's size, {columns}×{rows} (or {columns}×2, one row twice): "
            f"it has {mask.shape[1]}×{mask.shape[0]}"
        )
    if len(mask) != rows:
        mask = mask[:1].expand(rows, -1)
    if not bool(mask.any()):
        raise ImageError(f"{path}: nothing is white, and white marks what is measured")
    return mask.clone()


def _poisson(rows: int, columns: int, acceleration: float, centre: float, generator: torch.Generator) -> Tensor:
    """Variable-density Poisson disks by dart throwing: a point keeps others away by 1 + slope · its distance."""
    down = (torch.arange(rows) - rows // 2).double() / (rows / 2)
    across = (torch.arange(columns) - columns // 2).double() / (columns / 2)
    away = (down[:, None] ** 2 + across**2).sqrt()
    middle = (down.abs()[:, None] < centre) & (across.abs() < centre)
    order = torch.randperm(rows * columns, generator=generator).tolist()
    low, high = 0.0, float(max(rows, columns))
    mask = middle
    for _ in range(24):
        slope = (low + high) / 2
        mask = middle | _darts(rows, columns, (1 + slope * away).tolist(), order)
        share = float(mask.float().mean()) * acceleration
        if abs(share - 1) <= NEAR:
            break
        low, high = (slope, high) if share > 1 else (low, slope)
    return mask


def _darts(rows: int, columns: int, radii: list[list[float]], order: list[int]) -> Tensor:
    free = torch.ones(rows, columns, dtype=torch.bool).numpy()
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    offsets = torch.arange(2 * (rows + columns) + 1) - (rows + columns)
    squares = (offsets**2).numpy()
    points = []
    for place in order:
        i, j = divmod(place, columns)
        if not free[i, j]:
            continue
        points.append(place)
        r = radii[i][j]
        reach = math.ceil(r) - 1  # points nearer than r are kept away
        top, bottom, left, right = max(i - reach, 0), min(i + reach + 1, rows), max(j - reach, 0), j + reach + 1
        right = min(right, columns)
        zero = rows + columns
        near = squares[zero + top - i : zero + bottom - i, None] + squares[zero + left - j : zero + right - j]
        free[top:bottom, left:right] &= near >= r * r
    mask.view(-1)[torch.tensor(points)] = True
    return mask
