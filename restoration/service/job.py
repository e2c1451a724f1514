"""One restoration as the service keeps it: what is known of it, its events, its pictures, and who waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nested import NestedState
from restoration.commands.console import mendable
from restoration.commands.delivery import STATE_EVERY_S, STATE_SHARE
from restoration.events import Output, Previewed, Restored, expected, standing
from restoration.pictures import writing
from restoration.pictures.picture import Depth
from restoration.restorer import Preview, StoppedBy
from restoration.restorer import Restoration as RunRestoration
from restoration.service.opening import Opened
from restoration.service.schema import Options, Restoration, Shown, State
from restoration.service.store import Store, Stored
from restoration.service.ticket import Held
from restoration.service.work import Ended, Event, Improved, Lost, Planned

MOST_WAITING = 4
"""Complete previews that wait to be written; the oldest is skipped for a newer one, a result never is."""
OVER = (State.DONE, State.FAILED, State.WAITING)
"""Nothing is done for it: it has ended, or waits for a choice. It goes when its time is over."""
LAST = ("result", "candidates", "error")
"""Events after which nothing comes until it is gone on with."""
STATE = "run.state"
ENDS = ("events", "image", "stop", "more", "choose", "edit")
CHOSEN_AFTER = (StoppedBy.FINISHED, StoppedBy.MAX_NFE)
_log = logging.getLogger("restoration.service")


@dataclass(frozen=True)
class Told:
    """An event as clients are told it.

    Args:
        seq: its number, counting from 1; None for what is not repeated to who comes later.
        kind: "queued", "planned", "preview", "candidates", "result" or "error".
        data: JSON text.
    """

    seq: int | None
    kind: str
    data: str


class Job:
    """A restoration, from its acceptance until it is forgotten.

    An engine's thread hands events to :meth:`heard`, which returns at once; threads of ``desk`` write pictures,
    states and facts, one event of a job at a time; clients wait in the loop of ``loop``.

    Args:
        store: where it is kept.
        facts: what is known of it.
        owner: whose it is.
        desk: threads that write.
        loop: of those who wait.
        ended: called in the loop once it is over.
    """

    def __init__(
        self,
        store: Store,
        facts: Restoration,
        owner: str,
        desk: Executor,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[Job], None],
    ) -> None:
        self.store, self.facts, self.owner = store, facts, owner
        self.asker = owner
        self.opened: Opened | None = None
        self.ticket: Held | None = None
        self.name = "the picture"
        self.seed = 0
        self.pixels = 0
        self.removed = False
        self.stopping = False  # a client has asked to keep the best so far
        self.version = 0  # rises with every wake
        self.kept = False  # the store knows it
        self.stored = False  # what is known of it, as it was when last saved
        self.waited = False  # a client waits for it to end
        self.events: list[Told] = []
        self.memory: dict[str, bytes] = {}  # pictures that could not be written
        self._desk, self._loop, self._ended = desk, loop, ended
        self._lock = threading.RLock()
        self._writing = threading.RLock()  # held while facts or events change, in memory and in the store
        self._queue: deque[Event] = deque()
        self._live: Preview | None = None
        self._live_told: Told | None = None
        self._encoded: tuple[int, bytes] | None = None
        self._busy = False
        self._state_due = 0.0
        self._waiting: set[asyncio.Event] = set()
        self.first_preview: Callable[[float], None] = lambda seconds: None

    @property
    def id(self) -> str:
        """Which it is."""
        return self.facts.id

    @property
    def options(self) -> Options:
        """How it was asked for."""
        return self.facts.options

    @property
    def over(self) -> bool:
        """Whether it has ended, or waits for a choice."""
        return self.facts.state in OVER

    def deadline_left(self) -> float | None:
        """Seconds from now until there must be a picture; None where that was not asked for."""
        deadline = self.options.deadline
        return None if deadline is None else max(self.facts.created + deadline - time.time(), 0.001)

    # what happens to it

    def heard(self, event: Event) -> None:
        """Take an event from an engine's thread; it is worked on elsewhere."""
        with self._lock:
            if self.removed:
                return
            if isinstance(event, Improved) and not event.preview.complete:
                self._live = event.preview
            previews = [kept for kept in self._queue if isinstance(kept, Improved)]
            if isinstance(event, Improved):
                unfinished = [kept for kept in previews if not kept.preview.complete]
                for kept in [*unfinished, *(previews[:1] if len(previews) >= MOST_WAITING else [])]:
                    self._queue.remove(kept)
            self._queue.append(event)
            if self._busy:
                return
            self._busy = True
        self._desk.submit(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue or self.removed:
                    self._busy = False
                    return
                event = self._queue.popleft()
            try:
                self._take(event)
            except Exception as error:  # a bug, or a picture that no format holds: told, and never silent
                _log.exception("restoration %s: an event was lost", self.id)
                if isinstance(event, Ended | Lost):
                    self.fail(
                        mendable("restore-serve", error) or "the result could not be kept: the log tells why"
                    )

    def _take(self, event: Event) -> None:
        if isinstance(event, Planned):
            plan = event.plan
            changed = list(plan.allocation) != self.facts.plan
            self._know(state=State.RUNNING, plan=list(plan.allocation), total_nfe=plan.total_nfe)
            if changed:
                self._tell(
                    "planned",
                    {
                        "plan": list(plan.allocation),
                        "nfe": plan.nfe,
                        "total_nfe": plan.total_nfe,
                        "first_s": round(plan.first_s, 3),
                        "end_s": round(plan.end_s, 3),
                    },
                )
        elif isinstance(event, Improved):
            self._improve(event.preview)
        elif isinstance(event, Ended):
            assert self.opened is not None
            ticket = self.ticket
            self.save_state(event.restoration.preview.state if ticket is None else ticket.state)
            done = event.restoration
            steps = done.preview.state.allocation
            if self.options.candidates is not None and done.preview.complete and done.stopped_by in CHOSEN_AFTER:
                self._offer(self.opened, done)
                return
            if self.options.candidates is not None:  # it was stopped: the first is as good as any
                done = replace(done, image=done.image[:1], seeds=done.seeds[:1])
            self._keep_result(self.opened.restored(done), list(steps))
        else:
            self.fail(_said(event.error))

    def _improve(self, preview: Preview) -> None:
        assert self.opened is not None
        self._keep_state(preview)
        plan = list(preview.state.allocation)
        known = {"nfe": preview.nfe, "total_nfe": sum(plan), "plan": plan, "state": State.RUNNING}
        known["elapsed_s"] = round(preview.elapsed, 4)
        if not preview.complete:
            change = {} if self._has_complete else {"expected_change": preview.expected_change}
            self._know(**known, **change)
            self._tell("preview", {**_facts_of(preview), "href": self._href("live")}, passing=True)
            return
        if self.options.candidates is not None:  # they are kept when it waits for the choice
            self._know(**known)
            return
        event = self.opened.previewed(preview)
        name = event.output.suffix
        self._keep(name, event.output)
        first = not self._has_complete
        shown = _shown(name, self._href(name), event)
        pictures = [*(kept for kept in self.facts.pictures if kept.name != name), shown]
        self._know(
            **known, complete=True, expected_change=event.expected_change, pictures=pictures, scores=shown.scores
        )
        if first:
            self.first_preview(time.time() - self.facts.created)
        self._tell("preview", {**_facts_of(preview), "href": shown.href, **shown.scores})

    def _offer(self, opened: Opened, done: RunRestoration) -> None:
        """Keep every candidate, and wait for a choice."""
        state, preview = done.preview.state, done.preview
        told, pictures = [], list(self.facts.pictures)
        for i, output in enumerate(opened.candidates(state), start=1):
            name = output.suffix
            self._keep(name, output)
            pictures = [kept for kept in pictures if kept.name != name]
            pictures.append(
                Shown(name=name, href=self._href(name), nfe=state.spent, elapsed_s=round(done.elapsed, 4))
            )
            told.append({"number": i, "name": name, "href": self._href(name), "seed": state.seeds[i - 1]})
        data = {
            **standing(preview),
            "elapsed_s": round(done.elapsed, 4),
            **expected(preview.expected_change),
            "candidates": told,
        }
        self._tell(
            "candidates",
            data,
            state=State.WAITING,
            nfe=state.spent,
            total_nfe=state.total_nfe,
            plan=list(state.allocation),
            complete=True,
            expected_change=preview.expected_change,
            seeds=list(state.seeds),
            candidates=[one["name"] for one in told],
            pictures=pictures,
            kept_until=time.time() + self.keep_s,
        )
        self._call(lambda: self._ended(self))

    def keep_chosen(self, state: NestedState) -> None:
        """Keep the one candidate that is left of a finished run as its result."""
        assert self.opened is not None
        self._keep_result(self.opened.chosen(state), list(state.allocation))

    def _keep_result(self, event: Restored, plan: list[int]) -> None:
        pictures = [
            shown
            for shown in self.facts.pictures
            if (shown.nfe and shown.name != "result") or shown.name in ("degraded", "input")
        ]
        for output in event.outputs:
            name = output.suffix or "result"
            self._keep(name, output)
            pictures.append(
                _shown(name, self._href(name), event)
                if name == "result"
                else Shown(name=name, href=self._href(name))
            )
        told = json.loads(event.json())
        told = {key: value for key, value in told.items() if key not in ("event", "input", *event.scores)}
        self._end(
            "result",
            {**told, **_finite(event.scores), "href": self._href("result")},
            state=State.DONE,
            pictures=pictures,
            nfe=event.nfe,
            total_nfe=event.total_nfe,
            elapsed_s=round(event.elapsed, 4),
            plan=plan,
            complete=event.complete,
            expected_change=event.expected_change,
            stopped_by=event.stopped_by,
            seeds=list(event.seeds),
            scores=_finite(event.scores),
        )

    def fail(self, message: str) -> None:
        """End it without a result; the message is one sentence."""
        self._end("error", {"message": message}, state=State.FAILED, error=message)

    def queued(self) -> None:
        """Tell that it was accepted."""
        self._tell("queued", {"id": self.id})

    def _end(self, kind: str, data: dict[str, Any], **known: Any) -> None:
        now = time.time()
        self._tell(kind, data, **known, ended=now, kept_until=now + self.keep_s)
        self._call(lambda: self._ended(self))

    def undo(self, facts: Restoration, events: list[Told]) -> None:
        """Be again as before what has just failed."""
        with self._writing:
            with self._lock:
                self.facts, self.events = facts, list(events)
                self._live_told = None
            self._store(facts, last=_newest(events))
        self._call(self.wake)

    keep_s = 3600.0
    """Seconds that it is kept after its end."""

    def _know(self, **known: Any) -> None:
        with self._writing, self._lock:
            self.facts = self.facts.model_copy(update=known)

    # what is kept

    def _store(self, facts: Restoration, event: Told | None = None, last: int | None = None) -> None:
        """Store facts and an event; a full disk costs no restoration, only its survival of the server."""
        if self.removed:
            return
        kept = {"facts": facts.model_dump(mode="json"), "asker": self.asker, "name": self.name, "seed": self.seed}
        try:
            self.store.save(
                self.id,
                self.owner,
                kept,
                open=facts.state not in OVER,
                until=facts.kept_until,
                event=None if event is None else (event.seq or 0, event.kind, event.data),
                new=not self.kept,
                last=last,
            )
            self.kept = self.stored = True
        except OSError as error:
            self.stored = False
            if not self.removed:
                _log.warning("restoration %s is not stored: %s", self.id, error)

    @classmethod
    def from_stored(
        cls,
        stored: Stored,
        store: Store,
        desk: Executor,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[Job], None],
    ) -> Job:
        """A job as it was when last saved."""
        facts = Restoration.model_validate(stored.facts["facts"])
        job = cls(store, facts, stored.owner, desk, loop, ended)
        job.asker, job.name, job.seed = (stored.facts[key] for key in ("asker", "name", "seed"))
        job.kept = job.stored = True
        job.events = [Told(*event) for event in stored.events]
        if job.over and (not job.events or job.events[-1].kind not in LAST):
            job.events.append(job._told_last())
        return job

    def _told_last(self) -> Told:
        """The event of its end, from what is known of it: for one whose event was lost."""
        facts = self.facts
        seq = 1 + _newest(self.events)
        if facts.state is State.FAILED:
            return Told(seq, "error", json.dumps({"message": facts.error}))
        if facts.state is State.WAITING:
            told = [
                {"number": i, "name": name, "href": self._href(name), "seed": seed}
                for i, (name, seed) in enumerate(zip(facts.candidates, facts.seeds, strict=True), start=1)
            ]
            data = {"nfe": facts.nfe, "total_nfe": facts.total_nfe, "complete": True, "candidates": told}
            return Told(seq, "candidates", json.dumps(data))
        names = ("nfe", "total_nfe", "complete", "expected_change", "stopped_by", "seeds")
        data = {name: getattr(facts, name) for name in names}
        return Told(seq, "result", json.dumps({**data, **facts.scores, "href": self._href("result")}))

    def _keep(self, name: str, output: Output) -> None:
        deep = output.single.depth is Depth.FLOAT
        content = writing.encode(output.single, "TIFF" if deep else "PNG", json.dumps(dict(output.record)))
        self.keep_bytes(f"{name}.{'tif' if deep else 'png'}", content)

    def keep_bytes(self, file: str, content: bytes) -> None:
        """Store a picture; in memory where the disk is full."""
        try:
            self.store.write(self.id, file, content)
        except OSError as error:
            if self.removed:
                return
            _log.warning("restoration %s: %s is kept in memory: %s", self.id, file, error)
            self.memory[file] = content
            note = "the server's disk is full: its pictures are lost when it stops"
            if note not in self.facts.notes:
                self._know(notes=[*self.facts.notes, note])

    def _keep_state(self, preview: Preview) -> None:
        """As often as the command does, so that a large one costs a tenth of the time at most."""
        began = time.monotonic()
        if not preview.complete and began < self._state_due:
            return
        self.save_state(preview.state)
        ended = time.monotonic()
        self._state_due = ended + max(STATE_EVERY_S, STATE_SHARE * (ended - began))

    def save_state(self, state: NestedState) -> None:
        """Store where it stands."""
        try:
            state.save(self.store.path(self.id, STATE))
        except OSError as error:
            if not self.removed:
                _log.warning("restoration %s: its state is not stored: %s", self.id, error)

    # what is shown

    def picture(self, name: str) -> tuple[Path | None, bytes]:
        """A picture that is kept: its file, or its bytes where it has none; blocks.

        Args:
            name: "best" for the best so far, "live" for the newest evaluation's, or as in ``facts.pictures``.

        Raises:
            KeyError: there is none.
        """
        if name == "best":
            shown = [shown.name for shown in self.facts.pictures]
            complete = [shown.name for shown in self.facts.pictures if shown.nfe]
            complete = self.facts.candidates[:1] or complete
            name = "result" if "result" in shown else complete[-1] if complete else "live"
        if name == "live":
            with self._lock:
                live, encoded, opened = self._live, self._encoded, self.opened
            if live is None or opened is None:
                if self.over or self._has_complete:
                    return self.picture("best")
                raise KeyError(name)
            if encoded is None or encoded[0] != live.nfe:
                output = opened.previewed(live).output
                encoded = live.nfe, writing.encode(output.single, "PNG", json.dumps(dict(output.record)))
                with self._lock:
                    self._encoded = encoded
            return None, encoded[1]
        if all(shown.name != name for shown in self.facts.pictures):
            raise KeyError(name)
        for file in (f"{name}.png", f"{name}.tif", name):
            if file in self.memory:
                return None, self.memory[file]
            if (path := self.store.path(self.id, file)).is_file():
                return path, b""
        raise KeyError(name)

    @property
    def has_picture(self) -> bool:
        """Whether there is anything to see yet."""
        return self._live is not None or self._has_complete

    @property
    def _has_complete(self) -> bool:
        """Whether a complete preview or the result is kept."""
        return any(shown.nfe for shown in self.facts.pictures)

    def show_given(self, opened: Opened) -> None:
        """Keep what was given as it is seen, beside what will be restored."""
        given, problem = opened.session.single
        degraded = problem.degraded
        self.facts.height, self.facts.width = degraded.shape[1:]
        picture = replace(given.like(degraded), depth=Depth.EIGHT).stripped()
        self.keep_bytes("degraded.png", writing.encode(picture, "PNG", "{}"))
        shown = Shown(name="degraded", href=self._href("degraded"))
        self._know(pictures=[shown, *(kept for kept in self.facts.pictures if kept.name != "degraded")])

    def view(self) -> Restoration:
        """What clients are told of it."""
        here = f"/v1/restorations/{self.id}"
        links = {"self": here, **{name: f"{here}/{name}" for name in ENDS}}
        return self.facts.model_copy(update={"links": links})

    def _href(self, name: str) -> str:
        return f"/v1/restorations/{self.id}/image?show={name}"

    # who waits

    def after(self, seq: int, seen: Told | None) -> list[Told]:
        """The events after a number, the newest passing one last, unless it has been seen.

        A result that was gone on from is none any more, nor candidates of which one was chosen.
        """
        with self._lock:
            newest = self.events[-1:]
            found = [
                told
                for told in self.events
                if told.seq is not None
                and told.seq > seq
                and (told.kind not in ("result", "candidates") or told in newest)
            ]
            live = self._live_told
            return [*found, live] if live is not None and live is not seen else found

    async def changed(self, seconds: float, since: int | None = None) -> None:
        """Wait until something has happened, or time is over.

        Args:
            seconds: at most.
            since: ``version`` as it was before the caller looked; returns at once where it has risen.
        """
        if since is not None and since != self.version:
            return
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)

    def _tell(self, kind: str, data: dict[str, Any], *, passing: bool = False, **known: Any) -> None:
        """Tell an event and what is known with it, stored first, so that nothing told is lost."""
        text = json.dumps(data)
        with self._writing:
            if passing:
                with self._lock:
                    self._live_told = Told(None, kind, text)
            else:
                facts = self.facts.model_copy(update=known)
                told = Told(1 + _newest(self.events), kind, text)
                self._store(facts, told)
                with self._lock:
                    self.facts = facts
                    self.events.append(told)
                    if kind == "preview" or facts.state in OVER:
                        self._live_told = None
                    if facts.state in OVER:
                        self._live = self._encoded = None
        self._call(self.wake)

    def wake(self) -> None:
        """Let those who wait look again; in the loop."""
        self.version += 1
        for event in self._waiting:
            event.set()

    def _call(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(act)


def _facts_of(preview: Preview) -> dict[str, Any]:
    elapsed = round(preview.elapsed, 4)
    return {**standing(preview), "elapsed_s": elapsed, **expected(preview.expected_change)}


def _newest(events: list[Told]) -> int:
    """The number of the newest event; 0 before the first."""
    return max((told.seq or 0 for told in events), default=0)


def _shown(name: str, href: str, event: Previewed | Restored) -> Shown:
    return Shown(
        name=name,
        href=href,
        nfe=event.nfe,
        elapsed_s=round(event.elapsed, 4),
        expected_change=event.expected_change,
        scores=_finite(event.scores),
    )


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores that JSON can tell: the PSNR of a perfect picture is none."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _said(error: Exception) -> str:
    message = mendable("restore-serve", error)
    if message is None:
        _log.error("a restoration failed", exc_info=error)
        return "something went wrong here, not in what was asked; the server's log tells what"
    return message
