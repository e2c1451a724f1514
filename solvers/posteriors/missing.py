"""How wide it is what was not measured: single pixels, scratches, holes, the blocks of a small picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

DRAWS = 8
"""Of white noise, from which it is estimated: always the same, so that the width of an operator is."""
HIDDEN = 0.7
"""What windows of a width must hide, beside single pixels, to count as missing. Half of all pixels at random hide
0.62 in windows of 2; scratches of 3 pixels 0.82 there and 0.63 in windows of 4; a hole 0.9 up to its own width."""


@torch.no_grad()
def width(null: Callable[[Tensor], Tensor], shape: tuple[int, int, int]) -> float:
    """Pixels, between whole ones too, that a window is wide in which nearly as much is missing as at a pixel.

    A window of f × f pixels hides q = ‖P u‖² of the flat picture u of unit norm in it, P being the projection on
    what was not measured. Compared is the mean of q over windows, weighted by q itself, with that of f = 1.
    (u·Pξ)² of white noise ξ has mean q; the square of q is a product of two independent estimates.

    Args:
        null: P of (1, C, H, W), of one image.
        shape: (C, H, W).

    Returns:
        0 where nothing is missing, else at least 1; ∞ where the largest window still hides as much.
    """
    draw = torch.Generator().manual_seed(0)
    seen = [null(torch.randn((1, *shape), generator=draw)).double().cpu() for _ in range(DRAWS)]
    if not max(float(one.abs().max()) for one in seen) > 0:
        return 0.0
    found: list[float] = []
    side = 1
    while side <= min(shape[1:]):
        q = [(functional.avg_pool2d(one, side, max(side // 2, 1)) * side) ** 2 for one in seen]
        some, others = torch.stack(q[::2]).mean(0), torch.stack(q[1::2]).mean(0)
        mean = float((some + others).sum()) / 2
        found.append(float((some * others).sum()) / mean if mean > 0 else 0.0)
        share, before = found[-1] / found[0], found[max(len(found) - 2, 0)] / found[0]
        if share < HIDDEN:
            return side / 2 * 2 ** ((before - HIDDEN) / (before - share))
        side *= 2
    return math.inf
