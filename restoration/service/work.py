"""What an engine is given, and what it tells: frozen values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from degradations import Measurement
from degradations.arguments import number, whole
from nested import NestedState
from nested.effort import Adaptive, Effort, Fixed
from restoration.errors import RestorationError
from restoration.restorer import Preview, Restoration
from solvers import Spectral


@dataclass(frozen=True, eq=False)
class Work:
    """One picture's restoration.

    Args:
        measurement: of one picture (B = 1), in [0, 1] units; of any size that the engine's prior can be tiled to.
        settings: of the sampler, as ``Restorer(prior, posterior=…)`` takes them; None is ``Restorer``'s default.
        seed: of the first sample, the next ones count on; a state's own where one is given.
        effort: ``Fixed((10, 10, 10))``, ``Budget(30)``, ``Adaptive()``; None lets the engine plan it
            from the deadline and the load, and change the plan whenever an inner run has ended.
        deadline: seconds from submission by which the result is there; None is as long as it takes.
        max_nfe: evaluations after which to stop; those before ``state`` count.
        samples: restorations drawn of the picture, all in one run.
        state: go on from there.
        overlap: of tiles, in pixels; None is an eighth of a tile.
        clamp: cut what is shown to [0, 1].
        every: tell previews of unfinished inner runs too, one an evaluation; before the first end of an inner run
            they are the only ones.

    Raises:
        TypeError, ValueError: a value that none of these can be.
    """

    measurement: Measurement
    settings: Spectral.Settings | None = None
    seed: int = 0
    effort: Effort | Adaptive | None = None
    deadline: float | None = None
    max_nfe: int | None = None
    samples: int = 1
    state: NestedState | None = None
    overlap: int | None = None
    clamp: bool = True
    every: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.measurement, Measurement):
            raise TypeError(f"measurement must be a Measurement: got {type(self.measurement).__name__}")
        if len(self.measurement) != 1:
            raise ValueError(f"measurement must be of one picture: got {len(self.measurement)}")
        if whole("samples", self.samples) < 1:
            raise ValueError(f"samples must be at least 1: got {self.samples}")
        if self.deadline is not None and not number("deadline", self.deadline) > 0:
            raise ValueError(f"deadline must be above 0 seconds: got {self.deadline}")
        if self.max_nfe is not None and whole("max_nfe", self.max_nfe) < 1:
            raise ValueError(f"max_nfe must be at least 1: got {self.max_nfe}")
        if self.state is not None and len(self.state) != self.samples:
            raise ValueError(f"state must be of {self.samples} samples: got {len(self.state)}")


@dataclass(frozen=True)
class Plan:
    """What a run can be expected to reach by its deadline, as things stand.

    Args:
        allocation: inner steps of every outer step; those after ``nfe`` evaluations may still change.
        nfe: evaluations spent.
        first_s: seconds from now to the first end of an inner run; 0 where that is past.
        end_s: seconds from now to the end.
        deadline_s: seconds from now to the deadline; None where there is none.
    """

    allocation: tuple[int, ...]
    nfe: int
    first_s: float
    end_s: float
    deadline_s: float | None

    @property
    def total_nfe(self) -> int:
        """Evaluations of the whole run."""
        return sum(self.allocation)


@dataclass(frozen=True)
class Planned:
    """A plan was made, or changed."""

    plan: Plan


@dataclass(frozen=True, eq=False)
class Improved:
    """An evaluation brought a preview: at the end of an inner run, and with ``Work.every`` in between."""

    preview: Preview


@dataclass(frozen=True, eq=False)
class Ended:
    """A run has ended, finished or stopped: its result, and last event but for :meth:`Ticket.more`."""

    restoration: Restoration


@dataclass(frozen=True, eq=False)
class Lost:
    """A run has ended without a result: it failed, was cancelled, or the engine closed. The last event."""

    error: Exception


Event: TypeAlias = Planned | Improved | Ended | Lost
Watch: TypeAlias = Callable[[Event], None]
"""Called with every event of a run, in order, one at a time, from the engine's thread.

While it works no run gets on: it puts the event where another thread takes it, and returns. What it raises ends
its own run as :class:`Lost`.
"""


class OverloadedError(RestorationError):
    """Not even the smallest useful run can be had by the deadline, with all that was promised before.

    Args:
        retry_after: seconds after which it could be, as things stand; None where the deadline is too short even
            for an engine with nothing else to do.
    """

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CancelledError(RestorationError):
    """The run was cancelled: it has no result."""


class ClosedError(RestorationError):
    """The engine was closed, or broke: it does no more work."""


def onward(state: NestedState) -> Fixed | Adaptive:
    """How a run from a state is to spend what is ahead of it: as it does already."""
    return Fixed(state.allocation) if state.effort is None else state.effort


def seconds_or_never(seconds: float) -> float | None:
    """None for ∞."""
    return None if math.isinf(seconds) else seconds
