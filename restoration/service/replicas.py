"""Engines in other processes, a replica a device: runs go to them, and go on elsewhere where one dies.

What is accepted is in the store of the process that serves HTTP, and so is the newest state that was sent back: a
replica holds nothing that another could not go on from.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from nested import Budget, NestedState
from nested.effort import LEAST
from restoration.errors import RestorationError
from restoration.priors import DiffusionPrior, load_prior
from restoration.restorer import Preview, Restoration, StoppedBy
from restoration.service.replica import Refused, Sent
from restoration.service.work import (
    CancelledError,
    ClosedError,
    Ended,
    Event,
    Improved,
    Lost,
    OverloadedError,
    Watch,
    Work,
    onward,
)

_log = logging.getLogger("restoration.service")
DEATHS = 5
"""Of replicas without an evaluation in between, after which the run itself is taken to be the cause."""
AGAIN_S = 0.5
"""Between a death and the next try."""
LONG_S = 3600.0
"""For which an accepted run waits for an engine."""


class Deployment(Protocol):
    """Replicas somewhere: in a cluster, or in a test."""

    def stream(self, name: str, work: Work, wait: float) -> Any:
        """What one of them sends of a run, an asynchronous iterator that can be cancelled."""
        ...

    def close(self) -> None:
        """End them."""
        ...


class Replicas:
    """Engines in other processes, in place of a :class:`Pool` of them in this one.

    Args:
        sources: the priors, by the names that clients know them by.
        precision: of their networks.
        deployment: the processes; closed with this.
    """

    def __init__(self, sources: Mapping[str, str], precision: str, deployment: Deployment) -> None:
        self._sources, self._precision, self._deployment = sources, precision, deployment
        self.names = tuple(sources)
        self._priors: dict[str, DiffusionPrior] = {}
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, int], tuple[int, int]] = {}  # calls and pieces by prior and replica
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="replicas", daemon=True)
        self._thread.start()
        self._closed = False

    # as a Pool

    def engine(self, name: str, wait: float = 0.0) -> DiffusionPrior:
        """Have what this process needs of a prior: to pose pictures and to read states, not to restore.

        Raises:
            PriorError, ValueError, OSError: it cannot be loaded.
        """
        with self._lock:
            if name not in self._priors:
                self._priors[name] = load_prior(self._sources[name], "cpu", self._precision)
            return self._priors[name]

    def prior(self, name: str) -> DiffusionPrior:
        """As :meth:`engine`."""
        return self.engine(name)

    def shape(self, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) of a prior's images; None where it has not been loaded yet."""
        return self._priors[name].image_shape if name in self._priors else None

    def loaded(self, name: str) -> bool:
        """Whether a prior has been asked for."""
        return name in self._priors

    def stats(self) -> Iterator[tuple[str, Counted]]:
        """What all replicas have counted, dead ones among them."""
        calls: Counter[str] = Counter()
        pieces: Counter[str] = Counter()
        for (name, _), counted in list(self._counted.items()):
            calls[name] += counted[0]
            pieces[name] += counted[1]
        for name in self._priors:
            yield name, Counted(calls[name], pieces[name])

    def submit(self, name: str, work: Work, watch: Watch, wait: float = 0.0) -> Away:
        """Hand a run to a replica; blocks until one has taken it in.

        Raises:
            OverloadedError: there is no room for it.
            ClosedError: all are being ended.
            RestorationError, ValueError, TypeError: as ``Engine.submit``.
        """
        if self._closed:
            raise ClosedError("the engines are closed")
        away = Away(self, name, work, watch)
        asyncio.run_coroutine_threadsafe(away.begin(wait), self.loop).result()
        return away

    def close(self) -> None:
        """End all replicas; what they have not finished goes on in the next server."""
        self._closed = True
        self._deployment.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # what a run that is away asks of it

    def stream(self, name: str, work: Work, wait: float) -> Any:
        """What a replica sends of a run, as it comes."""
        return self._deployment.stream(name, work, wait)

    def count(self, name: str, sent: Sent) -> None:
        """Know how much a replica has done."""
        self._counted[name, sent.replica] = sent.calls, sent.pieces

    @property
    def closed(self) -> bool:
        """Whether what is away is no longer waited for."""
        return self._closed


@dataclass(frozen=True)
class Counted:
    """Calls of the network, and images of its size in them."""

    calls: int
    pieces: int


class Away:
    """A run that a replica does; its watcher is told from the loop of :class:`Replicas`.

    Where the replica dies it goes on in another, from the newest state that came back. It is stopped here: what is
    kept is what came back.
    """

    def __init__(self, replicas: Replicas, name: str, work: Work, watch: Watch) -> None:
        self._replicas, self._name, self._work, self._watch = replicas, name, work, watch
        self._began = time.monotonic()
        self._state: NestedState | None = work.state
        self._best: Preview | None = None  # complete, or of the first inner run
        self._over = False
        self._deaths = 0
        self._stream: Any = None
        self._following: asyncio.Task[None] | None = None

    # as a Ticket

    @property
    def state(self) -> NestedState:
        """Where it stands, as far as is known here."""
        assert self._state is not None  # it was taken in
        return self._state

    def cancel(self) -> None:
        """Give it up."""
        self._replicas.loop.call_soon_threadsafe(self._end, CancelledError("the run was cancelled"))

    def stop(self) -> None:
        """Keep the best so far: that is the result."""
        self._replicas.loop.call_soon_threadsafe(self._end, StoppedBy.INTERRUPT)

    # in the loop

    async def begin(self, wait: float) -> None:
        """Find a replica that takes it in."""
        while True:
            try:
                refused = await self._sent_off(self._work, wait)
            except Exception as error:
                await self._mourn(error)
                continue
            if isinstance(refused, Refused):
                raise refused.error or OverloadedError(refused.message, refused.retry_after)
            self._following = asyncio.ensure_future(self._follow())
            return

    async def _sent_off(self, work: Work, wait: float) -> Refused | None:
        """Hand it to a replica; None where it was taken in. Whatever Ray raises where that dies."""
        self._stream = self._replicas.stream(self._name, work, wait)
        first = await anext(self._stream)
        if isinstance(first, Refused):
            return first
        self._hear(first)
        return None

    async def _follow(self) -> None:
        """Hear what happens until it has ended, wherever it goes on meanwhile."""
        while not self._over:
            why: Exception = ClosedError("its engine has ended")
            try:
                async for sent in self._stream:
                    self._hear(sent)
            except Exception as error:  # the replica has died, and Ray has many words for that
                why = error
            while not self._over and not self._replicas.closed:
                try:
                    await self._mourn(why)
                    await self._go_on()
                    break
                except Exception as error:
                    why = error
            if self._replicas.closed:
                return

    async def _mourn(self, error: Exception) -> None:
        """Wait a moment for another replica; where too many have died of this run, it is lost."""
        self._deaths += 1
        _log.warning("a replica was lost (%s); its run goes on elsewhere", type(error).__name__)
        if self._deaths >= DEATHS:
            lost = RestorationError(f"{self._deaths} engines died of it, one after another")
            if self._following is None:
                raise lost
            self._end(lost)
        await asyncio.sleep(AGAIN_S)

    async def _go_on(self) -> None:
        """Hand it to another replica, from where it stands; it was promised, so that late is better than never."""
        if self._over:
            return
        work, state = self._work, self._state
        left = None
        if work.deadline is not None:
            left = max(work.deadline - (time.monotonic() - self._began), 0.001)
        effort = work.effort
        if state is not None and (effort is not None or left is None):
            effort = onward(state)
        refused = await self._sent_off(replace(work, state=state, effort=effort, deadline=left), LONG_S)
        if refused is not None and refused.error is None:
            effort = Budget(LEAST) if state is None else onward(state)
            refused = await self._sent_off(replace(work, state=state, effort=effort, deadline=None), LONG_S)
        if refused is not None:
            self._end(refused.error or OverloadedError(refused.message, refused.retry_after))

    def _hear(self, sent: Sent) -> None:
        self._replicas.count(self._name, sent)
        if self._over:
            return
        event = sent.event
        state = event.preview.state if isinstance(event, Improved) else sent.state
        if self._state is None or (state is not None and state.spent > self._state.spent):
            self._deaths = 0
        self._state = state or self._state
        if isinstance(event, Improved):
            preview = replace(event.preview, elapsed=self._elapsed())
            if preview.complete or self._best is None or not self._best.complete:
                self._best = preview
            event = Improved(preview)
        elif isinstance(event, Ended):
            event = Ended(replace(event.restoration, elapsed=self._elapsed()))
        if event is not None:
            self._over = isinstance(event, Ended | Lost)
            self._tell(event)

    def _end(self, why: StoppedBy | Exception) -> None:
        """End it here, with what has come back; nothing where it has ended."""
        if self._over:
            return
        self._over = True
        if self._stream is not None:
            self._stream.cancel()
        best, state = self._best, self._state
        if isinstance(why, Exception):
            self._tell(Lost(why))
        elif best is None or state is None:
            self._tell(
                Lost(InterruptedError("stopped before the first evaluation had ended: nothing is restored"))
            )
        else:
            done = Restoration(best.image, state.spent, state.total_nfe, self._elapsed(), state.seeds, why, best)
            self._tell(Ended(done))

    def _tell(self, event: Event) -> None:
        try:
            self._watch(event)
        except Exception:
            _log.exception("an event of a run was lost")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
