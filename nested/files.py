"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
