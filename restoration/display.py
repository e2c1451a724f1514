"""What the command shows while it works: a progress bar in evaluations, or JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from restoration.restorer import Preview

LONGEST_NAME = 20


@contextmanager
def _nobody_may_listen() -> Iterator[None]:
    """What is told is a courtesy: a reader that has gone (``| head -1``, a closed window) costs no result."""
    with suppress(OSError, ValueError, AttributeError):  # AttributeError: a stream closed by the shell is None
        yield


class DownloadBar:
    """A progress bar in bytes on stderr once something is downloaded; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._shown = console.is_terminal
        self._task: TaskID | None = None

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._bar.stop()

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Show how many bytes of a file have come."""
        if not self._shown:
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(name)
        self._bar.update(self._task, completed=done, total=total)


class Display:
    """Human text and a progress bar on stderr; with ``as_json`` only JSON, a line an event, on stdout."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} evaluations"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[next_preview]}"),
            console=self.console,
            transient=True,
        )
        self._shown = self.console.is_terminal and not as_json
        self._task: TaskID | None = None

    def __enter__(self) -> Display:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line for people; nothing in JSON mode."""
        if not self.as_json:
            self.warn(text)

    def warn(self, text: str) -> None:
        """One line on stderr in either mode."""
        with _nobody_may_listen():
            self.console.print(text, markup=False)

    def event(self, event: str, **facts: Any) -> None:
        """One JSON object on stdout; nothing without ``as_json``."""
        if self.as_json:
            with _nobody_may_listen():
                sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
                sys.stdout.flush()

    def begin(self, name: str, total_nfe: int) -> None:
        """A new bar."""
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        self._task = self._bar.add_task(short, total=total_nfe, next_preview="")

    def advance(self, preview: Preview, allocation: tuple[int, ...], spent_before: int) -> None:
        """Move the bar, and tell when the next preview comes at the pace so far."""
        if self._task is None:
            return
        ends = [sum(allocation[: i + 1]) for i in range(len(allocation))]
        pace = preview.elapsed / max(preview.nfe - spent_before, 1)
        coming = next((end for end in ends if end > preview.nfe), None)
        text = "" if coming is None else f"next preview in {(coming - preview.nfe) * pace:.1f} s"
        with _nobody_may_listen():
            self._bar.update(self._task, completed=preview.nfe, next_preview=text)

    def finish(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
