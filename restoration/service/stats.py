"""What an engine has done so far."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from restoration.service.planning import Speed

KEPT = 1000
"""Newest latencies that are kept."""


@dataclass(frozen=True)
class Stats:
    """What an engine has done since it was made; a snapshot.

    Args:
        submitted, refused: runs taken in, and turned away as overloaded.
        ended, lost: with a result, and without one (cancelled ones among them).
        runs: that are there now; ``unseen`` of them have no picture yet.
        calls, pieces: of the network, and images of its size in them.
        batch: most pieces of a call.
        nfe: evaluations given, of all runs.
        busy_s, network_s: seconds in which there was work, and of these in the network.
        deadlines_kept, deadlines_missed: results that were there in time, with an inner run ended; and others, of
            runs with a deadline.
        first_preview_s: seconds from submission to the first end of an inner run, of the newest runs.
        speed: of a call, as it is expected now.
    """

    submitted: int
    refused: int
    ended: int
    lost: int
    runs: int
    unseen: int
    calls: int
    pieces: int
    batch: int
    nfe: int
    busy_s: float
    network_s: float
    deadlines_kept: int
    deadlines_missed: int
    first_preview_s: tuple[float, ...]
    speed: Speed

    @property
    def batch_fill(self) -> float:
        """Pieces in a call, as a share of the most; 0 before the first call."""
        return self.pieces / (self.calls * self.batch) if self.calls else 0.0


@dataclass
class Counters:
    """Stats in the making."""

    submitted: int = 0
    refused: int = 0
    ended: int = 0
    lost: int = 0
    calls: int = 0
    pieces: int = 0
    nfe: int = 0
    busy_s: float = 0.0
    network_s: float = 0.0
    deadlines_kept: int = 0
    deadlines_missed: int = 0
    first_preview_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def snapshot(self, runs: int, unseen: int, batch: int, speed: Speed) -> Stats:
        """As it is now."""
        told = {name: value for name, value in vars(self).items() if name != "first_preview_s"}
        return Stats(
            **told,
            first_preview_s=tuple(self.first_preview_s),
            runs=runs,
            unseen=unseen,
            batch=batch,
            speed=speed,
        )
