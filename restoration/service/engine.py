"""Many restorations at once on one device: every call of the network answers pieces of many runs.

    with Engine(load_prior("faces-64")) as engine:
        ticket = engine.submit(Work(measurement, deadline=2.0), watch=queue.put)
        print(ticket.result().nfe)

A run asks, the engine answers: between two calls runs join, leave, are stopped and planned anew.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor

from degradations.arguments import whole
from nested.effort import Effort
from restoration.restorer import StoppedBy, synchronise
from restoration.service.measuring import measured, runs_out_of_memory
from restoration.service.planning import Demand, Policy, Speed
from restoration.service.running import Running
from restoration.service.scheduler import Scheduler
from restoration.service.stats import Counters, Stats
from restoration.service.ticket import Ticket
from restoration.service.work import ClosedError, OverloadedError, Plan, Planned, Watch, Work
from solvers import Prior, Question

Batch = int | Literal["auto"]
FITTING = 200
"""Calls that fit in memory, after which larger ones are tried again."""


class Engine:
    """One device and prior, and a thread that owns the network.

    Args:
        prior: of one picture size; larger pictures are restored in tiles of it.
        batch: pieces (images of the prior's size) in a call at most; "auto" measures which number pays.
        clock: seconds that never go back; deadlines are told by it.
        policy: what it aims at.
        speed: of a call by its pieces; None measures it, which takes a second or two.

    Raises:
        ValueError: a batch below 1.
    """

    def __init__(
        self,
        prior: Prior,
        *,
        batch: Batch = "auto",
        clock: Callable[[], float] = time.monotonic,
        policy: Policy | None = None,
        speed: Speed | None = None,
    ) -> None:
        self.prior, self.policy = prior, policy or Policy()
        if batch != "auto":
            whole("batch", batch, 1)
        self._clock = clock
        known = speed or measured(prior, None if batch == "auto" else batch, clock)
        self._scheduler = Scheduler(known.best() if batch == "auto" else batch, self.policy, known)
        self._most, self._fitting = self._scheduler.batch, 0  # pieces of a call, and calls since memory was short
        self._lock = threading.Condition()
        self._runs: dict[int, Running] = {}
        self._joining: list[Running] = []
        self._next_id = 1
        self._counters = Counters()
        self._thread: threading.Thread | None = None
        self._closed: ClosedError | None = None
        self._drained = -math.inf  # when what is left is given up, once it is closed

    # life

    def start(self) -> Self:
        """Let the thread begin to answer.

        Raises:
            ClosedError: it was closed before.
        """
        if self._closed is not None:
            raise self._closed
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"engine {self.prior.name}", daemon=True)
            self._thread.start()
        return self

    def close(self, drain: float = 0.0) -> None:
        """Take in no more, and wait for the end.

        Args:
            drain: seconds that runs may still take (∞: until all have ended); what is left then is lost
                (``ClosedError``), but for its state.
        """
        with self._lock:
            if self._closed is None:
                self._closed = ClosedError("the engine is closed")
            self._drained = self._clock() + drain
            self._lock.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        elif self._thread is None:
            while self._clock() < self._drained and self.step():
                pass
            self._abandon(self._closed)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(drain=0.0 if error is not None else math.inf)

    # what others ask of it, from any thread

    def submit(self, work: Work, watch: Watch | None = None) -> Ticket:
        """Take in a run.

        Args:
            work: what is to be done.
            watch: told every event of it; see ``Watch`` for what it may not do.

        Raises:
            OverloadedError: its first inner run cannot be had by its deadline, or too many runs are there.
            ClosedError: the engine does no more work.
            TypeError, ValueError: work that does not fit the prior; another run's state.
        """
        running = self._running(work, watch)
        with self._lock:
            self._refuse_closed()
            self._admit(running)
            self._counters.submitted += 1
            self._join(running)
        return Ticket(self, running)

    def plan(self, work: Work) -> Plan:
        """What could be had if the work were submitted now.

        Raises:
            OverloadedError, ClosedError, TypeError, ValueError: as :meth:`submit`.
        """
        running = self._running(work, None)
        with self._lock:
            self._refuse_closed()
            now = self._clock()
            others, own = self._demands(now), running.demand(now)
            self._scheduler.refuse(own, others)
            return self._scheduler.plan(running, [*others, own], now)

    @property
    def alive(self) -> bool:
        """Whether it takes in runs: it was not closed, and did not break."""
        return self._closed is None

    @property
    def batch(self) -> int:
        """Pieces of a call at most."""
        return self._scheduler.batch

    @property
    def stats(self) -> Stats:
        """What it has done so far."""
        with self._lock:
            runs = [*self._runs.values(), *self._joining]
            unseen = sum(run.run.x0 is None for run in runs)
            return self._counters.snapshot(len(runs), unseen, self.batch, self._scheduler.speed)

    # what tickets ask of it, from any thread

    def end(self, running: Running, why: StoppedBy | Exception) -> None:
        """End a run at the next call; nothing where it has ended."""
        with self._lock:
            running.ending = running.ending or why
            self._lock.notify_all()

    def drop_deadline(self, running: Running) -> None:
        """Let a run take as long as it takes."""
        with self._lock:
            running.deadline = math.inf

    def plan_of(self, running: Running) -> Plan:
        """What can be expected of a run, as things stand."""
        with self._lock:
            now = self._clock()
            others = [d for d in self._demands(now) if d.id != running.id]
            return self._scheduler.plan(running, [*others, running.demand(now)], now)

    def more(self, running: Running, effort: Effort | None, deadline: float | None) -> None:
        """Let a run go on; see :meth:`Ticket.more`."""
        with self._lock:
            self._refuse_closed()
            if running.id in self._runs or running in self._joining:
                # changed by the thread that owns it, at the next call
                running.wishes.append(lambda: running.go_on(effort, deadline, self._clock()))
                return
        running.over.wait()  # it may be about to be told its end
        with self._lock:
            self._refuse_closed()
            before = running.run, running.deadline, running.planned, running.policy
            running.go_on(effort, deadline, self._clock())
            try:
                self._admit(running)
            except OverloadedError:
                running.run, running.deadline, running.planned, running.policy = before
                raise
            running.reopen()
            self._join(running)

    # one call

    def step(self) -> bool:
        """Answer one call's worth of questions; whether there was anything to do.

        The engine's thread does nothing else. Without a thread, whoever calls it owns the network.
        """
        began = self._clock()
        self._welcome()
        for running in list(self._runs.values()):
            self._grant(running)
        for running, why in self._scheduler.due(list(self._runs.values()), began):
            self._leave(running, why)
        chosen = self._chosen(began)
        if not chosen:
            return bool(self._runs)
        called = self._clock()
        answers, pieces = self._call(chosen), sum(count for _, count in chosen)
        self._counters.network_s += self._clock() - called
        for (running, count), x0 in zip(chosen, answers, strict=True):
            self._take(running, count, x0)
        took = self._clock() - began
        self._scheduler.called(pieces, took)
        self._grow()
        self._counters.calls += 1
        self._counters.pieces += pieces
        self._counters.busy_s += took
        return True

    def _chosen(self, now: float) -> list[tuple[Running, int]]:
        """Runs, and how many pieces of each, for the next call."""
        if not self._runs:
            return []
        round = self._scheduler.round(list(self._runs.values()), now)
        for running, error in round.failed:
            self._leave(running, error)
        for running, plan in round.plans:
            self._tell(running, plan)
        return [(running, count) for running, count in round.chosen if running.id in self._runs]

    def _call(self, chosen: Sequence[tuple[Running, int]]) -> list[Tensor | Exception]:
        """x̂₀ of every run's pieces, or why there is none. An error is tried for run by run: it is one's own."""
        parts = [running.part(count) for running, count in chosen]
        try:
            asked = Question.stack(parts)
            return list(torch.split(self._answer(asked.x, asked.k), [len(part.x) for part in parts]))
        except Exception as error:
            if len(parts) == 1:
                return [error]
        return [self._call([one])[0] for one in chosen]

    def _answer(self, x: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ of pieces, in halves where the memory is too short for all at once."""
        try:
            with torch.no_grad():
                x0 = self.prior.denoise(x, k)
            synchronise(x0.device)
        except Exception as error:
            if len(x) == 1 or not runs_out_of_memory(error):
                raise
        else:
            return x0
        half = (len(x) + 1) // 2
        self._scheduler.batch, self._fitting = min(self.batch, half), 0
        levels = (k, k) if isinstance(k, int) else (k[:half], k[half:])
        return torch.cat([self._answer(x[:half], levels[0]), self._answer(x[half:], levels[1])])

    def _grow(self) -> None:
        """Try larger calls again after many that fitted: what took the memory may have gone."""
        self._fitting += 1
        if self._fitting >= FITTING and self.batch < self._most:
            self._scheduler.batch, self._fitting = min(2 * self.batch, self._most), 0

    def _take(self, running: Running, count: int, x0: Tensor | Exception) -> None:
        """Hand a run its answer; it may end with that."""
        try:
            if isinstance(x0, Exception):
                raise x0
            if not running.put(count, x0):
                return
            seen = running.first_preview is not None
            running.advance(self._clock())
            self._counters.nfe += 1
            self._scheduler.changed |= running.run.inner is None
            if not seen and running.first_preview is not None:
                self._counters.first_preview_s.append(running.first_preview - running.submitted)
        except Exception as error:
            self._leave(running, error)
            return
        for _, why in self._scheduler.due([running], self._clock()):  # at once, not when all others are told
            self._leave(running, why)

    # coming and going

    def _running(self, work: Work, watch: Watch | None) -> Running:
        with self._lock:
            id, self._next_id = self._next_id, self._next_id + 1
        return Running(id, work, self.prior, self.policy, self._clock(), watch)

    def _refuse_closed(self) -> None:
        if self._closed is not None:
            raise self._closed

    def _demands(self, now: float) -> list[Demand]:
        return [running.demand(now) for running in (*self._runs.values(), *self._joining)]

    def _admit(self, running: Running) -> None:
        now = self._clock()
        try:
            self._scheduler.admit(running.demand(now), self._demands(now), now)
        except OverloadedError:
            self._counters.refused += 1
            raise

    def _join(self, running: Running) -> None:
        self._joining.append(running)
        self._lock.notify_all()

    def _welcome(self) -> None:
        """Let those in who wait at the door, and tell them their plans."""
        with self._lock:
            joined, self._joining = self._joining, []
            self._runs |= {running.id: running for running in joined}
        self._scheduler.changed |= bool(joined)
        for running in joined:
            self._tell(running, self.plan_of(running))

    def _tell(self, running: Running, plan: Plan) -> None:
        try:
            running.tell(Planned(plan))
        except Exception as error:
            self._leave(running, error)

    def _grant(self, running: Running) -> None:
        """Do what its ticket wishes."""
        with self._lock:
            wishes, running.wishes = running.wishes, []
        for wish in wishes:
            with suppress(ValueError):  # nothing more can be had: it ends as it would have
                wish()

    def _leave(self, running: Running, why: StoppedBy | Exception) -> None:
        """Take a run out, and tell it its end."""
        with self._lock:
            if self._runs.pop(running.id, None) is None:
                return
        self._scheduler.changed = True
        running.end(why, self._clock())
        in_time = self._clock() <= running.deadline and running.run.x0 is not None
        with self._lock:
            has_result = not isinstance(running.outcome, Exception)
            self._counters.ended += has_result
            self._counters.lost += not has_result
            if running.deadline < math.inf and not (isinstance(why, Exception) or why is StoppedBy.INTERRUPT):
                self._counters.deadlines_kept += in_time
                self._counters.deadlines_missed += not in_time

    def _abandon(self, why: Exception) -> None:
        self._welcome()
        for running in list(self._runs.values()):
            self._leave(running, why)

    def _work(self) -> None:
        """The thread."""
        try:
            while self._go_on():
                self.step()
        except Exception as error:  # a bug of ours: nobody waits for ever
            with self._lock:
                self._closed = ClosedError(f"the engine broke: {error!r}")
            self._abandon(self._closed)
            raise
        assert self._closed is not None
        self._abandon(self._closed)

    def _go_on(self) -> bool:
        """Wait for work; whether there is any more."""
        with self._lock:
            while not self._runs and not self._joining and self._closed is None:
                self._lock.wait()
            if self._closed is None:
                return True
            return bool(self._runs or self._joining) and self._clock() < self._drained
