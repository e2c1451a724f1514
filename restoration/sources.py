"""Collections of pictures: folders and tars, by name, without reading a picture."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restoration import images
from restoration.errors import ImageError


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


def find(paths: Sequence[Path]) -> list[Source]:
    """The pictures of folders (with their subfolders) and tars, sorted by name within each.

    A tar is read in place, never unpacked: no name in it becomes a path.

    Raises:
        ImageError: a path that is neither, a damaged tar, or no pictures at all.
    """
    sources: list[Source] = []
    for path in paths:
        if path.is_dir():
            files = (
                file
                for file in path.rglob("*")
                if not any(part.startswith(".") for part in file.parts[len(path.parts) :])
            )
            found = [
                Source(str(file.relative_to(path)), file)
                for file in files
                if _is_picture(file.name) and file.is_file()
            ]
        else:
            found = _members(path)
        sources += sorted(found, key=lambda source: source.name)
    if not sources:
        raise ImageError(f"{paths[0]}: no pictures in it ({', '.join(images.SUFFIXES)})")
    return sources


def _members(path: Path) -> list[Source]:
    try:
        with tarfile.open(path, "r:") as tar:  # uncompressed: members are read at their place
            return [
                Source(member.name, path, member.offset_data, member.size)
                for member in tar
                if member.isreg() and _is_picture(member.name)
            ]
    except tarfile.TarError as error:
        raise ImageError(f"{path}: is neither a folder nor an uncompressed tar ({error})") from None
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None


def _is_picture(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and last.lower().endswith(images.SUFFIXES)
