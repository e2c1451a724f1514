"""Where results go, and which are there already."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

from restoration.errors import ImageError, OutputError
from restoration.medical import files as scans
from restoration.pictures import images
from restoration.pictures.inputs import Input, place
from restoration.pictures.names import stem_of, suffix_of

LONGEST_NAME = 255
"""Bytes of a file's name, on every file system in common use."""


class Standing(Enum):
    """What an output file says about the work that would write it."""

    ABSENT = "absent"
    DONE = "done"
    UNFINISHED = "unfinished"
    OTHER = "other"


def plan(
    inputs: Sequence[Input],
    output: Path,
    *,
    folder: bool,
    form: str | None = None,
    name_suffix: str = "",
) -> dict[Input, Path]:
    """The output file of every input: ``output`` itself, or in that folder a file named as the input.

    Names in a folder are the inputs' with another suffix; where two would be the same, or one an input's, the
    inputs' own suffixes tell them apart: ``a-jpg.png`` and ``a-png.png``.

    Args:
        folder: the output is one.
        form: suffix of files in a folder: "png" or the like, or "same"; None is TIFF of a TIFF, DICOM of DICOM and
            NIfTI of NIfTI, else PNG.
        name_suffix: what their names have at their end.

    Raises:
        OutputError: a place that cannot be written, or a name that is too long.
    """
    if folder:
        targets = _named(inputs, output, form, name_suffix)
    else:
        if suffix_of(output) not in images.WRITTEN:
            raise OutputError(
                f"{output}: must end in {', '.join(images.WRITTEN)}, or in / to be a folder of results"
            )
        targets = dict.fromkeys(inputs, output)
    for target in targets.values():
        check_name(target)
    probe(output if folder else output.parent)
    return targets


def is_folder(output: Path, *, batch: bool, typed_so: bool) -> bool:
    """Whether an output is a folder; OutputError where it must be one and is named as a picture."""
    if typed_so or output.is_dir() or not output.suffix:
        return True
    if batch and suffix_of(output) in images.SUFFIXES:
        raise OutputError(f"{output}: several inputs need a folder, and this is named as a picture")
    return batch


def _named(inputs: Sequence[Input], output: Path, form: str | None, name_suffix: str) -> dict[Input, Path]:
    def target(given: Input, stem: str) -> Path:
        own = _own(given.file)
        suffix = f".{form}" if form not in (None, "same") else own if own in images.WRITTEN else ".png"
        if form is None:
            suffix = own if own in (".tif", ".tiff", *scans.SUFFIXES) else ".png"
        return output / given.below / f"{stem}{name_suffix}{suffix}"

    plain = {given: target(given, stem_of(given.file)) for given in inputs}
    shared = Counter(_folded(path) for path in plain.values())
    taken = {_folded(path) for path in plain.values() if shared[_folded(path)] == 1}
    read = {_folded(place(given.file)) for given in inputs}
    targets = {}
    for given, path in plain.items():
        targets[given] = path
        if shared[_folded(path)] > 1 or _folded(place(path)) in read:
            stem = f"{stem_of(given.file)}-{suffix_of(given.file)[1:]}"
            free = (target(given, f"{stem}-{i}" if i else stem) for i in count())
            targets[given] = next(
                path for path in free if _folded(path) not in taken and _folded(place(path)) not in read
            )
            taken.add(_folded(targets[given]))
    return targets


def _own(file: Path) -> str:
    """The suffix that a file's own format has: scanners' DICOM files often have none, or a number."""
    suffix = suffix_of(file)
    return ".dcm" if suffix not in images.SUFFIXES and scans.is_scan_file(file) else suffix


def _folded(path: Path) -> str:
    """Alike for names that some file systems take for one."""
    return str(path).casefold()


def check_name(path: Path) -> None:
    """OutputError for a name that is longer than file systems take."""
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise OutputError(f"{path}: the name is longer than {LONGEST_NAME} bytes; choose a shorter one")


def spare(inputs: Iterable[Path | None], written: Iterable[Path | None]) -> None:
    """OutputError where something that is to be read, or has just been written, would be written over."""
    read = {place(path) for path in inputs if path is not None}
    seen: set[Path] = set()
    for path in (path for path in written if path is not None):
        here = place(path)
        if here in read:
            raise OutputError(f"{path} is an input; choose another output, or names with --suffix")
        if here in seen:
            raise OutputError(f"{path} would be written twice; choose other outputs")
        seen.add(here)
        check_name(path)


def probe(folder: Path) -> None:
    """Find out before any work whether files can be written to a folder, or it and its parents be made.

    Raises:
        OutputError: they cannot.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{existing} is not a folder: nothing can be written there")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(f"{existing} cannot be written to: {error.strerror or error}") from None


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; OutputError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    return Standing.DONE if as_asked and by in ("deadline", "max_nfe", "settled") else Standing.UNFINISHED


def sha256(path: Path) -> str:
    """Of a file's bytes; ImageError where it cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise ImageError(f"{path}: is not a regular file")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from None
