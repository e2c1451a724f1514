"""The part of a service that Ray runs, once a device: engines that take runs in and send back what they reach."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from nested import NestedState
from restoration.errors import RestorationError
from restoration.service.pool import Pool
from restoration.service.ticket import Ticket
from restoration.service.work import ClosedError, Ended, Event, Improved, Lost, OverloadedError, Work

V = TypeVar("V")


@dataclass(frozen=True)
class Asked:
    """What a replica keeps ready.

    Args:
        priors, device, precision, batch, most: as :class:`Pool` takes them.
        threads: of PyTorch on a CPU.
    """

    priors: tuple[str, ...]
    device: str
    precision: str
    batch: int | None
    most: int
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Sent:
    """What a replica sends of a run: that it was taken in, then every event; tensors are on the CPU.

    Args:
        event: what happened; None of a run that was just taken in.
        state: where the run stands then; None of an ``Improved``, which holds it.
        replica: which one, by its process.
        calls, pieces: of the network that it has made for this prior so far.
    """

    event: Event | None
    state: NestedState | None
    replica: int
    calls: int
    pieces: int


@dataclass(frozen=True)
class Refused:
    """A run was not taken in.

    Args:
        error: why, where it is the run's own fault; None where there is no room.
        message, retry_after: as of ``OverloadedError``.
    """

    error: Exception | None
    message: str
    retry_after: float | None = None


class Replica:
    """Engines on one device. Ray makes it, and calls its methods in an event loop.

    Args:
        asked: what is kept ready; the first prior is loaded at once.
    """

    def __init__(self, asked: Asked) -> None:
        os.environ.setdefault("MKL_CBWR", "AUTO")  # as our commands: a seed repeats a picture
        torch.set_num_threads(asked.threads)
        self._pool = Pool(
            asked.priors, device=asked.device, precision=asked.precision, batch=asked.batch, most=asked.most
        )
        self._pool.engine(self._pool.names[0])

    async def restore(self, name: str, work: Work, wait: float) -> AsyncIterator[Sent | Refused]:
        """Do a run with the prior of a name: what happens, as it happens. Who leaves cancels it.

        Args:
            name: of the prior, as ``Pool`` knows it.
            work: with a deadline that counts from now; tensors on the CPU.
            wait: seconds for which to wait for an engine.
        """
        events = _Events(asyncio.get_running_loop())
        ticket: Ticket | None = None
        try:
            try:
                ticket = await asyncio.to_thread(self._submit, name, work, wait, events)
            except OverloadedError as error:
                yield Refused(None, str(error), error.retry_after)
                return
            except Exception as error:
                yield Refused(sendable(error), str(error))
                return
            yield self._sent(name, None, ticket)
            while True:
                event = await events.next()
                if isinstance(event, Lost):
                    if isinstance(event.error, ClosedError):
                        return  # of this engine alone: another goes on
                    event = Lost(sendable(event.error))
                yield self._sent(name, event, ticket)
                if isinstance(event, Ended | Lost):
                    ticket = None
                    return
        finally:
            if ticket is not None:
                ticket.cancel()

    def _submit(self, name: str, work: Work, wait: float, events: _Events) -> Ticket:
        began = time.monotonic()
        device = self._pool.engine(name, wait).prior.device
        state = None if work.state is None else on_device(work.state, device)
        work = replace(work, measurement=work.measurement.to(device), state=state)
        if work.deadline is not None:
            work = replace(work, deadline=max(work.deadline - (time.monotonic() - began), 0.001))
        return self._pool.submit(name, work, events.put, wait)

    def _sent(self, name: str, event: Event | None, ticket: Ticket) -> Sent:
        stats = dict(self._pool.stats()).get(name)
        calls, pieces = (0, 0) if stats is None else (stats.calls, stats.pieces)
        state = None if isinstance(event, Improved) else on_device(ticket.state)
        return Sent(None if event is None else on_device(event), state, os.getpid(), calls, pieces)


class _Events:
    """What an engine's thread tells, for a loop that may be behind: unfinished previews give way to newer ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._there = loop, asyncio.Event()
        self._waiting: deque[Event] = deque()

    def put(self, event: Event) -> None:
        """Take one, from any thread."""
        self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if isinstance(event, Improved):
            newest = self._waiting[-1] if self._waiting else None
            if isinstance(newest, Improved) and not newest.preview.complete:
                self._waiting.pop()
        self._waiting.append(event)
        self._there.set()

    async def next(self) -> Event:
        """The oldest that waits; waits for one."""
        while not self._waiting:
            self._there.clear()
            await self._there.wait()
        return self._waiting.popleft()


def on_device(value: V, device: torch.device | str = "cpu") -> V:
    """A frozen value with its tensors on another device, but for the states of generators."""
    return _moved(value, torch.device(device))  # type: ignore[no-any-return]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _moved(getattr(value, field.name), device) for field in fields(value) if field.init}
        if isinstance(value, NestedState):
            parts["noise"] = value.noise  # bytes, of the device that draws
        return replace(value, **parts)
    return value


def sendable(error: Exception) -> Exception:
    """An error that another process can read: of a kind that it can tell apart, with the same words."""
    kinds = (InterruptedError, OSError, ValueError, TypeError, MemoryError, RestorationError)
    for kind in kinds:
        if isinstance(error, kind):
            return kind(str(error))
    return RuntimeError(f"{type(error).__name__}: {error}")
