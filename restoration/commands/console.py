"""How our commands end: an exit code, and one line for anything the user can mend."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any

from restoration.commands import streams
from restoration.commands.interrupt import INTERRUPTED

LISTING = {"--help", "--version", "--list-priors"}
"""Options whose text is all there is to have."""

OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")


def script(name: str, app: Any) -> None:
    """:func:`main`, and a quick way out once all is written.

    Python takes a second to take torch apart, in which a Ctrl-C would look like a failure.
    """
    code: object = 1
    # On some processors MKL's sums otherwise depend on where in memory a tensor lies: a seed repeats a picture.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    out, err = streams.install()
    try:
        main(name, app)
    except SystemExit as stop:
        code = stop.code
    out.flush()
    lost = out.lost
    if lost is not None and lost.errno != errno.EPIPE and LISTING & {*sys.argv[1:]}:
        err.write(f"{name}: what was asked for cannot be written to standard output: {lost.strerror}\n")
        code = 2
    err.flush()
    os._exit(code if isinstance(code, int) else 0)


def main(name: str, app: Any) -> None:
    """Run a typer app: exit code 2 and one line for anything the user can mend; a traceback is a bug."""
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # also what typer makes of a Ctrl-C while modules load
            sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(code)
    except Exception as error:
        message = mendable(name, error)
        if message is None:
            raise
        with suppress(OSError, AttributeError):
            sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
        sys.exit(2)


def mendable(name: str, error: Exception) -> str | None:
    """The message of an error that is the user's to mend, None for a bug of ours."""
    if hasattr(error, "format_message"):  # typer's own, whichever click it brings
        return f"{error.format_message()} ({name} --help)"
    from restoration.errors import RestorationError

    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (RestorationError, ValueError, OSError)):
        return str(error)
    # torch.OutOfMemoryError is a RuntimeError, and so is what the CPU's allocator raises
    short = isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    if isinstance(error, MemoryError) or short:
        return f"not enough memory for this; ask for less at a time ({name} --help), or use a smaller prior"
    return None
