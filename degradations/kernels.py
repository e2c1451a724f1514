"""Kernels of blurs and of shrinking, (h, w) in float64 with sum 1, each centred on the middle of its sides."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

LARGEST = 2001
"""Pixels a side of the largest kernel that is made."""
_FINE = 16  # points a pixel and side, or a pixel of a line's length
_AT_ONCE = 4096  # points of a line


def gaussian(sigma: float, sigma_across: float | None = None) -> Tensor:
    """A Gaussian of standard deviation ``sigma`` pixels, cut at 4 of them.

    Args:
        sigma: down the columns and, unless ``sigma_across`` is given, along the rows.
        sigma_across: along the rows.

    Raises:
        ValueError: not above 0, not finite, or wider than ``LARGEST``.
    """
    down, across = (_bell(s) for s in (sigma, sigma if sigma_across is None else sigma_across))
    return torch.outer(down, across)


def uniform(side: int) -> Tensor:
    """The mean of side × side pixels.

    Raises:
        ValueError: a side that is not odd or beyond ``LARGEST``.
    """
    if side != int(side) or side < 1 or side % 2 == 0:
        raise ValueError(f"side must be an odd number of pixels: got {side:g}")
    _bounded(side)
    return torch.full((int(side), int(side)), 1 / side**2, dtype=torch.float64)


def disk(radius: float) -> Tensor:
    """A disk of that radius in pixels, each pixel by how much of it the disk covers: a lens out of focus.

    Raises:
        ValueError: a radius that is not above 0, or wider than ``LARGEST``.
    """
    _positive("radius", radius)
    reach = _bounded(2 * math.ceil(radius - 0.5) + 1) // 2
    fine = (torch.arange((2 * reach + 1) * _FINE, dtype=torch.float64) + 0.5) / _FINE - reach - 0.5
    middles = torch.arange(-reach, reach + 1, dtype=torch.float64).abs()
    near, far = (middles - 0.5).clamp(min=0) ** 2, (middles + 0.5) ** 2
    covered = (far[:, None] + far <= radius**2).double()
    # Only pixels on the edge are looked at in fine steps: their number grows with the radius, not its square.
    rows, columns = torch.nonzero((near[:, None] + near <= radius**2) & (covered == 0), as_tuple=True)
    points = fine.view(-1, _FINE) ** 2
    inside = points[rows, :, None] + points[columns, None, :] <= radius**2
    covered[rows, columns] = inside.double().mean(dim=(1, 2))
    return _normalised(covered)


def motion(length: float, angle: float) -> Tensor:
    """A straight line: a camera that moves evenly while the shutter is open.

    Args:
        length: of the line in pixels; 1 is no blur at all.
        angle: of the line, degrees counter-clockwise from the horizontal.

    Raises:
        ValueError: a length below 1, an angle that is not finite, or a line longer than ``LARGEST``.
    """
    if not (math.isfinite(length) and length >= 1 and math.isfinite(angle)):
        raise ValueError(f"length must be at least 1 pixel, and angle finite: got {length:g} and {angle:g}")
    reach = _bounded(2 * math.ceil((length - 1) / 2) + 1) // 2
    steps = torch.linspace(-(length - 1) / 2, (length - 1) / 2, max(int(length * _FINE), 1), dtype=torch.float64)
    turn = math.radians(angle)
    # Every point is shared by its four neighbours, by how near they are.
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.zeros(len(offsets), len(offsets), dtype=torch.float64)
    parts = torch.split(steps, _AT_ONCE)
    for part in parts:  # each touches a small square: memory and time grow with the length only
        rows = columns = slice(None)
        if len(parts) > 1:
            rows, columns = _touched(offsets, -part * math.sin(turn)), _touched(offsets, part * math.cos(turn))
        down = (1 - (offsets[rows] + part[:, None] * math.sin(turn)).abs()).clamp(min=0)
        across = (1 - (offsets[columns] - part[:, None] * math.cos(turn)).abs()).clamp(min=0)
        kernel[rows, columns] += down.mT @ across
    return _normalised(kernel)


def box(t: Tensor) -> Tensor:
    """1 within half a (small) pixel of the middle."""
    return (t.abs() <= 0.5).double()


def bicubic(t: Tensor) -> Tensor:
    """Keys' cubic with a = −½, as Pillow's and MATLAB's; source: Keys, 1981."""
    t = t.abs()
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0))


def lanczos(t: Tensor) -> Tensor:
    """sinc(t) sinc(t/3), three lobes, as Pillow's."""
    return torch.where(t.abs() < 3, torch.sinc(t) * torch.sinc(t / 3), 0)


SHRINKING: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "box": (box, 0.5),
    "bicubic": (bicubic, 2.0),
    "lanczos": (lanczos, 3.0),
}
"""Filters of antialiased shrinking and their support, in pixels of the small picture."""


def shrinking(name: str, factor: int) -> Tensor:
    """The kernel of shrinking by a whole factor with a filter of ``SHRINKING``, as Pillow's ``resize``.

    Its side has the parity of the factor, so that its middle is the middle of a block of pixels.

    Raises:
        ValueError: an unknown name.
    """
    if name not in SHRINKING:
        raise ValueError(f"kernel must be one of {', '.join(SHRINKING)}: got {name!r}")
    weight, support = SHRINKING[name]
    side = 2 * int(support * factor) + factor % 2 if support >= 1 else factor
    offsets = torch.arange(_bounded(side), dtype=torch.float64) - (side - 1) / 2
    return _separable(weight(offsets / factor))


def gaussian_shrinking(sigma: float, factor: int) -> Tensor:
    """A Gaussian of ``sigma`` (large) pixels about the middle of a block, cut at 4 of them.

    Raises:
        ValueError: as :func:`gaussian`.
    """
    _positive("sigma", sigma)
    side = _bounded(2 * int(4 * sigma + 0.5) + 1)
    side += (side - factor) % 2
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return _separable(torch.exp(-(offsets**2) / (2 * sigma**2)))


def _bell(sigma: float) -> Tensor:
    _positive("sigma", sigma)
    reach = _bounded(2 * max(int(4 * sigma + 0.5), 1) + 1) // 2
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return _normalised(torch.exp(-(offsets**2) / (2 * sigma**2)))


def _touched(offsets: Tensor, middles: Tensor) -> slice:
    """Where offsets lie within a pixel of one of the middles."""
    low, high = (int(end) for end in (middles.min().floor() - offsets[0], middles.max().ceil() - offsets[0]))
    return slice(max(low, 0), high + 1)


def _separable(weights: Tensor) -> Tensor:
    weights = _normalised(weights)
    return torch.outer(weights, weights)


def _normalised(kernel: Tensor) -> Tensor:
    return kernel / kernel.sum()


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0 and finite: got {value:g}")


def _bounded(side: float) -> int:
    if side > LARGEST:
        raise ValueError(f"a kernel may have at most {LARGEST} pixels a side: got {side:g}")
    return int(side)
