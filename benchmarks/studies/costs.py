"""What a step costs: a prior that is free, a clock that waits for the device, and the peak of a run's memory."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from restoration.restorer import synchronise
from solvers import DDRM, NoiseSchedule, NoiseSource

T = TypeVar("T")


class FreePrior:
    """x̂₀ is given, whatever the x; the x it was last shown tells where the solver stands."""

    def __init__(self, x0: Tensor) -> None:
        channels, height, width = x0.shape[1:]
        self.image_shape = (channels, height, width)
        self.device, self.name = x0.device, "free"
        self.schedule = NoiseSchedule.linear()
        self.x0 = self.x = x0

    def fingerprint(self) -> str:
        """All answer what they were given."""
        return "free"

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        self.x = x_k
        return self.x0


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that operations inside it create, as long as each lives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._meet((args, kwargs), counted=False)  # first met as an input: it was there before
        out = func(*args, **(kwargs or {}))
        self._meet(out, counted=True)
        self.peak = max(self.peak, sum(self._live.values()))
        return out

    def _meet(self, tree: Any, counted: bool) -> None:
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)):
            if id(storage) not in self._live:
                self._live[id(storage)] = storage.nbytes() if counted else 0
                weakref.finalize(storage, self._live.pop, id(storage))


def peak_images(ddrm: DDRM, x: Tensor, steps: int) -> float:
    """The most a run allocates beyond x, prior and measurement, in tensors as large as x."""
    run = ddrm.sample(x, ddrm.schedule.K, steps, NoiseSource(range(len(x)), x.device))
    if x.device.type == "cuda":
        before: int = torch.cuda.memory_allocated(x.device)
        torch.cuda.reset_peak_memory_stats(x.device)
        deque(run, maxlen=0)
        peak: int = torch.cuda.max_memory_allocated(x.device)
        return (peak - before) / x.nbytes
    live = LiveBytes()
    with live:
        deque(run, maxlen=0)
    return live.peak / x.nbytes


def clocked(
    device: torch.device, into: list[float], action: Callable[[], T], clock: Callable[[], float] = perf_counter
) -> T:
    """Do it, and note the seconds until the device has done it."""
    synchronise(device)
    start = clock()
    result = action()
    synchronise(device)
    into.append(clock() - start)
    return result
