"""How long a call of a network takes, by the number of images in it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from restoration.commands.console import OUT_OF_MEMORY
from restoration.restorer import synchronise
from restoration.service.planning import Speed
from solvers import Prior

GAIN = 1.05
"""Twice the images must raise the rate by so much, or larger calls are not tried."""
LONGEST_S = 0.5
"""Nor are they where one takes longer: runs wait for each other's calls."""
LARGEST = {"cpu": 8}
LARGEST_ELSEWHERE = 256


def measured(
    prior: Prior, most: int | None = None, clock: Callable[[], float] = time.perf_counter, repeats: int = 2
) -> Speed:
    """Time calls of 1, 2, 4 … images, each the fastest of some after one that warms up.

    Args:
        prior: what is called.
        most: images at most, which are tried; None goes on while it pays, and while memory lasts.
        clock: seconds.
        repeats: calls of each size.
    """
    last = LARGEST.get(prior.device.type, LARGEST_ELSEWHERE) if most is None else most
    sizes = [2**i for i in range(last.bit_length()) if 2**i < last] + [last]
    times: list[tuple[int, float]] = []
    for size in sizes:
        x = torch.zeros((size, *prior.image_shape), device=prior.device)
        try:
            fastest = min(_seconds(prior, x, clock, warm=i == 0) for i in range(repeats))
        except RuntimeError as error:
            if times and runs_out_of_memory(error):
                break
            raise
        times.append((size, max(fastest, 1e-9)))
        slower = len(times) > 1 and size / fastest < GAIN * times[-2][0] / times[-2][1] if fastest else False
        if most is None and (slower or fastest > LONGEST_S):
            break
    return Speed(tuple(times))


def _seconds(prior: Prior, x: torch.Tensor, clock: Callable[[], float], *, warm: bool) -> float:
    if warm:
        prior.denoise(x, prior.schedule.K)
        synchronise(prior.device)
    began = clock()
    prior.denoise(x, prior.schedule.K)
    synchronise(prior.device)
    return clock() - began


def runs_out_of_memory(error: Exception) -> bool:
    """Whether it says that there is not enough memory, of whatever device."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
