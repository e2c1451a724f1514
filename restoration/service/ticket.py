"""What whoever submitted a run holds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nested import NestedState
from nested.effort import Effort
from restoration.restorer import Preview, Restoration, StoppedBy
from restoration.service.running import Running
from restoration.service.work import CancelledError, Plan

if TYPE_CHECKING:
    from restoration.service.engine import Engine


class Held(Protocol):
    """A run that was taken in, here or elsewhere: what a server needs of it."""

    @property
    def state(self) -> NestedState:
        """Where it stands."""
        ...

    def cancel(self) -> None:
        """Give it up."""
        ...

    def stop(self) -> None:
        """Keep the best so far."""
        ...


class Ticket:
    """A run that an engine has taken in. Methods may be called from any thread; none waits but ``result``.

    Attributes:
        id: rises with every run of the engine; for people and programs that are trusted.
    """

    def __init__(self, engine: Engine, running: Running) -> None:
        self._engine, self._running = engine, running
        self.id = running.id

    @property
    def pieces(self) -> int:
        """Images of the network's size in one evaluation: tiles, of every sample."""
        return self._running.per_evaluation

    def cancel(self) -> None:
        """Give it up: its places are free at the next call, :meth:`result` raises ``CancelledError``."""
        self._engine.end(self._running, CancelledError("the run was cancelled"))

    def stop(self) -> None:
        """Keep the best so far: that is the result, at the next call (``StoppedBy.INTERRUPT``)."""
        self._engine.end(self._running, StoppedBy.INTERRUPT)

    @property
    def best(self) -> Preview | None:
        """What it would return if it were stopped now; None before the first evaluation."""
        return self._running.best

    @property
    def state(self) -> NestedState:
        """Where it stands: a value that can be saved and goes on, also of a run that has ended or was lost."""
        return self._running.run

    @property
    def plan(self) -> Plan:
        """What can be expected of it, as things stand."""
        return self._engine.plan_of(self._running)

    @property
    def done(self) -> bool:
        """Whether it has ended, with a result or without."""
        return self._running.over.is_set()

    def result(self, timeout: float | None = None) -> Restoration:
        """Wait for its end.

        Args:
            timeout: seconds at most; None is as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            CancelledError, ClosedError, and whatever made it fail: there is no result.
        """
        if not self._running.over.wait(timeout):
            raise TimeoutError(f"the run has not ended after {timeout} s")
        outcome = self._running.outcome
        if isinstance(outcome, Restoration):
            return outcome
        assert outcome is not None
        raise outcome

    def drop_deadline(self) -> None:
        """Let it take as long as it takes, if it has not ended: all that is planned at most is then done."""
        self._engine.drop_deadline(self._running)

    def more(self, effort: Effort | None = None, deadline: float | None = None) -> None:
        """Go on, after its end or before: further inner runs from where it stands, told to the same watcher.

        A finished run is taken up again at half its last outer level, with new noise of its own stream.

        Args:
            effort: of the further inner runs; None is as much again as an engine plans for a run.
            deadline: seconds from now; None is as long as it takes.

        Raises:
            ValueError: no noise level is left to go on from, or more evaluations than levels.
            OverloadedError: nothing can be had by that deadline.
            ClosedError: the engine does no more work.
        """
        self._engine.more(self._running, effort, deadline)
