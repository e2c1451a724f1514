"""Many inputs over the devices of a cluster, with Ray: each is restored by one worker, as if it were alone.

Workers read the inputs and write the results, whole or not at all, so that every machine must see them at the same
paths. What a worker that dies had begun is done again by another; what was finished stands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from restoration.cluster import TRIES, Crew, connected, count_of, kind_of, require_ray, share_of
from restoration.commands import console, scans
from restoration.commands.delivery import Delivery
from restoration.commands.display import Display
from restoration.commands.interrupt import Interrupt
from restoration.commands.prepared import Tally
from restoration.commands.settings import Settings
from restoration.errors import RestorationError
from restoration.events import Advanced, Event, Noted, Output, Previewed, Restored, Told
from restoration.pictures.picture import Picture

HEARD_EVERY_S = 0.1
"""How soon a Ctrl-C is heard."""


@dataclass(frozen=True)
class Done:
    """What became of an input.

    Args:
        told: events, without their pictures, and lines of warning, in order.
        failed: why there is no result; None where there is one.
        unfinished: it was interrupted before its first evaluation had ended.
    """

    told: tuple[Told | str, ...]
    failed: str | None = None
    unfinished: bool = False


class _Notes(Display):
    """Keeps what would be shown, for whoever started the worker."""

    def __init__(self) -> None:
        super().__init__(as_json=True)  # no bar
        self.kept: list[Told | str] = []

    def warn(self, text: str) -> None:
        """Keep a line."""
        self.kept.append(text)

    def show(self, event: Event) -> None:
        """Keep an event, without its pictures: those are in their files."""
        if isinstance(event, Advanced):
            return
        if isinstance(event, Previewed):
            event = replace(event, output=Output(event.output.suffix, Picture(torch.zeros(1, 1, 1)), {}))
        elif isinstance(event, Restored):
            event = replace(event, outputs=())
        self.kept.append(event)


class Worker:
    """What runs in each process.

    Args:
        settings: the command's.
        folder: that its paths begin from.
        threads: of PyTorch.
    """

    def __init__(self, settings: Settings, folder: Path, threads: int) -> None:
        os.environ.setdefault("MKL_CBWR", "AUTO")  # as our commands: a seed repeats a picture
        self._settings, self._folder, self._threads = settings, folder, threads
        self._stopped = False

    def prepare(self) -> int:
        """Load the prior; the process id. RestorationError, ValueError or OSError where that cannot be."""
        from restoration.commands.job import recipe_of, task_of

        torch.set_num_threads(self._threads)
        try:
            os.chdir(self._folder)
            self._recipe = recipe_of(self._settings, task_of(self._settings.task))
        except OSError as error:  # in one line, whatever machine it is on
            raise RestorationError(console.mendable("restore", error) or str(error)) from None
        return os.getpid()

    def restore(self, delivery: Delivery) -> Done:
        """Restore an input, and write what comes of it."""
        from restoration.commands.job import prepared_of

        torch.set_num_threads(self._threads)  # Ray may call this in another thread
        notes = _Notes()
        try:
            prepared = prepared_of(self._settings, self._recipe, delivery, display=notes)
            if prepared is not None:

                def watch(event: Event) -> bool:
                    prepared.tell(event)
                    return self._stopped

                prepared.session.run(watch, lambda: self._stopped)
        except InterruptedError as error:
            return Done(tuple(notes.kept), str(error), unfinished=True)
        except Exception as error:
            message = console.mendable("restore", error)
            if message is None:
                raise
            return Done(tuple(notes.kept), message)
        return Done(tuple(notes.kept))

    def stop(self) -> None:
        """Keep the best so far of what is under way."""
        self._stopped = True


class Sharded:
    """Inputs that workers restore.

    Args:
        settings: the command's, with its ``workers``.
        deliveries: of every input.
        display, interrupt, tally: where things are shown, who stops, and what failed.
    """

    def __init__(
        self,
        settings: Settings,
        deliveries: Sequence[Delivery],
        display: Display,
        interrupt: Interrupt,
        tally: Tally,
    ) -> None:
        require_ray()
        self._settings, self._deliveries = settings, deliveries
        self._display, self._interrupt, self._tally = display, interrupt, tally
        self.workers: dict[Any, int] = {}  # and their process ids
        self._once = scans.Once()  # a worker tells it with every scan
        self._stopped = self._nothing = False

    def restore(self) -> int | None:
        """Restore them; None, or how many are left where it was interrupted before their end.

        Raises:
            WorkerError: no worker can be had.
            RestorationError, ValueError: what no input could be restored with.
        """
        left, total = len(self._deliveries), sum(self._settings.effort.steps)
        ray = connected()
        try:
            share = share_of(ray, kind_of(self._settings.prior.device, ray), count_of(self._settings.workers))
            remote = ray.remote(Worker).options(**share.resources, max_restarts=0, max_concurrency=2)
            folder = Path.cwd()
            crew: Crew[Delivery] = Crew(
                ray,
                lambda: remote.remote(self._settings, folder, share.threads),
                share.count,
                self.workers.__setitem__,
                lambda worker: self.workers.pop(worker, None),
            )
            with self._display.bar(f"{left} inputs", left * total):
                work = crew.work(
                    self._deliveries,
                    lambda worker, delivery: worker.restore.remote(delivery),
                    _gave_up,
                    more=self._goes_on,
                    patience=HEARD_EVERY_S,
                )
                for delivery, done in work:
                    left -= 1
                    self._display.advance((len(self._deliveries) - left) * total)
                    self._tell(delivery, done)
        finally:
            self.workers.clear()
            ray.shutdown()
        return left if self._interrupt.asked and (left or self._nothing) else None

    def _goes_on(self) -> bool:
        if self._interrupt.asked and not self._stopped:
            self._stopped = True
            for worker in self.workers:
                worker.stop.remote()
        return not self._interrupt.asked

    def _tell(self, delivery: Delivery, done: Done) -> None:
        for one in done.told:
            if isinstance(one, str):
                self._display.warn(one)
            elif not isinstance(one, Noted) or self._once.passes(one.message):
                self._display.show(one)
        if done.failed is None:
            return
        if done.unfinished:
            self._nothing = True
            self._tally.unfinished(delivery, InterruptedError(done.failed))
        else:
            self._tally.lost(delivery, RestorationError(done.failed))


def _gave_up(delivery: Delivery, why: str) -> Done:
    return Done((), f"{delivery.file}: {TRIES} workers failed on it, the last with: {why}")
