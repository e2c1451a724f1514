"""Which pictures are to be restored: files and folders as they were typed, and what of them is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.names import suffix_of


@dataclass(frozen=True)
class Input:
    """A picture file.

    Args:
        file: where it is.
        below: the folders between the one that was typed and it.
    """

    file: Path
    below: Path = Path()


@dataclass(frozen=True)
class Found:
    """What arguments name.

    Args:
        inputs: the pictures, each once.
        left_out: what stands beside them and is not restored, and why.
        batch: there may be several.
    """

    inputs: tuple[Input, ...]
    left_out: tuple[tuple[Path, str], ...]
    batch: bool


def expand(
    paths: Sequence[Path],
    recursive: bool = False,
    own: Sequence[Path] = (),
    suffixes: Sequence[str] = images.SUFFIXES,
) -> Found:
    """The picture files that arguments (files and folders) name.

    Hidden files are left out without a word.

    Args:
        recursive: read folders in folders, too.
        own: folders that results are written to: pictures in them that hold our record are no inputs.
        suffixes: in lower case, of the files in folders that are restored.

    Raises:
        ImageError: a folder without pictures. A file that is missing is found out when it is read.
    """
    inputs: dict[Path, Input] = {}
    left_out: list[tuple[Path, str]] = []
    written = [place(folder) for folder in own]
    for path in paths:
        if not path.is_dir():
            inputs.setdefault(place(path), Input(path))
            continue
        before, outside = len(inputs), len(left_out)
        for file, why in _in_folder(path, recursive, suffixes):
            here = place(file)
            if why:
                left_out.append((file, why))
            elif any(here.is_relative_to(folder) for folder in written) and _is_ours(file):
                left_out.append((file, "is a result of this program"))
            else:
                inputs.setdefault(here, Input(file, file.parent.relative_to(path)))
        if len(inputs) == before:
            beside = len(left_out) - outside
            raise ImageError(
                f"{path}: no pictures in this folder ({', '.join(suffixes)})"
                + (
                    f"; {beside} left out, the first {left_out[outside][0].name}: {left_out[outside][1]}"
                    if beside
                    else ""
                )
            )
    batch = len(inputs) > 1 or any(path.is_dir() for path in paths)
    return Found(tuple(inputs.values()), tuple(left_out), batch)


def place(path: Path) -> Path:
    """Where a path leads; of a link to itself, where it stands."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: how Python 3.11 and 3.12 tell a loop of links
        return path.absolute()


def _in_folder(folder: Path, recursive: bool, suffixes: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """What stands in a folder, by name, with why it is no picture; files before folders."""
    try:
        shown = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed: {error.strerror or error}") from None
    folders = [path for path in shown if path.is_dir()]  # also asked of a link to itself, which is none
    for path in (path for path in shown if path not in folders):
        if suffix_of(path) not in suffixes:
            read = f"is a picture, and this task reads {', '.join(suffixes)} (clean ones with --simulate)"
            known = suffix_of(path) in images.SUFFIXES
            yield path, read if known else "is no kind of picture that is read"
        else:
            yield path, "" if path.is_file() else "is no file, or a link that leads to none"
    for path in folders:
        if not recursive:
            yield path, "is a folder (--recursive reads it)"
        elif path.is_symlink():
            yield path, "is a link to a folder"
        else:
            yield from _in_folder(path, recursive, suffixes)


def _is_ours(file: Path) -> bool:
    try:
        return images.read_record(file) is not None
    except ImageError:
        return False
