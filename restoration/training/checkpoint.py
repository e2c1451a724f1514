"""Training state on disk: numbered folders that appear whole, the newest of which is gone on from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from nested.files import atomic_write
from nested.reading import conform, read_json
from restoration.errors import OutputError, first_line

RUN = "run.json"
UNWRITABLE = (OSError, RuntimeError, SafetensorError)
"""What a full disk is called by Python, by ``torch.save`` and by safetensors."""


@contextmanager
def alone(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Keep other runs out of a folder of checkpoints while the block runs; it is made if it is not there.

    Raises:
        OutputError: another run is in it, or it cannot be written; in all processes of the run.
    """
    told: list[str | None] = [None]
    made = [path for path in (folder, folder.parent) if not path.exists()]
    lock = FileLock(folder / ".lock")
    if accelerator.is_main_process:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            told = [f"another restore-train is at work in {folder.parent}: wait for it, or choose another -o"]
        except OSError as error:
            told = [f"{folder} cannot be written: {error.strerror or error}"]
    broadcast_object_list(told)
    if told[0] is not None:
        raise OutputError(told[0])
    try:
        yield
    finally:
        if accelerator.is_main_process:
            lock.release()
            if made and {path.name for path in folder.iterdir()} <= {".lock"}:  # nothing was begun
                with suppress(OSError):
                    (folder / ".lock").unlink()
                    for path in made:
                        path.rmdir()


class Checkpoints:
    """Those of one run, in one folder. All processes of the run call every method together.

    Args:
        folder: made if it is not there.
        settings: what a run cannot change on its way, by the names its user knows.

    Raises:
        OutputError: the folder is another run's, or cannot be written.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, settings: dict[str, Any]) -> None:
        self.folder, self._accelerator = folder, accelerator
        record = folder / RUN
        before: dict[str, Any] = {}

        def begin() -> None:
            if not record.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                text = json.dumps(settings, indent=2) + "\n"
                atomic_write(record, lambda file: file.write(text.encode()))

        self._on_main(begin, f"{record} cannot be written")
        try:
            before = conform(read_json(record), dict[str, Any])
        except (OSError, ValueError) as error:
            raise OutputError(f"{record} cannot be read: {first_line(error)}") from None
        for name, value in settings.items():
            if before.get(name) != value:
                raise OutputError(
                    f"{folder.parent} was begun with {name} {before.get(name)}, not {value}: "
                    "repeat its command to go on, or choose another -o"
                )

    def load(self, read: Callable[[Path], object]) -> None:
        """Restore the newest, if there is one: accelerate's part, and by `read` the rest.

        Raises:
            OutputError: it is damaged.
        """
        newest = max(self._all(), default=None)
        if newest is None:
            return
        try:
            self._accelerator.load_state(str(newest))
            read(newest)
        except Exception as error:  # torch, safetensors and accelerate each raise their own
            raise OutputError(f"{newest} is damaged ({first_line(error)}): delete it to begin anew") from None

    def save(self, step: int, write: Callable[[Path], object]) -> None:
        """Store what accelerate knows and, by `write`, the rest; then remove older ones.

        Raises:
            OutputError: it cannot be written; the one before stays.
        """
        made, final = self.folder / ".part", self.folder / f"step-{step:08d}"
        fails = f"{final} cannot be written"

        def begin() -> None:
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()

        def end() -> None:
            write(made)
            older = self._all()
            for path in made.iterdir():  # a power cut must not leave a checkpoint that is there but empty
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            made.rename(final)
            for path in older:
                shutil.rmtree(path, ignore_errors=True)

        self._on_main(begin, fails)
        try:
            self._accelerator.save_state(str(made))
        except UNWRITABLE as error:
            raise OutputError(f"{fails}: {first_line(error)}") from None
        self._accelerator.wait_for_everyone()
        self._on_main(end, fails)

    def _on_main(self, do: Callable[[], object], fails: str) -> None:
        """Do it on the main process; its failure is everyone's, so that nobody waits for one that has gone."""
        told: list[str | None] = [None]
        if self._accelerator.is_main_process:
            try:
                do()
            except UNWRITABLE as error:
                told = [f"{fails}: {getattr(error, 'strerror', None) or first_line(error)}"]
        broadcast_object_list(told)
        if told[0] is not None:
            raise OutputError(told[0])

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name)]
