"""The command line that made a results folder: stored with it, checked before it is believed, and shown."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

PROGRAM = "restore-bench"
MOST_WORDS, MOST_CHARACTERS = 10_000, 200_000


def typed() -> tuple[str, ...]:
    """The command line of this process: the program's name, not its path, then every argument as it was typed.

    Bytes of a file's name that are not UTF-8 become U+FFFD. A command line that :func:`checked` would refuse for
    its length is not kept: the result is empty.
    """
    words = (PROGRAM, *(os.fsencode(word).decode("utf-8", "replace") for word in sys.argv[1:]))
    return words if _fits(words) else ()


def checked(told: Any) -> tuple[str, ...]:
    """A command line as a file has it.

    Raises:
        ValueError: anything but a list of strings that begins with the program's name, at most ``MOST_WORDS`` of
            them and ``MOST_CHARACTERS`` in all.
    """
    if not isinstance(told, list) or not all(isinstance(word, str) for word in told):
        raise ValueError("argv must be a list of strings")
    if told[:1] != [PROGRAM]:
        raise ValueError(f"argv must begin with {PROGRAM}")
    if not _fits(told):
        raise ValueError(f"argv must have at most {MOST_WORDS:,} words and {MOST_CHARACTERS:,} characters")
    return tuple(told)


def for_shell(words: Sequence[str]) -> str:
    """The command as a shell takes it, quoted where it must be, every option on a line of its own."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def _fits(words: Sequence[str]) -> bool:
    return len(words) <= MOST_WORDS and sum(map(len, words)) <= MOST_CHARACTERS
