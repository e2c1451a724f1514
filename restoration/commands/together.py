"""Several inputs at once: their runs share calls of the network."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from nested import Adaptive, Fixed
from restoration.commands.delivery import Delivery
from restoration.commands.display import Display
from restoration.commands.interrupt import Interrupt
from restoration.commands.prepared import Prepare, Prepared, Tally
from restoration.errors import ImageError
from restoration.events import Advanced, Event
from restoration.medical.volume import Volume
from restoration.recipe import Recipe
from restoration.service.engine import Engine
from restoration.service.ticket import Ticket
from restoration.service.work import Ended, Improved, Lost, Work
from restoration.service.work import Event as Told
from restoration.session import Session

AHEAD = 2
"""So many times the pictures of a call are under way, so that a call is full while some are read and written."""
HEARD_EVERY_S = 0.1
"""How soon a Ctrl-C is heard."""


@dataclass
class _Running:
    delivery: Delivery
    prepared: Prepared
    ticket: Ticket
    spent: int = 0


class Together:
    """Inputs whose runs share calls of the network.

    Args:
        recipe: what they share.
        deliveries: of every input.
        prepare: reads one.
        display, interrupt, tally: where things are shown, who stops, and what failed.
    """

    def __init__(
        self,
        recipe: Recipe,
        deliveries: Sequence[Delivery],
        prepare: Prepare,
        display: Display,
        interrupt: Interrupt,
        tally: Tally,
    ) -> None:
        self._recipe, self._prepare, self._display = recipe, prepare, display
        self._interrupt, self._tally = interrupt, tally
        self._waiting = list(enumerate(deliveries))
        self._running: dict[int, _Running] = {}
        self._told: queue.SimpleQueue[tuple[int, Told]] = queue.SimpleQueue()
        self._spent = self._nothing = 0  # evaluations, and inputs that were stopped before their first

    def restore(self, batch: int | None) -> int | None:
        """Restore them; None, or how many are left where it was interrupted before their end.

        Args:
            batch: pieces in a call of the network at most; None measures how many pay.
        """
        inputs, evaluations = len(self._waiting), sum(self._recipe.effort.steps)
        with (
            Engine(self._recipe.prior, batch="auto" if batch is None else batch) as engine,
            self._display.bar(f"{inputs} inputs", inputs * evaluations),
        ):
            try:
                while self._running or (self._waiting and not self._interrupt.asked):
                    while self._waiting and not self._interrupt.asked and self._has_room(engine):
                        self._begin(*self._waiting.pop(0), engine)
                    if self._interrupt.asked:
                        for one in self._running.values():
                            one.ticket.stop()
                    with suppress(queue.Empty):
                        self._hear(*self._told.get(timeout=HEARD_EVERY_S))
            finally:
                for one in self._running.values():  # an error is under way: what is left is not waited for
                    one.ticket.cancel()
        stopped = self._interrupt.asked and (self._waiting or self._nothing)
        return len(self._waiting) if stopped else None

    def _has_room(self, engine: Engine) -> bool:
        pieces = sum(one.ticket.pieces for one in self._running.values())
        return pieces < AHEAD * engine.batch and len(self._running) < engine.policy.most_runs

    def _begin(self, i: int, delivery: Delivery, engine: Engine) -> None:
        try:
            prepared = self._prepare(delivery)
            if prepared is not None and isinstance(prepared.session.given, Volume):
                raise ImageError("is a scan of several slices, which are a batch themselves: leave --batch away")
            if prepared is not None:
                ticket = engine.submit(_work(prepared.session), lambda event: self._told.put((i, event)))
                self._running[i] = _Running(delivery, prepared, ticket)
        except Exception as error:
            self._tally.lost(delivery, error)

    def _hear(self, i: int, event: Told) -> None:
        one = self._running.get(i)
        if one is None:
            return  # it has failed before
        if isinstance(event, Ended | Lost):
            del self._running[i]
        try:
            for known in _known(one.prepared.session, event):
                one.prepared.tell(self._counted(one, known))
        except InterruptedError as error:
            self._nothing += 1
            self._tally.unfinished(one.delivery, error)
        except Exception as error:
            one.ticket.cancel()
            self._running.pop(i, None)
            self._tally.lost(one.delivery, error)

    def _counted(self, one: _Running, event: Event) -> Event:
        """Evaluations are told of all inputs together, as the bar is of all."""
        if not isinstance(event, Advanced):
            return event
        self._spent, one.spent = self._spent + event.nfe - one.spent, event.nfe
        return replace(event, nfe=self._spent, next_preview_s=None)


def _work(session: Session) -> Work:
    recipe, spending = session.recipe, session.recipe.spending
    return Work(
        session.problem.measurement,
        recipe.sampler,
        session.seeds[0],
        spending if isinstance(spending, Adaptive) else Fixed(spending),
        max_nfe=recipe.effort.max_nfe,
        samples=recipe.effort.samples,
        overlap=recipe.tiles.overlap,
        every=True,
    )


def _known(session: Session, event: Told) -> list[Event]:
    """What an engine's event is to a session's watcher.

    Raises:
        Exception: the run was lost to it.
    """
    events: list[Event] = []
    if isinstance(event, Improved):
        session.watched(event.preview, events.append)
    elif isinstance(event, Ended):
        events.append(session.restored(event.restoration))
    elif isinstance(event, Lost):
        raise event.error
    return events
