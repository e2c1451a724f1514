"""What the command shows while it works: a progress bar in evaluations, or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

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

from restoration.events import (
    Advanced,
    Event,
    Failed,
    LeftOut,
    Noted,
    Offered,
    Planned,
    Previewed,
    Restored,
    Skipped,
)

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

    def ask(self, question: str) -> str | None:
        """What somebody answers on stdin, a line; None where it has ended. The bar waits."""
        if self._shown:
            self._bar.stop()
        self.warn(question)
        answer = sys.stdin.readline()
        if self._shown:
            self._bar.start()
        return answer or None

    def show(self, event: Event) -> None:
        """Tell an event: its JSON line on stdout with ``as_json``, else text, or the bar a little longer."""
        if isinstance(event, Advanced):
            wait = event.next_preview_s
            self.advance(event.nfe, "" if wait is None else f"next preview in {wait:.1f} s")
        elif self.as_json:
            line = event.json()
            with _nobody_may_listen():
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        elif isinstance(event, Offered):
            self.say(_offered_in_words(event))
        elif isinstance(event, Planned):
            self.say(_planned_in_words(event))
        elif not isinstance(event, Failed):  # that is told by whoever decides whether to go on
            self.say(_in_words(event))

    @contextmanager
    def bar(self, name: str, total_nfe: int) -> Iterator[None]:
        """A bar of so many evaluations while the block runs."""
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        self._task = self._bar.add_task(short, total=total_nfe, next_preview="")
        try:
            yield
        finally:
            self._bar.remove_task(self._task)
            self._task = None

    def advance(self, nfe: int, text: str = "") -> None:
        """Show how many evaluations of the bar's have been made."""
        if self._task is not None:
            with _nobody_may_listen():
                self._bar.update(self._task, completed=nfe, next_preview=text)


def _in_words(event: Previewed | Restored | Skipped | Noted | LeftOut) -> str:
    name = Path(event.input).name
    if isinstance(event, Noted):
        return f"{name}: {event.message}"
    if isinstance(event, LeftOut):
        return f"{event.input} is left out: it {event.message}"
    if isinstance(event, Skipped):
        return f"{name}: {event.path} is done; skipped (--overwrite redoes it)"
    spent, change = f"{event.nfe} of {event.total_nfe} evaluations", event.expected_change
    told = f", PSNR {event.scores['psnr']:.2f} dB" if "psnr" in event.scores else ""
    told += f", SSIM {event.scores['ssim']:.3f}" if "ssim" in event.scores else ""
    if "reencoded" in event.scores:
        told += f", re-encodes to {event.scores['reencoded']:.2%} of its coefficients"
    if isinstance(event, Previewed) and change:
        told += f", expected to change by about {change:.2g}"
    told += "" if event.path is None else f" → {event.path}"
    if isinstance(event, Previewed):
        return f"{name}: preview at {spent}, {event.elapsed:.1f} s{told}"
    told += "" if event.certainty is None else f"; {event.certainty.words()}"
    if event.stopped_by == "finished":
        return f"{name}: {spent}, {event.elapsed:.1f} s, seed {event.seeds[0]}{told}"
    why = event.stopped_by.replace("_", " ")
    return f"{name}: stopped at {spent} ({why}), seed {event.seeds[0]}{told}"


def _offered_in_words(event: Offered) -> str:
    change = event.expected_change
    told = f", expected to change by about {change:.2g}" if change else ""
    spent = f"{event.nfe} of {event.total_nfe} evaluations"
    return f"{Path(event.input).name}: {event.candidates} candidates at {spent} each{told} → {event.path}"


def _planned_in_words(event: Planned) -> str:
    plan, name = event.plan, Path(event.input).name
    pace = f"{plan.evaluation:.3g} s an evaluation, {plan.first:.3g} s the first"
    if not plan.previews:
        return f"{name}: nothing by {plan.seconds:g} s: {pace}"
    steps = ",".join(map(str, plan.allocation))
    lines = [f"{name}: {plan.nfe} evaluations by {plan.seconds:g} s, {pace}: --allocation {steps}"]
    for seen in plan.previews:
        what = "preview" if seen.complete else "what an unfinished inner run shows"
        change = seen.expected_change
        told = f", expected to change by about {change:.2g}" if change else ""
        lines.append(f"  after {seen.elapsed:.2f} s: {what} at {seen.nfe} of {sum(plan.allocation)}{told}")
    return "\n".join(lines)
