"""What ``restore-train`` shows: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from restoration.training.trainer import Trainer

BETWEEN = 60.0
"""Seconds between two lines where there is no terminal."""
RECENT = 20
"""Stretches that the loss shown is the mean of."""


class Display:
    """Text on stderr, on the main process only."""

    def __init__(self, main: bool) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not main)
        self._bar = Progress(
            BarColumn(), TextColumn("{task.description}", markup=False), console=self.console, transient=True
        )
        self._shown = self.console.is_terminal and main
        self._told = 0.0
        self._speed: list[tuple[float, int]] = []

    def __enter__(self) -> Display:
        if self._shown:
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0, visible=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def reading(self, done: int, total: int) -> None:
        """How many pictures have been read."""
        if self._shown:
            self._bar.update(self._task, completed=done / total, description=f"{done} of {total}", visible=True)
        elif time.monotonic() - self._told >= BETWEEN and self._told:
            self.say(f"{done} of {total} read")
        self._told = self._told or time.monotonic()

    def begin(self, trainer: Trainer) -> None:
        """Where training starts, from which its pace is told."""
        self._speed = [(trainer.progress.seconds, trainer.progress.images)]

    def advance(self, trainer: Trainer) -> None:
        """Where training is, at what pace, and how long it takes yet."""
        text, share = self._text(trainer), trainer.recipe.share(trainer.progress)
        if self._shown:
            self._bar.update(self._task, completed=share, description=text, visible=True)
        elif time.monotonic() - self._told >= BETWEEN or share == 1:
            self._told = time.monotonic()
            self.say(text)

    def _text(self, trainer: Trainer) -> str:
        progress, recipe = trainer.progress, trainer.recipe
        self._speed = [*self._speed[-RECENT:], (progress.seconds, progress.images)]
        (before, had), (now, have) = self._speed[0], self._speed[-1]
        pace = (have - had) / max(now - before, 1e-9)
        share = recipe.share(progress)
        left = recipe.seconds - now if recipe.steps is None else now * (1 - share) / share
        losses = progress.losses[-RECENT:]
        return (
            f"step {progress.step}, {progress.images} images, {pace:.0f} images/s, "
            f"loss {sum(losses) / len(losses):.4f}, {max(left, 0) / 60:.0f} min left"
        )
