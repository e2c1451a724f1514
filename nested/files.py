"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def open_to_all(folder: Path) -> None:
    """Give everything in a folder, and itself, the permissions that the umask leaves new ones.

    Libraries that write by way of temporary files leave them to their owner alone.
    """
    umask = os.umask(0)
    os.umask(umask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place of `path` in one step.

    A reader sees the old file or the new one, never a part. The temporary is `.<random>.part` in the same
    folder (a rename does not cross file systems) and is removed on any failure, an interrupt included.
    Permissions follow the umask, as with `open`. A symbolic link at `path` is replaced, not followed.
    Raises OSError as it comes, and whatever `write` raises.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    file = temporary.open("xb")  # closed below; only a file we created ourselves may be removed
    try:
        with file:
            write(file)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
