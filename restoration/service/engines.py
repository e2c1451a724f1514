"""An engine for every prior that is asked for: loaded on demand, a few at a time."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from degradations.arguments import whole
from restoration.service.engine import Batch, Engine
from restoration.service.planning import Policy
from restoration.service.ticket import Ticket
from restoration.service.work import ClosedError, OverloadedError, Watch, Work
from solvers import Prior

RETRY_S = 5.0
"""When to ask again where all engines are at work."""
ASKED_EVERY_S = 0.2
"""How often one is looked for while somebody waits."""


class Engines:
    """One running engine a prior; where there are too many, the one that was not asked for the longest goes.

    Args:
        load: the prior of a name; what it raises, :meth:`engine` raises.
        most: engines that are there at once at most: each holds a network in memory.
        batch, policy: of every engine.

    Raises:
        ValueError: ``most`` below 1.
    """

    def __init__(
        self, load: Callable[[str], Prior], *, most: int = 2, batch: Batch = "auto", policy: Policy | None = None
    ) -> None:
        whole("most", most, 1)
        self._load, self._most, self._batch, self._policy = load, most, batch, policy
        self._engines: OrderedDict[str, Engine] = OrderedDict()  # the one asked for last is the last
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._coming, self._closed = 0, False

    def submit(self, name: str, work: Work, watch: Watch | None = None, wait: float = 0.0) -> Ticket:
        """Take in a run with the prior of that name; see :meth:`engine` and :meth:`Engine.submit`."""
        while True:
            engine = self.engine(name, wait)
            with suppress(ClosedError):  # it had to go between the two
                return engine.submit(work, watch)

    def engine(self, name: str, wait: float = 0.0) -> Engine:
        """The running engine of a prior. Where it must be loaded first, that takes seconds; others do not wait.

        Args:
            wait: seconds for which to wait where too many are there, and all have work.

        Raises:
            OverloadedError: they still have.
            ClosedError: all were closed.
            Whatever loading raises.
        """
        end = time.monotonic() + wait
        while True:
            try:
                return self._engine(name)
            except OverloadedError:
                if time.monotonic() >= end:
                    raise
                time.sleep(ASKED_EVERY_S)

    def _engine(self, name: str) -> Engine:
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            with self._lock:
                if self._closed:
                    raise ClosedError("the engines are closed")
                there = self._engines.get(name)
                if there is not None and there.alive:
                    self._engines.move_to_end(name)
                    return there
                self._engines.pop(name, None)  # it broke
                gone = self._make_room()
                self._coming += 1
            engine = None
            try:
                if gone is not None:
                    gone.close(drain=math.inf)  # a run may have come since it was found idle: it ends as promised
                engine = Engine(self._load(name), batch=self._batch, policy=self._policy).start()
            finally:
                with self._lock:
                    self._coming -= 1
                    if engine is not None and not self._closed:
                        self._engines[name] = engine
            if self._closed:
                engine.close()
                raise ClosedError("the engines are closed")
            return engine

    @property
    def running(self) -> dict[str, Engine]:
        """Those that are there, the one asked for last at the end."""
        with self._lock:
            return dict(self._engines)

    def close(self, drain: float = 0.0) -> None:
        """Close all, at the same time; see :meth:`Engine.close`."""
        with self._lock:
            self._closed = True
            engines = list(self._engines.values())
            self._engines.clear()
        closing = [threading.Thread(target=engine.close, args=(drain,)) for engine in engines]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(drain=0.0 if error is not None else math.inf)

    def _make_room(self) -> Engine | None:
        """Take out the idle engine that was not asked for the longest, where there is no room for another."""
        if len(self._engines) + self._coming < self._most:
            return None
        idle = next((name for name, engine in self._engines.items() if not engine.stats.runs), None)
        if idle is None:
            raise OverloadedError(f"{self._most} priors are at work, and no more fit in memory", RETRY_S)
        return self._engines.pop(idle)
