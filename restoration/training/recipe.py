"""How long and how a network is trained, and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WARM_UP = 0.02
"""The share of a run in which the learning rate rises."""


@dataclass
class Progress:
    """How far a run is; stored with every checkpoint."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The mean loss of every stretch."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        seconds: of training in all, across every resumption; what is written and measured does not count.
        steps: instead of seconds, where given.
        batch: pictures a step and process.
        rate: AdamW's highest learning rate; it rises over ``WARM_UP`` and falls along a cosine.
        decay: the most the moving average keeps of its past at a step; (1 + step)/(10 + step) before that.
        between: seconds of training between checkpoints.
        flip: mirror every second picture.
        seed: of first weights, crops, flips and noise.
        workers: processes that prepare pictures; None for as many as the device can use.
    """

    seconds: float
    steps: int | None
    batch: int
    rate: float
    decay: float = 0.9999
    between: float = 300.0
    flip: bool = True
    seed: int = 0
    workers: int | None = None

    def share(self, progress: Progress) -> float:
        """How much of the run is over, 0 to 1."""
        over = progress.seconds / self.seconds if self.steps is None else progress.step / self.steps
        return min(over, 1.0)

    def rate_at(self, progress: Progress) -> float:
        """The learning rate there."""
        share = self.share(progress)
        return self.rate * max(min(share / WARM_UP, (1 + math.cos(math.pi * share)) / 2), 1e-3)
