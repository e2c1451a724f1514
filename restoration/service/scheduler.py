"""Who is let in, what goes into the next call, and who must end: planning, applied to an engine's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from restoration.restorer import StoppedBy
from restoration.service import planning
from restoration.service.planning import Demand, Policy, Speed, Waiting
from restoration.service.running import Running
from restoration.service.work import OverloadedError, Plan

AHEAD = 1.2
"""A run ends where its deadline comes within so many times what the next call takes."""
SPAN_S, SPAN_PIECES = 5.0, 200
"""How far back it is looked to see how many come: seconds, and pieces that can be done in them, at least."""


class Scheduler:
    """Decides for an engine; it knows no thread, no network and no clock.

    Args:
        batch: pieces of a call at most.
        policy: what the engine aims at.
        speed: of a call.

    Attributes:
        changed: runs have come, gone or got on since spare time was last given out.
    """

    def __init__(self, batch: int, policy: Policy, speed: Speed) -> None:
        self.batch, self.policy, self.speed = batch, policy, speed
        self.changed = False
        self._credit = 0.0  # pieces owed to runs without a deadline
        self._coming, self._come_at = 0.0, -math.inf  # pieces a second that newcomers were promised of late

    def called(self, pieces: int, seconds: float) -> None:
        """A call of so many pieces has taken so long, all that comes with it among that."""
        self.speed = self.speed.followed(pieces, seconds)

    def admit(self, own: Demand, others: Sequence[Demand], now: float) -> None:
        """Promise a newcomer its first inner run.

        Raises:
            OverloadedError: it cannot be had by its deadline.
        """
        self.refuse(own, others)
        if own.deadline < math.inf:
            self._coming, self._come_at = self._expected(now, own.first * own.pieces), now

    def refuse(self, own: Demand, others: Sequence[Demand]) -> None:
        """OverloadedError where a newcomer could not be promised its first inner run."""
        if len(others) >= self.policy.most_runs:
            soonest = min(d.pieces * (d.first + d.begun or 1) for d in others)
            raise OverloadedError(f"{len(others)} runs are there already", soonest / self.speed.rate(self.batch))
        if not own.first:
            return  # it has a picture already
        wait = planning.wait_for(own, others, self.speed, self.batch, self.policy)
        if wait == math.inf:
            least = planning.alone(own.first, own.pieces, self.speed, self.batch) + self.speed.seconds(self.batch)
            raise OverloadedError(
                f"a deadline of {own.deadline:.2g} s is too short for this picture: the first usable result takes "
                f"{least / self.policy.margin:.2g} s when nothing else is done",
                None,
            )
        if wait > 0:
            raise OverloadedError(
                f"not even a first result can be had within {own.deadline:.2g} s now; in {wait:.2g} s it may", wait
            )

    def plan(self, running: Running, demands: Sequence[Demand], now: float, share: int | None = None) -> Plan:
        """What can be expected of a run, as things stand.

        Args:
            running: the run.
            demands: of all runs, its own among them.
            now: the engine's clock.
            share: evaluations beyond those promised and begun that it can have, if that is known.
        """
        own = next(d for d in demands if d.id == running.id)
        total = sum(d.pieces for d in demands)
        takes = max(total / self.batch, 1.0) * self.speed.seconds(min(total, self.batch))
        ends = planning.promised_by(demands, self.speed, self.batch, self.policy.floor)
        first = ends.get(own.id, own.first * takes)
        if share is None:
            share = self.shares(demands, now).get(own.id, own.more)
        steps = running.expected(share)
        left = max(sum(steps) - running.run.spent - own.first, 0)
        end = min(first + left * takes, own.deadline)
        deadline = None if own.deadline == math.inf else own.deadline
        return Plan(steps, running.run.spent, first if own.first else 0.0, end, deadline)

    def shares(self, demands: Sequence[Demand], now: float) -> dict[int, int]:
        """Evaluations beyond those promised and begun that every run with a deadline can have."""
        return planning.shares(demands, self.speed, self.batch, self.policy, self._expected(now, 0))

    def _expected(self, now: float, pieces: int) -> float:
        """Pieces a second that newcomers will be promised, after so many more were."""
        span = max(SPAN_S, SPAN_PIECES / self.speed.rate(self.batch))
        return planning.expected_to_come(self._coming, now - self._come_at, pieces, span)

    def due(self, runs: Sequence[Running], now: float) -> list[tuple[Running, StoppedBy | Exception]]:
        """Runs that are asked to end, have, or have a deadline too near for anything more; and why they end."""
        size = min(sum(running.per_evaluation for running in runs), self.batch)
        call = AHEAD * self.speed.seconds(max(size, 1))
        ending: list[tuple[Running, StoppedBy | Exception]] = []
        for running in runs:
            why: StoppedBy | Exception | None = running.ending or running.ended
            if why is None and running.deadline < math.inf and running.best_is_there:
                alone = planning.alone(running.left, running.per_evaluation, self.speed, self.batch)
                # Without a picture it goes on while a whole inner run may end in time, for which calls are cut
                # short, and else as long as any evaluation may; with one, only for another whole inner run.
                limit = min(alone, call) if running.run.x0 is None else max(alone, call)
                if running.deadline - now < limit:
                    why = StoppedBy.DEADLINE
            if why is not None:
                ending.append((running, why))
        return ending

    def round(self, runs: Sequence[Running], now: float) -> Round:
        """What goes into the next call."""
        return Round(self, runs, now)

    def picked(self, waiting: Sequence[Waiting], runs: dict[int, Running], now: float) -> list[tuple[int, int]]:
        """(run, pieces) of the next call; the credit of runs without a deadline is what it is after it."""
        bound = [runs[w.id] for w in waiting if w.promised and w.deadline < math.inf]
        nearest = sorted(bound, key=lambda running: running.deadline)[: self.batch]
        tight = [(running.left, running.per_evaluation, running.deadline - now) for running in nearest]
        size = planning.call_size(tight, self.batch, self.speed)
        taken = planning.picked(waiting, size, self._credit)
        open_ended = {w.id for w in waiting if w.deadline == math.inf}
        theirs = sum(count for id, count in taken if id in open_ended)
        given = sum(count for _, count in taken)
        self._credit = planning.owed(self._credit, self.policy.floor, given, theirs, bool(open_ended))
        return taken


class Round:
    """The runs of one call, and what is decided on the way.

    Attributes:
        chosen: runs, and how many of their pieces are answered.
        plans: that have changed.
        failed: runs whose own sampler raised, and what.
    """

    def __init__(self, scheduler: Scheduler, runs: Sequence[Running], now: float) -> None:
        self._scheduler, self._now = scheduler, now
        self.plans: list[tuple[Running, Plan]] = []
        self.failed: list[tuple[Running, Exception]] = []
        self._demands = {running.id: running.demand(now) for running in runs}
        self._shares: dict[int, int] | None = None  # worked out when first needed
        fresh, scheduler.changed = scheduler.changed, False
        waiting = []
        for running in runs:
            try:
                self._settle_next(running, fresh)
                waiting.append(running.waiting())
            except Exception as error:
                self.failed.append((running, error))
        by_id = {running.id: running for running in runs}
        self.chosen = [(by_id[id], count) for id, count in scheduler.picked(waiting, by_id, now)]
        for running, _ in self.chosen:
            self._settle_first(running)

    def _settle_next(self, running: Running, fresh: bool) -> None:
        """Choose how long a later inner run is that is about to begin, as a planned run's may be."""
        if not (running.planned and running.at_boundary and running.run.spent):
            return
        new = running.settled_for != running.run.outer_step
        if (new or (running.spare and fresh)) and running.settle(self._share(running)):
            self._plan(running)

    def _settle_first(self, running: Running) -> None:
        """Choose how long a first inner run is that begins with this call."""
        if not (running.planned and running.at_boundary and not running.run.spent):
            return
        own, share, scheduler = self._demands[running.id], self._share(running), self._scheduler
        everyone = list(self._demands.values())
        first = planning.first_inner(own, share, everyone, scheduler.speed, scheduler.batch, scheduler.policy)
        if running.settle(own.first + share, first):
            self._plan(running)
        self._demands[running.id] = running.demand(self._now)

    def _share(self, running: Running) -> int:
        if self._shares is None:
            self._shares = self._scheduler.shares(list(self._demands.values()), self._now)
        return self._shares.get(running.id, self._demands[running.id].more)

    def _plan(self, running: Running) -> None:
        demands, share = list(self._demands.values()), self._share(running)
        self.plans.append((running, self._scheduler.plan(running, demands, self._now, share)))
