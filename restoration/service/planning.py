"""What can be promised, what is planned, and what goes into the next call: pure functions, without clocks.

A run's first inner run is what it was promised (mandatory), all that follows improves it (optional). So nobody
waits for a picture while others polish theirs: mandatory work goes first, by deadline, then planned optional work,
by deadline. Work is counted in pieces, images of the network's own size; a picture in tiles has several.

Source: of mandatory and optional parts, Liu et al., *Algorithms for Scheduling Imprecise Computations*, 1991; of
earliest deadline first, Liu and Layland, 1973.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nested.effort import LEAST


@dataclass(frozen=True)
class Policy:
    """What an engine aims at.

    Args:
        least: evaluations of a planned run's first inner run: the smallest picture worth having.
        most: evaluations that are planned for a run at most.
        inner: evaluations of a later inner run at most, so that a plan can be changed every so often.
        margin: share of the time to a deadline that a promise may fill, 0 … 1.
        floor: share of all pieces that runs without a deadline get where deadlines would take all, 0 … 1.
        most_runs: runs that are there at once at most.

    Raises:
        ValueError: a number out of range.
    """

    least: int = LEAST
    most: int = 30
    inner: int = 10
    margin: float = 0.8
    floor: float = 0.1
    most_runs: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or self.inner < 1 or self.most_runs < 1:
            raise ValueError(f"least, inner and most_runs must be at least 1, and most at least least: got {self}")
        if not 0 < self.margin <= 1 or not 0 <= self.floor < 1:
            raise ValueError(f"margin must be above 0 and at most 1, and floor from 0 to below 1: got {self}")


@dataclass(frozen=True)
class Speed:
    """Seconds that a call of the network takes, by the number of pieces in it.

    Args:
        times: (pieces, seconds) as measured, pieces rising.
        factor: how much longer calls have taken of late.
    """

    times: tuple[tuple[int, float], ...]
    factor: float = 1.0

    def seconds(self, pieces: int) -> float:
        """Of one call: linear between measured sizes, proportional beyond the largest."""
        sizes = self.times
        if pieces <= sizes[0][0]:
            return self.factor * sizes[0][1]
        for (a, t_a), (b, t_b) in pairwise(sizes):
            if pieces <= b:
                return self.factor * (t_a + (t_b - t_a) * (pieces - a) / (b - a))
        size, seconds = sizes[-1]
        return self.factor * seconds * pieces / size

    def rate(self, pieces: int) -> float:
        """Pieces a second in calls of so many."""
        return pieces / self.seconds(pieces)

    def followed(self, pieces: int, seconds: float, weight: float = 0.1) -> Speed:
        """The speed after a call of so many pieces took so long."""
        ratio = seconds / (self.seconds(pieces) / self.factor)
        return replace(self, factor=max((1 - weight) * self.factor + weight * ratio, 1e-3))

    def best(self, share: float = 0.9) -> int:
        """The fewest pieces a call with which at least that share of the highest rate is reached."""
        highest = max(n / t for n, t in self.times)
        return next(n for n, t in self.times if n / t >= share * highest)


@dataclass(frozen=True)
class Demand:
    """What one run still wants.

    Args:
        id: of the run.
        pieces: in one evaluation.
        deadline: seconds from now; ∞ for none.
        first: evaluations left of what was promised: its first inner run.
        begun: evaluations left of a later inner run that has begun.
        more: evaluations that it could take beyond those.
    """

    id: int
    pieces: int
    deadline: float
    first: int = 0
    begun: int = 0
    more: int = 0


def promised_by(demands: Iterable[Demand], speed: Speed, batch: int, floor: float = 0.0) -> dict[int, float]:
    """Seconds from now until every run with a deadline has what it was promised, all mandatory work first.

    Args:
        demands: of all runs.
        speed, batch: of a call, and its largest size.
        floor: share that runs without a deadline get.
    """
    given = list(demands)
    waiting = sorted((d for d in given if d.first and d.deadline < math.inf), key=_by_deadline)
    if not waiting:
        return {}
    share = 1 - floor if any(d.deadline == math.inf for d in given) else 1.0
    size = min(sum(d.pieces for d in given), batch)
    rate = speed.rate(size) * share
    before, ends = 0.0, {}
    for d in waiting:
        before += d.first * d.pieces
        in_turn = alone(d.first, d.pieces, speed, batch)
        if size > d.pieces:  # others fill its calls
            in_turn = max(in_turn, _in_calls(d.first, d.pieces, min(size, least_call(batch, speed)), speed))
        ends[d.id] = max(before / rate, in_turn) + speed.seconds(size)
    return ends


def alone(evaluations: int, pieces: int, speed: Speed, batch: int) -> float:
    """Seconds that so many evaluations take when no other run is there: one begins when the last has ended."""
    full, rest = divmod(pieces, batch)
    return evaluations * (full * speed.seconds(batch) + (speed.seconds(rest) if rest else 0.0))


def wait_for(new: Demand, demands: Sequence[Demand], speed: Speed, batch: int, policy: Policy) -> float:
    """Seconds after which a run could be promised its first inner run; 0: now; ∞: never, even alone.

    It can where it and every run that has a promise get it by their deadlines, with ``policy.margin``.
    """
    if new.deadline == math.inf:
        return 0.0
    if alone(new.first, new.pieces, speed, batch) + speed.seconds(batch) > policy.margin * new.deadline:
        return math.inf
    deadlines = {d.id: d.deadline for d in (*demands, new)}
    before = promised_by(demands, speed, batch, policy.floor)
    after = promised_by([*demands, new], speed, batch, policy.floor)
    # one that is late whatever happens keeps nobody out: only whom the newcomer delays is looked at
    delayed = [id for id, end in after.items() if end > before.get(id, 0.0) + 1e-9]
    return max(0.0, *(after[id] - policy.margin * deadlines[id] for id in delayed))


def shares(
    demands: Sequence[Demand], speed: Speed, batch: int, policy: Policy, reserved: float = 0.0
) -> dict[int, int]:
    """Evaluations beyond what is promised and begun that every run with a deadline can have: max-min fair.

    Everyone's share rises alike until a deadline allows no more to those up to it; the others' rise on.

    Args:
        demands: of all runs.
        speed, batch: of a call, and its largest size.
        reserved: pieces a second that runs yet to come are expected to take.
    """
    runs = sorted((d for d in demands if d.deadline < math.inf), key=_by_deadline)
    size = max(min(sum(d.pieces for d in demands), batch), 1)
    free = speed.rate(size)
    if len(runs) < len(demands):
        free *= 1 - policy.floor
    free = max(free - reserved, 0.1 * free)
    mandatory = sum(d.first * d.pieces for d in demands if d.deadline < math.inf)
    caps = [min(d.more, _in_turn(d, speed, batch, size)) for d in runs]
    given: dict[int, int] = {}
    settled, used = 0, 0.0  # runs that have their share, and the pieces that takes
    while settled < len(runs):
        level, last = max(caps[settled:]), len(runs) - 1
        total = mandatory + used + sum(d.begun * d.pieces for d in runs[:settled])
        begun = 0
        for i in range(settled, len(runs)):
            begun += runs[i].begun * runs[i].pieces
            room = free * runs[i].deadline - total - begun
            fits = _level(runs[settled : i + 1], caps[settled : i + 1], room, level)
            if fits < level:
                level, last = fits, i
        for i in range(settled, last + 1):
            given[runs[i].id] = min(caps[i], level)
            used += given[runs[i].id] * runs[i].pieces
        settled = last + 1
    return given


def _in_turn(d: Demand, speed: Speed, batch: int, size: int) -> int:
    """Evaluations that fit one after another before a deadline, beyond those promised and begun."""
    takes = math.ceil(d.pieces / batch) * speed.seconds(min(max(d.pieces, size), batch))
    return max(int(d.deadline / takes) - d.first - d.begun, 0)


def _level(runs: Sequence[Demand], caps: Sequence[int], room: float, most: int) -> int:
    """The highest number, up to ``most``, of evaluations for each (at most its cap) whose pieces have room."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if sum(d.pieces * min(cap, middle) for d, cap in zip(runs, caps, strict=True)) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def first_inner(
    own: Demand, share: int, demands: Sequence[Demand], speed: Speed, batch: int, policy: Policy
) -> int:
    """Evaluations of the first inner run of a planned run that is about to begin, the least among them.

    As long as its share makes it, if nobody's promise, its own among them, is endangered by that.

    Args:
        own: its demand, one of ``demands``; ``own.first`` is the least.
        share: evaluations beyond the least that it can have.
    """
    wanted = next_inner(policy.least + share, 0, policy)
    if own.deadline == math.inf:
        return max(wanted, policy.least)
    before = promised_by(demands, speed, batch, policy.floor)
    deadlines = {d.id: d.deadline for d in demands}
    for first in range(wanted, policy.least, -1):
        changed = [replace(d, first=first) if d.id == own.id else d for d in demands]
        ends = promised_by(changed, speed, batch, policy.floor)
        if all(ends[id] <= max(policy.margin * deadlines[id], before[id]) for id in ends if id != own.id) and (
            ends[own.id] <= policy.margin * own.deadline
        ):
            return first
    return policy.least


def next_inner(share: int, spent: int, policy: Policy) -> int:
    """Evaluations of a planned run's next inner run, 0 where none is worth while.

    Measured with faces-64, inpainting of half the pixels, after 15 evaluations: 35.2 dB in one inner run, 33.8 in
    5 and then 10; after 30: 36.0 dB in one, 35.9 in three of 10, 35.6 in 5 and then 25. So inner runs are not
    split until two of ``policy.inner`` can be had.

    Args:
        share: evaluations that it can have.
        spent: those it had.
    """
    left = min(share, policy.most - spent)
    if left < policy.least:
        return 0
    return left if left < (2 * policy.inner if spent else policy.inner + policy.least) else policy.inner


def split(share: int, spent: int, policy: Policy) -> tuple[int, ...]:
    """So many evaluations as inner runs, by :func:`next_inner`."""
    steps: list[int] = []
    while n := next_inner(share, spent, policy):
        steps.append(n)
        share, spent = share - n, spent + n
    return tuple(steps)


@dataclass(frozen=True)
class Waiting:
    """A run that waits for answers.

    Args:
        id: of the run.
        pieces: that it asks for now.
        deadline: at any scale that all share; ∞ for none.
        promised: its first inner run has not ended.
        planned: what it asks for is part of the plan; else it is done only where nothing else waits.
        ends: inner runs that have ended.
        arrived: rises with arrival.
    """

    id: int
    pieces: int
    deadline: float
    promised: bool
    planned: bool
    ends: int
    arrived: int


def picked(waiting: Sequence[Waiting], batch: int, credit: float) -> list[tuple[int, int]]:
    """(run, pieces) of the next call, at most ``batch`` pieces.

    Args:
        waiting: runs that ask.
        batch: pieces of a call at most.
        credit: pieces owed to runs without a deadline; they come first up to its whole part.
    """
    open_ended = sorted((w for w in waiting if w.deadline == math.inf), key=lambda w: (w.ends, w.arrived))
    bound = [w for w in waiting if w.deadline < math.inf]
    promised = sorted((w for w in bound if w.promised), key=lambda w: (w.deadline, w.arrived))
    optional = [w for w in bound if not w.promised]
    planned = sorted((w for w in optional if w.planned), key=lambda w: (w.deadline, w.arrived))
    spare = sorted((w for w in optional if not w.planned), key=lambda w: (w.ends, w.deadline, w.arrived))
    taken: dict[int, int] = {}
    owed = _fill(taken, open_ended, min(int(credit), batch))
    _fill(taken, [*promised, *planned, *open_ended, *spare], batch - owed)
    return list(taken.items())


def _fill(taken: dict[int, int], order: Iterable[Waiting], room: int) -> int:
    """Take pieces of the runs in order; how many were taken."""
    before = room
    for w in order:
        count = min(w.pieces - taken.get(w.id, 0), room)
        if count > 0:
            taken[w.id] = taken.get(w.id, 0) + count
            room -= count
    return before - room


def least_call(batch: int, speed: Speed, share: float = 0.7) -> int:
    """The fewest pieces that :func:`call_size` cuts a call to: short without costing much.

    Args:
        share: of the usual rate that must be kept.
    """
    usual = speed.rate(batch)
    return next(n for n in range(1, batch + 1) if speed.rate(n) >= share * usual)


def call_size(tight: Iterable[tuple[int, int, float]], batch: int, speed: Speed) -> int:
    """Pieces of the next call at most: fewer than usual where a promise would else be late.

    Args:
        tight: of runs with a promise, evaluations left of it, pieces of one, and seconds to the deadline.
        batch: the usual number.
        speed: of a call.
    """
    size, least = batch, least_call(batch, speed)
    for evaluations, pieces, seconds in tight:
        fits = (n for n in range(size, least - 1, -1) if _in_calls(evaluations, pieces, n, speed) <= seconds)
        size = next(fits, size)  # one that is late whatever is done slows nobody
    return size


def _in_calls(evaluations: int, pieces: int, size: int, speed: Speed) -> float:
    """Seconds that so many evaluations take, one after another, in calls of so many pieces."""
    return evaluations * math.ceil(pieces / size) * speed.seconds(size)


def expected_to_come(rate: float, seconds: float, pieces: float, span: float) -> float:
    """Pieces a second that newcomers are expected to be promised: a mean over about ``span`` seconds.

    Args:
        rate: as it was expected before.
        seconds: that have passed since.
        pieces: that one was promised now.
    """
    return rate * math.exp(-seconds / span) + pieces / span


def owed(credit: float, floor: float, size: int, given: int, waits: bool) -> float:
    """The credit of runs without a deadline after a call.

    Args:
        credit: before it.
        floor: their share.
        size: pieces in the call.
        given: of these, theirs.
        waits: whether any of them waits; else nothing is owed.
    """
    return min(max(credit + floor * size - given, 0.0), float(size)) if waits else 0.0


def _by_deadline(d: Demand) -> tuple[float, int]:
    return d.deadline, d.id
