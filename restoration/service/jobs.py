"""All restorations of a server: accepted within bounds, found by their ids, continued after a restart, drained."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nested import Adaptive, Budget, NestedState, chosen
from nested.effort import LEAST, Effort
from restoration.editing import EditFile
from restoration.errors import RestorationError
from restoration.pictures.scores import scores_of
from restoration.service.choosing import check_kept
from restoration.service.decoding import Decoder
from restoration.service.job import STATE, Job
from restoration.service.metrics import Metrics
from restoration.service.opening import Bounds, Opened, check, drawn_seed, named, open_picture
from restoration.service.pool import Workforce
from restoration.service.problems import ProblemError, from_error
from restoration.service.schema import PriorFacts, Restoration, State
from restoration.service.showing import Showing
from restoration.service.store import Store
from restoration.service.uploads import ChangedPreview, Upload
from restoration.service.work import ClosedError, OverloadedError, Work, onward

_log = logging.getLogger("restoration.service")
REAPED_EVERY_S = 10.0
LONG_S = 3600.0
"""Seconds for which an accepted run waits for an engine after a restart."""
SETTLED_S = 30.0
"""Seconds for which new ones wait until those before the restart are in their engines again."""
POSING = 4
"""Pictures that are looked at and posed at the same time."""


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

    def __init__(self, store: Store, pool: Workforce, limits: Limits, decoder: Decoder | None = None) -> None:
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
        self._posing = ThreadPoolExecutor(POSING, "posing")
        self._loading: dict[str, ThreadPoolExecutor] = {}  # one thread a prior: a slow one holds up nobody else
        self._counting = threading.Lock()
        self.showing = Showing()
        self._tasks: set[asyncio.Future[None]] = set()

    # the server's life

    async def start(self) -> None:
        """Continue what a server before this one left unfinished, and begin to reap."""
        self.loop = asyncio.get_running_loop()
        self._background(self._go_on())
        self._background(self._reap())

    async def _go_on(self) -> None:
        try:
            jobs: dict[str, list[Job]] = {}
            for id in await asyncio.to_thread(self.store.unfinished):
                if (job := await self._taken_up(id)) is not None:
                    jobs.setdefault(job.options.prior or self.priors[0], []).append(job)
            going = [asyncio.ensure_future(self._continue_all(name, those)) for name, those in jobs.items()]
            for task in going:
                self._keep_task(task)
            with suppress(RestorationError, ValueError, OSError):  # told with the first picture
                await asyncio.to_thread(self._warm)
            if going:
                await asyncio.wait(going, timeout=SETTLED_S)
        except Exception:  # a store that fails costs what was in it, not the server
            _log.exception("what was unfinished could not be taken up")
        self.ready = True

    async def _taken_up(self, id: str) -> Job | None:
        try:
            stored = await asyncio.to_thread(self.store.load, id)
        except OSError:  # of this one: the others go on
            _log.exception("restoration %s cannot be read, and waits for the next start", id)
            return None
        except ValueError:
            stored = None
            _log.exception("restoration %s is damaged", id)
        if stored is None:
            return None
        try:
            job = Job.from_stored(stored, self.store, self._desk, self._of_loop(), self._ended)
        except (KeyError, ValueError, TypeError):
            _log.exception("restoration %s cannot be read and is forgotten", id)
            await asyncio.to_thread(self.store.remove, id)
            return None
        self._open[id] = job
        self._prepare(job)
        return job

    async def _continue_all(self, prior: str, jobs: list[Job]) -> None:
        """Submit again what was accepted, in the order in which it was."""
        for job in jobs:
            try:
                await self._engine_of(self._prior_of(job), LONG_S)
                await self._in_thread(self._continue, job)
            except Exception as error:
                _log.warning("restoration %s cannot be continued: %s", job.id, error)
                message = named(f"it could not be continued: {error}", *self._files(job)[:2], job.name)
                await asyncio.to_thread(job.fail, message)

    def _warm(self) -> None:
        """What the first picture would have to wait for."""
        self.decoder.start()
        self.pool.engine(self.priors[0])
        scores_of(torch.zeros(3, 16, 16), torch.ones(3, 16, 16))

    def _continue(self, job: Job) -> None:
        """Submit again what was accepted, from its last state."""
        opened = self._opened(job)
        job.pixels = opened.pixels
        state = self._state_of(job, opened)
        planned = job.options.planned and job.deadline_left() is not None
        effort: Effort | Adaptive | None = None if state is None or planned else onward(state)
        try:
            self._submit(job, opened.work(job.seed, job.deadline_left(), state, effort), LONG_S)
        except OverloadedError:  # it was promised: late is better than never
            effort = Budget(LEAST) if state is None else onward(state)
            self._submit(job, opened.work(job.seed, None, state, effort), LONG_S)

    def _submit(self, job: Job, work: Work, wait: float = 0.0) -> None:
        """Hand a run to its engine; what a client has wished meanwhile is done then."""
        ticket = self.pool.submit(self._prior_of(job), work, job.heard, wait)
        job.ticket = ticket
        if job.removed:
            ticket.cancel()
        elif job.stopping:
            ticket.stop()

    async def _engine_of(self, name: str, wait: float = 0.0) -> None:
        """Have the engine of a prior there, which may take seconds; those of other priors do not wait."""
        if name not in self._loading:
            self._loading[name] = ThreadPoolExecutor(1, "loading")
        loading = self._loading[name]
        end = time.monotonic() + wait
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(loading, self.pool.engine, name)
                return
            except OverloadedError:
                if time.monotonic() >= end:
                    raise
            await asyncio.sleep(0.2)

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
            job.options.deadline is not None or job.waited for job in list(self._open.values())
        ):
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop working; what is unfinished stays in the store."""
        self.draining = True
        for task in self._tasks:
            task.cancel()
        self.let_go()
        await asyncio.to_thread(self.pool.close)
        for job in list(self._open.values()):
            if job.ticket is not None:
                await asyncio.to_thread(job.save_state, job.ticket.state)
        for pool in (*self._loading.values(), self._posing, self._desk):
            await asyncio.to_thread(pool.shutdown, True)
        await asyncio.to_thread(self.showing.close)
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
            raise _stopping()
        count = len(self._open) + self._coming.total()
        own = sum(job.asker == asker for job in list(self._open.values())) + self._coming[asker]
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
            await self._in_thread(
                partial(
                    check,
                    options,
                    self.limits.one,
                    masked=upload.mask is not None,
                    stroked=upload.strokes is not None,
                )
            )
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
            await self._engine_of(name)
            await self._in_thread(self._begin, job)
        except BaseException as error:
            self._open.pop(id, None)
            job.removed = True
            await asyncio.to_thread(self.store.remove, id)
            if not isinstance(error, Exception):
                raise
            if self.draining:
                raise _stopping() from None
            if (reason := _refused(error)) is not None:
                self.metrics.refused.labels(reason).inc()
            raise _problem(error) from None
        self.metrics.accepted.inc()
        return job

    def _begin(self, job: Job) -> None:
        image, mask, strokes = self._files(job)
        try:
            self.decoder.check(
                image,
                mask,
                self.limits.one.pixels,
                strokes=strokes,
                coefficients="jpeg" in job.options.task and not job.options.simulate,
            )
        except RestorationError as error:
            raise type(error)(named(str(error), image, mask, job.name)) from None
        opened = self._opened(job)
        self._reserve(job, opened.pixels)
        job.show_given(opened)
        job.facts.seeds = [job.seed + i for i in range(job.options.count)]
        deadline = job.options.deadline
        if deadline is not None and time.time() - job.facts.created >= deadline:
            raise ProblemError(
                503,
                f"the {deadline:g} s were over before the picture could be looked at: others wait, too",
                {"Retry-After": "5"},
            )
        _queue(job)
        self._submit(job, opened.work(job.seed, job.deadline_left()))

    def _reserve(self, job: Job, pixels: int) -> None:
        """Take a place for a picture among the unfinished ones; ProblemError 503 where there is none."""
        with self._counting:
            others = sum(other.pixels for other in list(self._open.values()) if other is not job)
            if others + pixels <= self.limits.pixels:
                self._open[job.id], job.pixels = job, pixels
                return
        self.metrics.refused.labels("queue").inc()
        raise ProblemError(
            503,
            f"restorations of {self.limits.pixels:,} pixels wait already, as many as this server takes "
            "(--total-pixels)",
            {"Retry-After": "5"},
        )

    def _opened(self, job: Job) -> Opened:
        prior = self.pool.prior(self._prior_of(job))
        image, mask, strokes = self._files(job)
        opened = open_picture(job.options, image, mask, job.name, prior, self.limits.one, job.seed, strokes)
        job.opened = opened
        job.facts.notes = list(opened.notes)
        return opened

    async def find(self, id: str, owner: str) -> Job:
        """A client's restoration.

        Raises:
            ProblemError: 404: there is none of that id, or it is another's.
        """
        job = self._open.get(id) or self._seen.get(id)
        if job is None:
            stored = await asyncio.to_thread(self.store.load, id)
            job = self._open.get(id) or self._seen.get(id)  # it may have come meanwhile
        if job is None:
            if stored is not None and stored.owner == owner and not self.ready:
                raise ProblemError(503, "this server is just starting", {"Retry-After": "2"})
            if stored is not None:
                job = Job.from_stored(stored, self.store, self._desk, self._of_loop(), self._ended)
                self._prepare(job)
        if job is not None and job.owner == owner and job.removed and self.draining:
            raise ProblemError(503, "this server is about to stop; the next one goes on", {"Retry-After": "5"})
        if job is None or job.owner != owner or job.removed:
            raise _gone()
        return job

    def stop(self, job: Job) -> None:
        """Keep the best so far, and end it."""
        if not job.over:
            job.stopping = True  # and where it has no ticket yet, it is stopped once it has one
            if job.ticket is not None:
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
        open = self._open.get(job.id, job)
        if not (job.over and open.over):
            raise ProblemError(409, "it is still being restored; stop it first, or wait")
        if job.facts.state is State.FAILED:
            raise ProblemError(409, f"it failed: {job.facts.error}")
        if job.facts.state is State.WAITING:
            raise ProblemError(409, "it waits for a choice among its candidates: POST …/choose")
        return await self._again(job, asker, partial(self._go_further, nfe=nfe))

    async def choose(self, job: Job, keep: Sequence[int], nfe: int | None, asker: str) -> Job:
        """Keep candidates of a restoration that waits for it, and go on from them.

        Args:
            keep: their numbers, from 1.
            nfe: of the preview that is meant; None is where it stands.

        Raises:
            ProblemError: 409 where it does not wait, or at another preview; 422 for other numbers.
        """
        self._refuse_unready(job, waiting=True)
        if nfe is not None and nfe != job.facts.nfe:
            raise ProblemError(409, f"its candidates are those of {job.facts.nfe} evaluations: got {nfe}")
        self._check_kept(job, keep)
        return await self._again(job, asker, partial(self._choose, keep=keep))

    async def edit(self, job: Job, changed: ChangedPreview, asker: str) -> Job:
        """Go on from a changed preview: of a candidate that is kept thereby, or of what a run has ended at.

        Raises:
            ProblemError: 409 while it runs, where it failed or ended within an inner run; 422 for a picture that
                cannot be one; else as :meth:`accept`.
        """
        self._refuse_unready(job, waiting=job.options.candidates is not None)
        self._check_kept(job, [changed.candidate])
        if job.options.samples > 1:
            raise ProblemError(409, "an edit goes on from one picture: it has several samples")
        return await self._again(job, asker, partial(self._edit, changed=changed))

    def _refuse_unready(self, job: Job, *, waiting: bool) -> None:
        """ProblemError 409 where a restoration is not at a preview."""
        if not (job.over and self._open.get(job.id, job).over):
            raise ProblemError(409, "it is still being restored; wait for its candidates, or its end")
        if job.facts.state is State.FAILED:
            raise ProblemError(409, f"it failed: {job.facts.error}")
        if waiting and job.facts.state is not State.WAITING:
            raise ProblemError(409, "it waits for no choice: it has ended, or was asked for without candidates")

    def _check_kept(self, job: Job, keep: Sequence[int]) -> None:
        facts = job.facts
        try:
            check_kept(keep, max(len(facts.candidates), 1), last=facts.nfe >= facts.total_nfe)
        except ValueError as error:
            raise ProblemError(422, str(error)) from None

    async def _again(self, job: Job, asker: str, act: Callable[[Job], None]) -> Job:
        """Go on with a restoration that has ended or waits, by what is done in a thread; else it is as before."""
        before = job.facts
        with self.room(asker):
            pictures = [shown for shown in before.pictures if shown.name == "degraded" or shown.nfe]
            known = {"ended": None, "kept_until": None, "stopped_by": None, "pictures": pictures, "candidates": []}
            facts = before.model_copy(update={**known, "state": State.QUEUED})
            again = Job(self.store, facts, job.owner, self._desk, self._of_loop(), self._ended)
            again.asker, again.name, again.seed, again.events = asker, job.name, job.seed, list(job.events)
            again.memory, again.kept = job.memory, job.kept
            self._prepare(again)
            self._open[job.id] = again  # who asks for more meanwhile is told that it is being restored
            seen = self._seen.pop(job.id, None)
            try:
                await self._engine_of(self._prior_of(job))
                await self._in_thread(act, again)
            except BaseException as error:
                self._open.pop(job.id, None)
                if seen is not None:
                    self._seen[job.id] = seen
                await asyncio.to_thread(again.undo, before, job.events)
                if again.removed and not self.draining:
                    raise _gone() from None
                if isinstance(error, Exception):
                    raise _problem(error, 409) from None
                raise
        return again

    def _go_further(self, job: Job, nfe: int | None) -> None:
        opened = self._opened(job)
        state = self._state_of(job, opened)
        more = nfe or max(job.facts.nfe, 1)
        if job.facts.nfe + more > self.limits.one.nfe:
            raise ValueError(f"a run may have at most {self.limits.one.nfe} evaluations here")
        if state is None:
            raise ValueError("its state could not be kept: nothing can go on from it")
        self._reserve(job, opened.pixels)
        further = opened.further(state, more)
        work = opened.work(job.seed, None, further, onward(further), free=True)
        self._submit_from(job, work, further, state)

    def _choose(self, job: Job, keep: Sequence[int]) -> None:
        opened, state = self._at_preview(job)
        count = 1 if state.finished else max((job.options.candidates or 1) // len(keep), 1)
        further = chosen(state, [number - 1 for number in keep], count)
        self._kept_only(job, state, keep)
        if further.finished:
            _queue(job)
            job.save_state(further)
            job.keep_chosen(further)
            return
        self._submit_from(job, opened.work(job.seed, None, further), further, state)

    def _edit(self, job: Job, changed: ChangedPreview) -> None:
        file = self.store.path(job.id, "edit")
        self.store.write(job.id, "edit", changed.image)
        try:
            self.decoder.check(file, None, self.limits.one.pixels)
            edit = replace(EditFile.read(file, changed.trust), name="the edit")
        except RestorationError as error:
            raise type(error)(str(error).replace(str(file), "the edit")) from None
        opened, state = self._at_preview(job)
        session, further = opened.session, state
        if job.options.candidates is not None:
            further = chosen(state, changed.candidate - 1, job.options.candidates)
            self._kept_only(job, state, [changed.candidate])
        loop = opened.loop(further)
        given, problem = session.single
        further, said = edit.put_in(further, loop, session.restorer, problem, given.depth)
        job.facts.notes = [*job.facts.notes, said]
        if further.finished:  # as much again as the last inner run
            further = opened.further(further, further.allocation[-1])
        if further.total_nfe > self.limits.one.nfe:
            raise ValueError(f"a run may have at most {self.limits.one.nfe} evaluations here")
        effort = None if job.options.candidates is not None else onward(further)
        work = opened.work(job.seed, None, further, effort, free=True)
        self._submit_from(job, work, further, state)

    def _at_preview(self, job: Job) -> tuple[Opened, NestedState]:
        """A restoration's picture and where it stands; ValueError where nothing can go on from there."""
        opened = self._opened(job)
        state = self._state_of(job, opened)
        if state is None:
            raise ValueError("its state could not be kept: nothing can go on from it")
        if state.inner is not None or state.x0 is None:
            raise ValueError("it was stopped within an inner run, which has no preview to go on from: POST …/more")
        self._reserve(job, opened.pixels)
        return opened, state

    def _kept_only(self, job: Job, state: NestedState, keep: Sequence[int]) -> None:
        """Forget the pictures of candidates that are not kept."""
        names = [f"{state.spent:03d}-{i}" for i in range(1, len(state) + 1) if i not in keep]
        job.facts.pictures = [shown for shown in job.facts.pictures if shown.name not in names]
        job.facts.chosen = [*job.facts.chosen, list(keep)]

    def _submit_from(self, job: Job, work: Work, further: NestedState, before: NestedState) -> None:
        """Hand a run to its engine from another state; stored once it is sure to be known."""
        _queue(job)
        job.save_state(further)
        try:
            self._submit(job, work)
        except BaseException:
            job.save_state(before)
            raise

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
        for job in list(self._open.values()):
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
        if not self.store.has_room(len(upload.image) + len(upload.mask or b"") + len(upload.strokes or b"")):
            raise OSError(errno.ENOSPC, "the store is full of unfinished restorations (--max-store)")
        id = self.store.new()
        try:
            self.store.write(id, "image", upload.image)
            if upload.mask is not None:
                self.store.write(id, "mask", upload.mask)
            if upload.strokes is not None:
                self.store.write(id, "strokes", upload.strokes)
        except OSError:
            self.store.remove(id)
            raise
        return id

    def _files(self, job: Job) -> tuple[Path, Path | None, Path | None]:
        image, mask, strokes = (self.store.path(job.id, name) for name in ("image", "mask", "strokes"))
        return image, mask if mask.exists() else None, strokes if strokes.exists() else None

    def _ended(self, job: Job) -> None:
        if self._open.get(job.id) is job:  # else it is gone on with already
            del self._open[job.id]
        if (job.memory or not job.stored) and job.id not in self._open:
            self._seen[job.id] = job
        job.opened = job.ticket = None
        if job.facts.state is not State.WAITING:
            self.metrics.ended(job.facts)

    def _of_loop(self) -> asyncio.AbstractEventLoop:
        assert self.loop is not None
        return self.loop

    async def _in_thread(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._posing, act, *arguments)

    def _background(self, work: Any) -> None:
        self._keep_task(asyncio.ensure_future(work))

    def _keep_task(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _gone() -> ProblemError:
    return ProblemError(404, "there is no such restoration, or its time is over (--keep)")


def _stopping() -> ProblemError:
    return ProblemError(503, "this server is about to stop", {"Retry-After": "10"})


def _queue(job: Job) -> None:
    """Tell that it was accepted, once that is sure to survive the server; OSError where it is not."""
    job.queued()
    if not job.stored:
        raise OSError(errno.ENOSPC, "the server's disk is full")


def _problem(error: Exception, status: int = 422) -> ProblemError:
    """How a client is told that a restoration could not be taken on; a bug is raised again."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ClosedError):
        return ProblemError(503, "the engine has just ended; another is started", {"Retry-After": "5"})
    if isinstance(error, OverloadedError):
        wait = error.retry_after
        return ProblemError(503, str(error), {} if wait is None else {"Retry-After": str(max(math.ceil(wait), 1))})
    return _full(error) if isinstance(error, OSError) else from_error(error, status)


def _refused(error: Exception) -> str | None:
    """By which bound, as the metrics count it; None for what counts elsewhere, or is nobody's fault."""
    if isinstance(error, ProblemError | ClosedError):
        return None
    if isinstance(error, OverloadedError):
        return "deadline"
    return "disk" if isinstance(error, OSError) else "picture"


def _full(error: OSError) -> ProblemError:
    return ProblemError(507, f"the restoration cannot be kept here: {error.strerror or error}")
