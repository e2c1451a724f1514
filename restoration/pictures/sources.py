"""Collections of pictures: folders and tars, by name, without reading a picture."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.inputs import place


@dataclass(frozen=True)
class Source:
    """One picture's bytes: a file, or a part of a tar."""

    name: str
    path: Path
    offset: int = 0
    size: int | None = None

    def read(self, at_most: int | None = None) -> bytes:
        """Its bytes, or so many of the first."""
        limits = [limit for limit in (self.size, at_most) if limit is not None]
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(min(limits, default=-1))


def find(paths: Sequence[Path], leave_out: Path | None = None) -> list[Source]:
    """The pictures of folders (with their subfolders) and tars, sorted by name within each.

    A tar is read in place, never unpacked: no name in it becomes a path. What lies under ``leave_out``, where the
    command writes, is none of them.

    Raises:
        ImageError: a path that is neither, a damaged tar, or no pictures at all.
    """
    sources: list[Source] = []
    for path in paths:
        found = _in_folder(path, leave_out) if path.is_dir() else _members(path)
        sources += sorted(found, key=lambda source: source.name)
    if not sources:
        raise ImageError(f"{paths[0]}: no pictures in it ({', '.join(images.SUFFIXES)})")
    return sources


def _in_folder(folder: Path, leave_out: Path | None) -> list[Source]:
    found = []
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or not _is_picture(file.name) or not file.is_file():
            continue
        if leave_out is None or not place(file).is_relative_to(place(leave_out)):
            found.append(Source(str(name), file))
    return found


def _members(path: Path) -> list[Source]:
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ImageError(f"{path}: is neither a folder nor a file")
    try:
        with tarfile.open(path, "r:") as tar:  # uncompressed: members are read at their place
            return [
                Source(member.name, path, member.offset_data, member.size)
                for member in tar
                if member.isreg() and not member.issparse() and member.size >= 0 and _is_picture(member.name)
            ]
    except tarfile.ReadError as error:
        if "unexpected end" in str(error):
            raise ImageError(f"{path}: the tar is cut short") from None
        raise ImageError(f"{path}: is neither a folder nor an uncompressed tar ({error})") from None
    except tarfile.TarError as error:
        raise ImageError(f"{path}: is a damaged tar ({error})") from None
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None


def _is_picture(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and last.lower().endswith(images.SUFFIXES)
