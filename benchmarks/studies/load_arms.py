"""Requests of the load study, and the ways to serve them: planned, stepped, first come first served."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from benchmarks.metrics.psnr import psnr
from degradations import Measurement
from nested import Fixed
from restoration.priors import prior_for
from restoration.restorer import Restoration, Restorer, StoppedBy
from restoration.service.engine import Engine
from restoration.service.planning import Policy
from restoration.service.work import Ended, Event, Improved, Lost, OverloadedError, Work
from restoration.tasks import Task, pose
from solvers import Prior

WHOLE = (10, 10, 10)
TASKS = ("sr4", "inpaint", "denoise")
SIGMA = {"denoise": 0.1, "sr4": 0.02}
PATIENCE_S = 10.0
"""So long after the last request is waited for what is under way: as long as any deadline."""


@dataclass(frozen=True, eq=False)
class Request:
    """One picture to restore.

    Args:
        at: seconds from the begin of the load.
        deadline: seconds from then.
        measurement: of it, in [0, 1] units.
        clean: (C, H, W), to weigh the result against.
        seed: of the run.
    """

    at: float
    deadline: float
    measurement: Measurement
    clean: torch.Tensor
    seed: int


@dataclass
class Outcome:
    """What became of a request; seconds from its submission."""

    deadline: float
    refused: bool = False
    first_s: float | None = None
    end_s: float | None = None
    nfe: int = 0
    complete: bool = False
    psnr: float | None = None
    lost: str | None = None

    @property
    def seen(self) -> bool:
        """Whether any end of an inner run was there in time."""
        return self.first_s is not None and self.first_s <= self.deadline

    @property
    def kept(self) -> bool:
        """Whether a picture whose inner run has ended was there in time."""
        return self.complete and self.end_s is not None and self.end_s <= self.deadline


class Clock:
    """Seconds from the begin of a load, by the wall."""

    lets_threads_work = True

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The load begins now."""
        self._begun = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._begun

    def wait(self, until: float, server: Server) -> None:
        """Let the server work until then."""
        time.sleep(max(until - self(), 0.0))


class CpuClock(Clock):
    """Seconds of CPU time that this process has used, and those for which it had nothing to do."""

    lets_threads_work = False

    def restart(self) -> None:
        """The load begins now."""
        self._begun = time.process_time()

    def __call__(self) -> float:
        return time.process_time() - self._begun

    def wait(self, until: float, server: Server) -> None:
        """Let the server work until then; where it has nothing to do, that time has come."""
        while (now := self()) < until:
            if not server.step():
                self._begun -= until - now


class Server(Protocol):
    """One way to serve: it takes requests as they come, and tells what becomes of each."""

    def take(self, request: Request, outcome: Outcome) -> None:
        """Take a request in, at once; the outcome is filled in while it is served."""
        ...

    def step(self) -> bool:
        """Do something, where it has no thread that does; whether there was anything to do."""
        ...

    def close(self) -> None:
        """Give up what is under way."""
        ...


class Batched:
    """The engine: with planned effort, or with the same for everyone."""

    def __init__(self, prior: Prior, batch: int | None, clock: Clock, *, planned: bool) -> None:
        policy = Policy() if planned else Policy(most_runs=100_000)
        self._planned, self._clock = planned, clock
        self.engine = Engine(prior, batch="auto" if batch is None else batch, policy=policy, clock=clock)
        if clock.lets_threads_work:
            self.engine.start()

    def take(self, request: Request, outcome: Outcome) -> None:
        """Submit it, with what is left of its deadline."""

        def watch(event: Event) -> None:
            now = self._clock() - request.at
            if isinstance(event, Improved) and outcome.first_s is None:
                outcome.first_s = now
            elif isinstance(event, Ended):
                _ended(request, outcome, event.restoration, now)
            elif isinstance(event, Lost):
                outcome.lost = str(event.error)

        left = request.deadline - (self._clock() - request.at)
        effort = {"deadline": max(left, 1e-3)} if self._planned else {"effort": Fixed(WHOLE)}
        try:
            self.engine.submit(Work(request.measurement, seed=request.seed, **effort), watch)
        except OverloadedError:
            outcome.refused = True

    def step(self) -> bool:
        """One call, where the engine has no thread."""
        return False if self._clock.lets_threads_work else self.engine.step()

    def close(self) -> None:
        """Give up what is left."""
        self.engine.close()


class Fifo:
    """Whole requests, one after another."""

    def __init__(self, prior: Prior, clock: Clock) -> None:
        self._prior, self._clock = prior, clock
        self._waiting: queue.SimpleQueue[tuple[Request, Outcome]] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if clock.lets_threads_work:
            self._thread.start()

    def take(self, request: Request, outcome: Outcome) -> None:
        """Put it at the end of the queue."""
        self._waiting.put((request, outcome))

    def step(self) -> bool:
        """One whole restoration."""
        try:
            request, outcome = self._waiting.get_nowait()
        except queue.Empty:
            return False
        prior = prior_for(self._prior, request.measurement.operator.image_shape)
        done = Restorer(prior).restore(request.measurement, allocation=WHOLE, seeds=[request.seed])
        outcome.first_s = self._clock() - request.at
        _ended(request, outcome, done, outcome.first_s)
        return True

    def close(self) -> None:
        """Give up what is left."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._closed.is_set():
            if not self.step():
                time.sleep(0.005)


def _ended(request: Request, outcome: Outcome, done: Restoration, now: float) -> None:
    outcome.end_s, outcome.nfe = now, done.nfe
    outcome.complete = done.preview.complete and done.stopped_by is not StoppedBy.INTERRUPT
    height, width = request.clean.shape[1:]
    outcome.psnr = float(psnr(done.image.cpu()[:, :, :height, :width], request.clean[None]).mean())


def arrivals(rate: float, seconds: float, draw: random.Random) -> list[float]:
    """When requests come, of a Poisson process of so many a second; seconds from the begin."""
    times, now = [], draw.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += draw.expovariate(rate)
    return times


def posed(pictures: Sequence[torch.Tensor], times: Sequence[float], draw: random.Random) -> list[Request]:
    """A request at each time: a picture, a task and a deadline, drawn."""
    requests = []
    for i, at in enumerate(times):
        clean, name = draw.choice(pictures), draw.choice(TASKS)
        shape = (clean.shape[0], clean.shape[1], clean.shape[2])
        measurement = pose(Task(name, SIGMA.get(name), simulate=True), clean, shape, seed=i).measurement
        requests.append(Request(at, draw.uniform(1, 10), measurement, clean, i))
    return requests


def driven(server: Server, requests: Sequence[Request], clock: Clock) -> list[Outcome]:
    """Send every request at its time, whatever becomes of those before, and wait as long as a deadline takes."""
    outcomes = [Outcome(request.deadline) for request in requests]
    for request, outcome in zip(requests, outcomes, strict=True):
        clock.wait(request.at, server)
        server.take(request, outcome)
    clock.wait((requests[-1].at if requests else 0.0) + PATIENCE_S, server)
    server.close()
    return outcomes


ARMS: dict[str, Callable[[Prior, int | None, Clock], Server]] = {
    "planned": lambda prior, batch, clock: Batched(prior, batch, clock, planned=True),
    "stepped": lambda prior, batch, clock: Batched(prior, batch, clock, planned=False),
    "fifo": lambda prior, batch, clock: Fifo(prior, clock),
}
CLOCKS: dict[str, Callable[[], Clock]] = {"wall": Clock, "cpu": CpuClock}
