"""All restorations of a server: accepted within bounds, found by their ids, continued after a restart, drained."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nested import Budget, Fixed, NestedState
from nested.effort import LEAST, Effort
from restoration.errors import RestorationError
from restoration.pictures.scores import scores_of
from restoration.service.decoding import Decoder
from restoration.service.job import STATE, Job
from restoration.service.metrics import Metrics
from restoration.service.opening import Bounds, Opened, check, drawn_seed, named, open_picture
from restoration.service.pool import Pool
from restoration.service.problems import ProblemError, from_error
from restoration.service.schema import PriorFacts, Restoration, State
from restoration.service.store import Store
from restoration.service.uploads import Upload
from restoration.service.work import OverloadedError

_log = logging.getLogger("restoration.service")
REAPED_EVERY_S = 10.0
LONG_S = 3600.0
"""Seconds for which an accepted run waits for an engine after a restart."""


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Args:
        runs: unfinished at once, in all.
        per_client: and of one client.
        pixels: of all unfinished ones together.
        keep_s: seconds that a restoration is kept after its end.
        one: bounds of each.
    """

    runs: int = 64
    per_client: int = 16
    pixels: int = 16_000_000
    keep_s: float = 3600.0
    one: Bounds = field(default_factory=Bounds)


class Jobs:
    """The restorations of a server.

    Its methods belong to the event loop in which :meth:`start` was called.

    Args:
        store: where they are kept.
        pool: what does the work, with the priors that clients may choose from; the first where they do not.
        limits: of it all.
        decoder: that looks at pictures first; closed with these restorations where it is their own.
    """

    def __init__(self, store: Store, pool: Pool, limits: Limits, decoder: Decoder | None = None) -> None:
        self.store, self.pool, self.priors, self.limits = store, pool, pool.names, limits
        self.metrics = Metrics()
        self.metrics.follow(self.counts, pool.stats)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.decoder, self._own_decoder = decoder or Decoder(), decoder is None
        self.draining = self.ready = False
        self._open: dict[str, Job] = {}
        self._seen: dict[str, Job] = {}  # ended, but watched or in memory
        self._coming: Counter[str] = Counter()
        self._desk = ThreadPoolExecutor(2, "desk")
        self._posing = ThreadPoolExecutor(2, "posing")
        self._tasks: set[asyncio.Task[None]] = set()

    # the server's life

    async def start(self) -> None:
        """Continue what a server before this one left unfinished, and begin to reap."""
        self.loop = asyncio.get_running_loop()
        self._background(self._go_on())
        self._background(self._reap())

    async def _go_on(self) -> None:
        try:
            for id in await self._in_thread(self.store.unfinished):
                await self._take_up(id)
            with suppress(RestorationError, ValueError, OSError):  # told with the first picture
                await self._in_thread(self._warm)
        except Exception:  # a store that fails costs what was in it, not the server
            _log.exception("what was unfinished could not be taken up")
        self.ready = True

    async def _take_up(self, id: str) -> None:
        stored = self.store.load(id)
        if stored is None:
            return
        try:
            job = Job.from_stored(stored, self.store, self._desk, self._of_loop(), self._ended)
        except (KeyError, ValueError, TypeError):
            _log.exception("restoration %s cannot be read and is forgotten", id)
            self.store.remove(id)
            return
        self._open[id] = job
        self._prepare(job)
        await self._in_thread(self._continue, job)

    def _warm(self) -> None:
        """What the first picture would have to wait for."""
        self.decoder.start()
        self.pool.engine(self.priors[0])
        scores_of(torch.zeros(3, 16, 16), torch.ones(3, 16, 16))

    def _continue(self, job: Job) -> None:
        """Submit again what was accepted, from its last state."""
        try:
            opened = self._opened(job, LONG_S)
            state = self._state_of(job, opened)
            planned = job.options.planned and job.deadline_left() is not None
            effort: Effort | None = None if state is None or planned else Fixed(state.allocation)
            engine = self.pool.engine(self._prior_of(job), LONG_S)
            try:
                job.ticket = engine.submit(opened.work(job.seed, job.deadline_left(), state, effort), job.heard)
            except OverloadedError:  # it was promised: late is better than never
                effort = Budget(LEAST) if state is None else Fixed(state.allocation)
                job.ticket = engine.submit(opened.work(job.seed, None, state, effort), job.heard)
        except Exception as error:
            _log.warning("restoration %s cannot be continued: %s", job.id, error)
            job.fail(named(f"it could not be continued: {error}", *self._files(job), job.name))

    def _state_of(self, job: Job, opened: Opened) -> NestedState | None:
        path = self.store.path(job.id, STATE)
        try:
            device = opened.session.recipe.prior.device
            return NestedState.load(path, device=device) if path.exists() else None
        except (ValueError, OSError) as error:
            _log.warning("restoration %s begins again: %s", job.id, error)
            return None

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(REAPED_EVERY_S, max(self.limits.keep_s / 4, 0.05)))
            with suppress(OSError):
                for id in await asyncio.to_thread(self.store.expire):
                    self._seen.pop(id, None)
            self._seen = {id: job for id, job in self._seen.items() if (job.facts.kept_until or 0) > time.time()}

    async def drain(self, seconds: float) -> None:
        """Take nothing more, and let runs with a deadline end; what is left goes on in the next server."""
        self.draining = True
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(
            job.options.deadline is not None or job.waited for job in self._open.values()
        ):
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop working; what is unfinished stays in the store."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        self.let_go()
        await asyncio.to_thread(self.pool.close)
        for job in self._open.values():
            if job.ticket is not None:
                await asyncio.to_thread(job.save_state, job.ticket.state)
        for pool in (self._posing, self._desk):
            await asyncio.to_thread(pool.shutdown, True)
        if self._own_decoder:
            await asyncio.to_thread(self.decoder.close)
        self.store.close()

    # what clients ask

    @contextmanager
    def room(self, asker: str) -> Iterator[None]:
        """A place for a restoration that is about to come.

        Raises:
            ProblemError: 503 or 429: there is none.
        """
        if self.draining:
            raise ProblemError(503, "this server is about to stop", {"Retry-After": "10"})
        count = len(self._open) + self._coming.total()
        own = sum(job.asker == asker for job in self._open.values()) + self._coming[asker]
        if count >= self.limits.runs:
            self.metrics.refused.labels("queue").inc()
            raise ProblemError(
                503,
                f"{count} restorations wait already, as many as this server takes (--queue)",
                {"Retry-After": "2"},
            )
        if own >= self.limits.per_client:
            self.metrics.refused.labels("client").inc()
            raise ProblemError(
                429, f"{own} restorations of this client wait already (--per-client)", {"Retry-After": "2"}
            )
        self._coming[asker] += 1
        try:
            yield
        finally:
            self._coming[asker] -= 1

    async def accept(self, upload: Upload, owner: str, asker: str) -> Job:
        """Take a restoration on.

        Raises:
            ProblemError: it cannot be done, in one sentence; 503 where not now.
        """
        options = upload.options
        try:
            name = self.prior_named(options.prior)
            await self._in_thread(partial(check, options, self.limits.one, masked=upload.mask is not None))
        except (RestorationError, ValueError) as error:
            raise from_error(error) from None
        try:
            id = await asyncio.to_thread(self._written, upload)
        except OSError as error:
            self.metrics.refused.labels("disk").inc()
            raise _full(error) from None
        facts = Restoration(id=id, state=State.QUEUED, options=options, created=time.time())
        job = Job(self.store, facts, owner, self._desk, self._of_loop(), self._ended)
        job.asker, job.name, job.seed = asker, upload.name, drawn_seed(options)
        self._prepare(job)
        try:
            await self._in_thread(self._begin, job, name)
        except BaseException as error:
            self._open.pop(id, None)
            job.removed = True
            await asyncio.to_thread(self.store.remove, id)
            if isinstance(error, OverloadedError):
                self.metrics.refused.labels("deadline").inc()
                raise _overloaded(error) from None
            if isinstance(error, OSError):
                self.metrics.refused.labels("disk").inc()
                raise _full(error) from None
            if isinstance(error, Exception) and not isinstance(error, ProblemError):
                self.metrics.refused.labels("picture").inc()
                raise from_error(error) from None
            raise
        self.metrics.accepted.inc()
        return job

    def _begin(self, job: Job, prior: str) -> None:
        image, mask = self._files(job)
        try:
            self.decoder.check(
                image,
                mask,
                self.limits.one.pixels,
                coefficients="jpeg" in job.options.task and not job.options.simulate,
            )
        except RestorationError as error:
            raise type(error)(named(str(error), image, mask, job.name)) from None
        opened = self._opened(job)
        if self.counts()[1] + opened.pixels > self.limits.pixels:
            self.metrics.refused.labels("queue").inc()
            raise ProblemError(
                503,
                f"restorations of {self.limits.pixels:,} pixels wait already, as many as this server takes "
                "(--total-pixels)",
                {"Retry-After": "5"},
            )
        job.show_given(opened)
        job.facts.seeds = [job.seed + i for i in range(job.options.samples)]
        self._open[job.id] = job
        job.queued()
        if not job.stored:
            raise OSError(errno.ENOSPC, "the server's disk is full")
        work = opened.work(job.seed, job.deadline_left())
        job.ticket = self.pool.engine(prior).submit(work, job.heard)

    def _opened(self, job: Job, wait: float = 0.0) -> Opened:
        prior = self.pool.prior(self._prior_of(job), wait)
        image, mask = self._files(job)
        opened = open_picture(job.options, image, mask, job.name, prior, self.limits.one, job.seed)
        job.opened, job.pixels = opened, opened.pixels
        job.facts.notes = list(opened.notes)
        return opened

    def find(self, id: str, owner: str) -> Job:
        """A client's restoration.

        Raises:
            ProblemError: 404: there is none of that id, or it is another's.
        """
        job = self._open.get(id) or self._seen.get(id)
        if job is None:
            stored = self.store.load(id)
            if stored is not None and stored.owner == owner and not self.ready:
                raise ProblemError(503, "this server is just starting", {"Retry-After": "2"})
            if stored is not None:
                job = Job.from_stored(stored, self.store, self._desk, self._of_loop(), self._ended)
                self._prepare(job)
        if job is not None and job.owner == owner and job.removed and self.draining:
            raise ProblemError(503, "this server is about to stop; the next one goes on", {"Retry-After": "5"})
        if job is None or job.owner != owner or job.removed:
            raise ProblemError(404, "there is no such restoration, or its time is over (--keep)")
        return job

    def stop(self, job: Job) -> None:
        """Keep the best so far, and end it."""
        if not job.over and job.ticket is not None:
            job.ticket.stop()

    async def remove(self, job: Job) -> None:
        """End and forget a restoration."""
        job.removed = True
        if job.ticket is not None and not job.over:
            job.ticket.cancel()
        self._open.pop(job.id, None)
        self._seen.pop(job.id, None)
        await asyncio.to_thread(self.store.remove, job.id)
        job.wake()

    async def more(self, job: Job, nfe: int | None, asker: str) -> Job:
        """Do more for a restoration that has ended.

        Raises:
            ProblemError: 409 while it runs or where it failed, else as :meth:`accept`.
        """
        if not job.over:
            raise ProblemError(409, "it is still being restored; stop it first, or wait")
        if job.facts.state is State.FAILED:
            raise ProblemError(409, f"it failed: {job.facts.error}")
        before = job.facts
        with self.room(asker):
            again = Job(self.store, before, job.owner, self._desk, self._of_loop(), self._ended)
            again.asker, again.name, again.seed, again.events = asker, job.name, job.seed, list(job.events)
            again.memory = job.memory
            self._prepare(again)
            self._open[job.id] = again
            self._seen.pop(job.id, None)
            try:
                await self._in_thread(self._go_further, again, nfe)
            except Exception as error:
                self._open.pop(job.id, None)
                again.facts = before
                again.save()
                raise (
                    _overloaded(error) if isinstance(error, OverloadedError) else from_error(error, 409)
                ) from None
        return again

    def _go_further(self, job: Job, nfe: int | None) -> None:
        opened = self._opened(job)
        state = self._state_of(job, opened)
        more = nfe or max(job.facts.nfe, 1)
        if job.facts.nfe + more > self.limits.one.nfe:
            raise ValueError(f"a run may have at most {self.limits.one.nfe} evaluations here")
        if state is None:
            raise ValueError("its state could not be kept: nothing can go on from it")
        state = opened.further(state, more)
        with suppress(OSError):
            state.save(self.store.path(job.id, STATE))
        work = opened.work(job.seed, None, state, Fixed(state.allocation), free=True)
        known = {"state": State.QUEUED, "ended": None, "kept_until": None, "stopped_by": None}
        pictures = [shown for shown in job.facts.pictures if shown.name == "degraded" or shown.nfe]
        job.facts = job.facts.model_copy(update={**known, "pictures": pictures})
        job.queued()
        job.ticket = self.pool.engine(self._prior_of(job)).submit(work, job.heard)

    # what it needs for that

    def prior_named(self, name: str | None) -> str:
        """The prior that a client chose, of those that the operator allows.

        Raises:
            ValueError: another one.
        """
        if name is None:
            return self.priors[0]
        if name not in self.priors:
            raise ValueError(f"prior must be one of {', '.join(self.priors)} here: got {name!r}")
        return name

    def known_priors(self) -> list[PriorFacts]:
        """Those that the operator allows."""
        found = []
        for name in self.priors:
            shape = self.pool.shape(name)
            sides = {} if shape is None else dict(zip(("channels", "height", "width"), shape, strict=True))
            found.append(
                PriorFacts(name=name, default=name == self.priors[0], loaded=self.pool.loaded(name), **sides)
            )
        return found

    def let_go(self) -> None:
        """Let everybody go who follows an unfinished restoration: they can come again to the next server."""
        for job in self._open.values():
            job.removed = True  # nothing more is heard: its state is stored
            job.wake()

    def counts(self) -> tuple[int, int]:
        """Unfinished restorations, and their pixels."""
        jobs = list(self._open.values())
        return len(jobs), sum(job.pixels for job in jobs)

    def _prior_of(self, job: Job) -> str:
        return self.prior_named(job.options.prior)

    def _prepare(self, job: Job) -> None:
        job.keep_s = self.limits.keep_s
        job.first_preview = self.metrics.first_preview.observe

    def _written(self, upload: Upload) -> str:
        if not self.store.has_room(len(upload.image) + len(upload.mask or b"")):
            raise OSError(errno.ENOSPC, "the store is full of unfinished restorations (--max-store)")
        id = self.store.new()
        try:
            self.store.write(id, "image", upload.image)
            if upload.mask is not None:
                self.store.write(id, "mask", upload.mask)
        except OSError:
            self.store.remove(id)
            raise
        return id

    def _files(self, job: Job) -> tuple[Path, Path | None]:
        mask = self.store.path(job.id, "mask")
        return self.store.path(job.id, "image"), mask if mask.exists() else None

    def _ended(self, job: Job) -> None:
        if self._open.get(job.id) is job:  # else it is gone on with already
            del self._open[job.id]
        if job.memory or not job.stored:
            self._seen[job.id] = job
        job.opened = job.ticket = None
        self.metrics.ended(job.facts)

    def _of_loop(self) -> asyncio.AbstractEventLoop:
        assert self.loop is not None
        return self.loop

    async def _in_thread(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._posing, act, *arguments)

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _full(error: OSError) -> ProblemError:
    return ProblemError(507, f"the restoration cannot be kept here: {error.strerror or error}")


def _overloaded(error: OverloadedError) -> ProblemError:
    wait = error.retry_after
    return ProblemError(503, str(error), {} if wait is None else {"Retry-After": str(max(math.ceil(wait), 1))})
