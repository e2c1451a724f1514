"""Stopping when the user says so, with what has been reached."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that a signal ended before all was done."""


@dataclass
class Interrupt:
    """Whether the user has asked to stop. The first Ctrl-C asks, the second insists.

    Args:
        answer: what is said on stderr at once; nothing where it is empty.
    """

    answer: str = ""
    asked: bool = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen for SIGINT, SIGTERM and SIGHUP (but under nohup) while the block runs."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True
            if self.answer:
                with suppress(OSError):  # not by a stream, which may be in the middle of a line
                    os.write(2, f"\n{self.answer}\n".encode())

        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
