"""Standard output and error that nobody may be reading: what is told is a courtesy, and costs no result."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class Courtesy:
    """A text stream whose failures are remembered, not raised: a reader that has gone, a full disk, no stream.

    Args:
        stream: what is written to; None where the shell has closed it.

    Attributes:
        lost: the first failure, if there was one.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.lost: OSError | None = None
        if stream is None:
            self.lost = OSError(errno.EBADF, os.strerror(errno.EBADF))
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self._stream = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with suppress(OSError, ValueError):
                reconfigure(errors="replace")  # σ on a terminal of cp1252 is a question mark, not an error

    def write(self, text: str) -> int:
        """Write, or remember why not."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or remember why not."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.lost is None:
            self.lost = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> tuple[Courtesy, Courtesy]:
    """Put courtesies in the place of ``sys.stdout`` and ``sys.stderr``."""
    out, err = (
        stream if isinstance(stream, Courtesy) else Courtesy(stream) for stream in (sys.stdout, sys.stderr)
    )
    sys.stdout, sys.stderr = out, err
    return out, err
