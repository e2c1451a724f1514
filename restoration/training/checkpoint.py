"""Training state on disk: numbered folders that appear whole, the newest of which is gone on from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from nested.files import atomic_write
from restoration.errors import OutputError, first_line

RUN = "run.json"


class Checkpoints:
    """Those of one run, in one folder; written by all processes of it together.

    Raises:
        OutputError: the folder belongs to a run with other settings, or cannot be written.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, settings: dict[str, Any]) -> None:
        self.folder, self._accelerator = folder, accelerator
        record = folder / RUN
        try:
            if record.is_file():
                before = json.loads(record.read_text(encoding="utf-8"))
                other = [name for name, value in settings.items() if before.get(name) != value]
                if other:
                    raise OutputError(
                        f"{folder.parent} was begun with {other[0]} {before.get(other[0])!r}, not "
                        f"{settings[other[0]]!r}: repeat its options, or choose another -o"
                    )
            elif accelerator.is_main_process:
                folder.mkdir(parents=True, exist_ok=True)
                text = json.dumps(settings, indent=2) + "\n"
                atomic_write(record, lambda file: file.write(text.encode()))
        except (OSError, json.JSONDecodeError) as error:
            raise OutputError(f"{folder} cannot be used: {getattr(error, 'strerror', None) or error}") from None
        accelerator.wait_for_everyone()

    def newest(self) -> Path | None:
        """The last checkpoint that is whole."""
        return max(self._all(), key=_step, default=None)

    def resume(self) -> Path | None:
        """Load the newest, if there is one; the path that was loaded.

        Raises:
            OutputError: it is damaged.
        """
        newest = self.newest()
        if newest is not None:
            try:
                self._accelerator.load_state(str(newest))
            except Exception as error:  # torch, safetensors and accelerate each raise their own
                raise OutputError(f"{newest} is damaged ({first_line(error)}): delete it to go on before it") from None
        return newest

    def save(self, step: int) -> None:
        """Write one, then remove those before it."""
        made, final = self.folder / ".part", self.folder / f"step-{step:08d}"
        try:
            if self._accelerator.is_main_process:
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
            self._accelerator.wait_for_everyone()
            self._accelerator.save_state(str(made))
            self._accelerator.wait_for_everyone()
            if self._accelerator.is_main_process:
                older = [path for path in self._all() if path != final]
                shutil.rmtree(final, ignore_errors=True)
                made.rename(final)
                for path in older:
                    shutil.rmtree(path, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{final} cannot be written: {error.strerror or error}") from None

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])
