"""An input on its way: what is ready to be restored, and what is said of one that could not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restoration.commands import console
from restoration.commands.delivery import Delivery
from restoration.commands.display import Display
from restoration.events import Event, Failed
from restoration.session import Session

if TYPE_CHECKING:
    from restoration.commands.steer import Steering


@dataclass(frozen=True)
class Prepared:
    """An input that is ready to be restored.

    Args:
        session: its restoration.
        tell: writes and shows what an event brings.
        steered: who chooses among its candidates, in place of the session; never of several inputs at once.
    """

    session: Session
    tell: Callable[[Event], None]
    steered: Steering | None = None


Prepare = Callable[[Delivery], Prepared | None]
"""Reads an input; None where its result is there already."""


@dataclass
class Tally:
    """Inputs that could not be restored, and what is said of them.

    Args:
        display: shows it.
        batch: there are others, which go on; else the error is raised.
    """

    display: Display
    batch: bool
    failed: int = 0

    def lost(self, delivery: Delivery, error: Exception) -> None:
        """An input has failed. Raises what is no user's to mend, or the only input's error."""
        name, message = str(delivery.file), console.mendable("restore", error)
        if message is None:
            raise error
        self.display.show(Failed(name, message))
        if not self.batch:
            raise error
        self.failed += 1
        self.display.warn(f"restore: {message}" if name in message else f"restore: {name}: {message}")

    def unfinished(self, delivery: Delivery, error: InterruptedError) -> None:
        """An input was interrupted before its first evaluation had ended."""
        self.display.show(Failed(str(delivery.file), str(error)))
        self.display.warn(f"restore: {delivery.file}: {error}")
