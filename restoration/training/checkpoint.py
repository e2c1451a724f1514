"""Training state on disk: numbered folders that appear whole, the newest of which is gone on from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from nested.files import atomic_write
from restoration.errors import OutputError, first_line


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
        record = folder / "run.json"
        try:
            if accelerator.is_main_process and not record.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                text = json.dumps(settings, indent=2) + "\n"
                atomic_write(record, lambda file: file.write(text.encode()))
            accelerator.wait_for_everyone()
            before = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{record} cannot be used: {getattr(error, 'strerror', None) or error}") from None
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
        main = self._accelerator.is_main_process
        try:
            if main:
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
            self._accelerator.wait_for_everyone()
            self._accelerator.save_state(str(made))
            if main:
                write(made)
            self._accelerator.wait_for_everyone()
            if main:
                older = self._all()
                made.rename(final)
                for path in older:
                    shutil.rmtree(path, ignore_errors=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: how torch.save says that a disk is full
            raise OutputError(f"{final} cannot be written: {first_line(error)}") from None

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name)]
