"""A results folder: what was asked, and a file for every chunk of pictures that was measured.

::

    RESULTS/config.json                    what every number in it depends on
    RESULTS/denoise/00003.json             names, rows, failures and seconds of one chunk: it is there when all is
    RESULTS/denoise/00003.safetensors      features of the same pictures
    RESULTS/denoise/pictures.safetensors   the first few pictures themselves
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from benchmarks.chunk import Chunk
from nested.files import atomic_write
from restoration.errors import OutputError

CONFIG = "config.json"


class Results:
    """Chunks on disk, each written whole or not at all. Reading them in order gives the same totals every time.

    Args:
        folder: made if it is not there.
        config: what the numbers depend on, JSON values by name. What stands in a folder already must be equal.
        overwrite: throw away what another configuration left.

    Raises:
        OutputError: a folder of another configuration, one that holds something else, or no place to write.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder, self.config = folder, json.loads(json.dumps(config))
        record = folder / CONFIG
        try:
            if record.is_file():
                differing = _differences(_read(record), self.config)
                if not differing:
                    return
                if not overwrite:
                    raise OutputError(
                        f"{folder} holds results of another configuration ({differing}); --overwrite"
                    )
                for path in folder.iterdir():
                    if path.is_dir() and any(path.glob("[0-9]*.json")):
                        shutil.rmtree(path)
            elif folder.exists() and any(folder.iterdir()):
                raise OutputError(f"{folder} holds something else already; choose another -o")
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.config, indent=2, ensure_ascii=False) + "\n"
            atomic_write(record, lambda file: file.write(text.encode()))
        except OSError as error:
            raise OutputError(f"{folder} cannot be written to: {error.strerror or error}") from None

    @classmethod
    def open(cls, folder: Path) -> Results:
        """What an earlier command left, to be read.

        Raises:
            OutputError: it is no results folder.
        """
        record = folder / CONFIG
        if not record.is_file():
            raise OutputError(f"{folder} is no results folder: {CONFIG} is missing")
        return cls(folder, _read(record))

    def tasks(self) -> list[str]:
        """The tasks that have chunks."""
        return sorted(path.parent.name for path in self.folder.glob("*/00000.json"))

    def has(self, task: str, index: int, names: list[str]) -> bool:
        """Whether that chunk is done, of those very pictures."""
        file = self._file(task, index)
        return file.is_file() and _read(file).get("names") == names

    def write(self, task: str, index: int, chunk: Chunk) -> None:
        """Store a chunk; it counts once its rows are there, which come last.

        Raises:
            OutputError: it cannot be written; those before stay.
        """
        file = self._file(task, index)
        told = asdict(chunk)
        features, pictures = told.pop("features"), told.pop("pictures")
        text = json.dumps(told, ensure_ascii=False) + "\n"
        try:
            file.parent.mkdir(exist_ok=True)
            if pictures:
                _write(file.parent / "pictures.safetensors", save(pictures))
            if features:
                _write(file.with_suffix(".safetensors"), save(features))
            _write(file, text.encode())
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror or error}") from None

    def chunks(self, task: str, *, features: bool = False) -> Iterator[Chunk]:
        """Those of one task, in order, one at a time in memory.

        Raises:
            OutputError: a damaged file.
        """
        for file in sorted((self.folder / task).glob("[0-9]*.json")):
            chunk = Chunk(**_read(file))
            beside = file.with_suffix(".safetensors")
            if features and beside.is_file():
                chunk.features = _load(beside)
            yield chunk

    def pictures(self, task: str) -> dict[str, Any]:
        """(B, C, H, W) uint8 of the first pictures, by key; empty if none were kept."""
        file = self.folder / task / "pictures.safetensors"
        return _load(file) if file.is_file() else {}

    def _file(self, task: str, index: int) -> Path:
        return self.folder / task / f"{index:05d}.json"


def _write(path: Path, data: bytes) -> None:
    atomic_write(path, lambda file: file.write(data))


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error}); delete it to measure it again") from None
    if not isinstance(told, dict):
        raise OutputError(f"{path} is damaged; delete it to measure it again")
    return told


def _load(path: Path) -> dict[str, Any]:
    try:
        tensors: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path} is damaged ({error}); delete it and its .json to measure it again") from None
    return tensors


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name}: {before.get(name)!r} there, {now.get(name)!r} asked for" for name in names[:3])
