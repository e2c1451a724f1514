"""A results folder: what was asked, and a file for every chunk of pictures that was measured.

::

    RESULTS/config.json                 what every number in it depends on
    RESULTS/asked.json                  the newest command line; how many chunks it asked for, of which tasks
    RESULTS/denoise/00003.json          names, seeds, operators, rows, failures and seconds: there when all is
    RESULTS/denoise/00003.safetensors   features of the same pictures
    RESULTS/denoise/00000.pictures      some of the first pictures themselves (safetensors)

A row is some 200 bytes, an image's Inception features are 8 kB: Table 2 of 30,000 pictures leaves 60 MB of rows
and 2.5 GB of features a task. A chunk of them at a time is in memory, and of names all: 3 MB.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.engine import command_line
from benchmarks.engine.chunk import Chunk
from nested.files import atomic_write
from nested.reading import conform, read_json, read_tensors, require_regular
from restoration.errors import OutputError

MOST = 1e12
"""Beyond any measure of a picture."""
CONFIG, ASKED = "config.json", "asked.json"


class _Row(TypedDict):
    """A row of a chunk; a look's metrics stand beside these by name."""

    image: str
    run: str
    kind: str
    nfe: int


class _Chunk(TypedDict):
    """A chunk as it is stored; see :class:`Chunk`."""

    names: list[str]
    rows: NotRequired[list[_Row]]
    failed: NotRequired[dict[str, str]]
    seconds: NotRequired[dict[str, float]]
    hardware: NotRequired[str]
    seeds: NotRequired[dict[str, int]]
    operators: NotRequired[dict[str, str]]


class _Asked(TypedDict):
    chunks: NotRequired[int]


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
                    if path.is_dir() and (chunks := list(path.glob("[0-9]*.json"))):
                        for file in chunks:  # first, so that a kill leaves no chunk without its features
                            file.unlink()
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
        return sorted({path.parent.name for path in self.folder.glob("*/[0-9]*.json")})

    def ask(self, chunks: int, argv: Sequence[str] = (), **told: Any) -> None:
        """From now on the results are the first so many chunks of each task; what a kill left half written goes.

        Args:
            argv: the command line that asks, program name first; empty where none is known.
            told: more of what was asked, for those who read the results.

        Raises:
            OutputError: it cannot be written.
        """
        command = {"argv": list(argv)} if argv else {}
        try:
            for left in self.folder.glob("**/.*.part"):
                left.unlink(missing_ok=True)
            _write(self.folder / ASKED, f"{_text({'chunks': chunks, **command, **told})}\n".encode())
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written to: {error.strerror or error}") from None

    def has(self, task: str, index: int, names: list[str]) -> bool:
        """Whether that chunk is done, of those very pictures; read no further than to their names."""
        beginning = _text({"names": names}).encode()[:-1] + b","
        try:
            with self._file(task, index).open("rb") as file:
                return file.read(len(beginning)) == beginning
        except OSError:
            return False

    def write(self, task: str, index: int, chunk: Chunk) -> None:
        """Store a chunk; it counts once its rows are there, which come last.

        Raises:
            OutputError: it cannot be written; those before stay.
        """
        file = self._file(task, index)
        told = asdict(replace(chunk, features={}, pictures={}))
        del told["features"], told["pictures"]
        try:
            file.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)  # of other pictures: they must not meet these features
            for suffix, tensors in ((".pictures", chunk.pictures), (".safetensors", chunk.features)):
                if tensors:
                    _write(file.with_suffix(suffix), save(tensors))
                else:
                    file.with_suffix(suffix).unlink(missing_ok=True)
            _write(file, f"{_text(told)}\n".encode())
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror or error}") from None

    def asked(self) -> dict[str, Any]:
        """What the newest command asked for; empty where it is not recorded."""
        file = self.folder / ASKED
        return _read(file, _Asked) if file.is_file() else {}

    def argv(self) -> tuple[str, ...]:
        """The newest command line, program name first; empty where it is not stored, as in older folders.

        Raises:
            OutputError: what is stored is no command line.
        """
        told = self.asked()
        try:
            return command_line.checked(told["argv"]) if "argv" in told else ()
        except ValueError as error:
            raise OutputError(f"{self.folder / ASKED} is damaged ({error}); run the command again") from None

    def indices(self, task: str) -> list[int]:
        """Which chunks of a task are there, of those that were asked for, in order."""
        end = self.asked().get("chunks", math.inf)
        found = (int(file.stem) for file in (self.folder / task).glob("[0-9]*.json") if file.stem.isdecimal())
        return sorted(index for index in found if index < end)

    def chunks(self, task: str) -> Iterator[Chunk]:
        """Those chunks, one at a time in memory, without features and pictures.

        Raises:
            OutputError: a damaged file.
        """
        for index in self.indices(task):
            file = self._file(task, index)
            told = _read(file, _Chunk)
            if unknown := {*told} - {*_Chunk.__annotations__}:
                raise OutputError(
                    f"{file} is damaged (it has {sorted(unknown)[0]}); delete it to measure it again"
                )
            for i, row in enumerate(told.get("rows", [])):
                for name, value in row.items():  # a PSNR may be infinite
                    if not isinstance(value, (int, float, str, type(None))):
                        _conform(value, float, f"rows[{i}].{name}", file)
                    if isinstance(value, (int, float)) and MOST < abs(value) < math.inf:
                        raise OutputError(
                            f"{file} is damaged (rows[{i}].{name} is {value!s:.20}); delete it to measure it again"
                        )
            strange = {row["image"] for row in told.get("rows", [])} - {*told["names"]}
            if strange:
                raise OutputError(
                    f"{file} is damaged (a row is of none of its pictures); delete it to measure it again"
                )
            yield Chunk(**told)

    def features(self, task: str, index: int, key: str) -> Tensor:
        """(B, dim) of the readable pictures of a chunk, at one look.

        Raises:
            OutputError: a damaged or missing file.
        """
        path = self._file(task, index).with_suffix(".safetensors")
        try:
            require_regular(path)
            with safe_open(path, "pt") as file:
                tensor: Tensor = file.get_tensor(key)
        except (OSError, ValueError, SafetensorError) as error:
            raise _damaged(path, error) from None
        if tensor.ndim != 2 or not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise _damaged(path, ValueError(f"{key} must be finite (B, dim): got {tuple(tensor.shape)}"))
        return tensor

    def pictures(self, task: str) -> tuple[list[str], dict[str, Tensor]]:
        """Names of the pictures that were kept, and (B, C, H, W) uint8 of them by key; empty if none were.

        Black where a chunk has no such key: a method that fails may do so after fewer evaluations.
        """
        names, kept = list[str](), list[dict[str, Tensor]]()
        for index, chunk in zip(self.indices(task), self.chunks(task), strict=True):
            file = self._file(task, index).with_suffix(".pictures")
            if not file.is_file():
                break  # the first pictures are kept
            kept.append(_load(file))
            names += chunk.readable[: len(next(iter(kept[-1].values())))]
        keys = dict.fromkeys(key for some in kept for key in some)
        return names, {key: torch.cat([_of(some, key) for some in kept]) for key in keys}

    def _file(self, task: str, index: int) -> Path:
        return self.folder / task / f"{index:05d}.json"


def _of(some: Mapping[str, Tensor], key: str) -> Tensor:
    return some[key] if key in some else torch.zeros_like(next(iter(some.values())))


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False)


def _write(path: Path, data: bytes) -> None:
    atomic_write(path, lambda file: file.write(data))


def _read(path: Path, kind: Any = dict[str, Any]) -> dict[str, Any]:
    try:
        told: dict[str, Any] = read_json(path, finite=False)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is damaged ({error}); delete it to measure it again") from None
    _conform(told, kind, path.name, path)
    return told


def _conform(value: Any, kind: Any, name: str, path: Path) -> None:
    try:
        conform(value, kind, name)
    except ValueError as error:
        raise OutputError(f"{path} is damaged ({error}); delete it to measure it again") from None


def _load(path: Path) -> dict[str, Tensor]:
    try:
        tensors, _ = read_tensors(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    if len(shapes) != 1 or not min(next(iter(shapes), (0,)), default=0):
        raise _damaged(path, ValueError("its pictures must be of one shape, and some"))
    return tensors


def _damaged(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{path} is damaged ({error}); delete it and its .json to measure it again")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name}: {before.get(name)!r} there, {now.get(name)!r} asked for" for name in names[:3])
