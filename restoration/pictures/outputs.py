"""Where results go, and which are there already."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from restoration.errors import ImageError, OutputError
from restoration.pictures import images


class Standing(Enum):
    """What an output file says about the work that would write it."""

    ABSENT = "absent"
    DONE = "done"
    UNFINISHED = "unfinished"
    OTHER = "other"


def expand(inputs: Sequence[Path]) -> tuple[list[Path], bool]:
    """The picture files that arguments (files and folders) name, and whether they are a batch.

    Raises:
        ImageError: a folder without pictures. A file that is missing is found out when it is read.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = images.find(path)
            if not found:
                raise ImageError(f"{path}: no pictures in this folder ({', '.join(images.SUFFIXES)})")
            files += found
        else:
            files.append(path)
    return files, len(files) > 1 or any(path.is_dir() for path in inputs)


def plan(files: Sequence[Path], output: Path, batch: bool) -> dict[Path, Path]:
    """The output file of every input file: ``output`` itself, or PNGs named as the inputs in that folder.

    Raises:
        OutputError: a place that cannot be written, a name that two inputs share, or an input's own name.
    """
    is_folder = batch or output.is_dir() or not output.suffix
    if batch and not output.is_dir() and output.suffix.lower() in images.SUFFIXES:
        raise OutputError(f"{output}: several inputs need a folder, and this is named as a picture")
    if not is_folder and output.suffix.lower() not in images.SUFFIXES:
        raise OutputError(f"{output}: must end in {', '.join(images.SUFFIXES)}, or be a folder")
    targets = {file: output / f"{file.stem}.png" if is_folder else output for file in files}
    owners: dict[Path, Path] = {}
    for file, target in targets.items():
        if target in owners and owners[target] != file:
            raise OutputError(f"{owners[target]} and {file} would both be written to {target}; rename one")
        owners[target] = file
    probe(output if is_folder else output.parent, may_be_made=is_folder)
    return targets


def spare(inputs: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """OutputError where something that is to be read, or has just been written, would be written over."""
    read = {path.resolve() for path in inputs if path is not None}
    seen: set[Path] = set()
    for path in (path for path in written if path is not None):
        place = path.resolve()
        if place in read:
            raise OutputError(f"{path} is an input; choose another output")
        if place in seen:
            raise OutputError(f"{path} would be written twice; choose other outputs")
        seen.add(place)


def probe(folder: Path, *, may_be_made: bool) -> None:
    """Find out before any work whether files can be written to a folder, or the folder be made in its parent.

    Raises:
        OutputError: they cannot.
    """
    existing = folder.parent if may_be_made and not folder.exists() else folder
    if not existing.is_dir():
        raise OutputError(f"{existing} is not a folder: nothing can be written there")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(f"{existing} cannot be written to: {error.strerror or error}") from None


def make_folder(folder: Path) -> None:
    """Make a folder, but not its parents; OutputError where that fails."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}") from None


def differences(target: Path, wanted: Mapping[str, Any]) -> str:
    """What an existing output was made with otherwise, in words."""
    record = images.read_record(target)
    if record is None:
        return "it holds no record of this program"
    return ", ".join(f"{key} is {record.get(key)} there" for key in wanted if record.get(key) != wanted[key])


def standing(target: Path, wanted: Mapping[str, Any], limits: Mapping[str, Any] | None) -> Standing:
    """Whether a file holds the result that is wanted.

    Args:
        wanted: the entries its record must have to come from the same work.
        limits: deadline and the like: a run that they stopped is done only for the same ones. None where a
            stopped run would be continued, so that only a finished one is done.
    """
    if not target.exists():
        return Standing.ABSENT
    record = images.read_record(target)
    if record is None or any(record.get(key) != value for key, value in wanted.items()):
        return Standing.OTHER
    by = record.get("stopped_by")
    if by == "finished":
        return Standing.DONE
    as_asked = limits is not None and all(record.get(key) == value for key, value in limits.items())
    return Standing.DONE if as_asked and by in ("deadline", "max_nfe") else Standing.UNFINISHED


def sha256(path: Path) -> str:
    """Of a file's bytes; ImageError where it cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise ImageError(f"{path}: is not a regular file")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from None
