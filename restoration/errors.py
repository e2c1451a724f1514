"""Errors about files and resources; a value the caller got wrong is a ValueError or TypeError instead."""

from __future__ import annotations


class RestorationError(Exception):
    """A file or resource we cannot use; the message is one line that names it and says why."""


class ImageError(RestorationError):
    """An image file that cannot be read as an image of ours."""


class PriorError(RestorationError):
    """A prior or its checkpoint that cannot be found, read or used."""


class OutputError(RestorationError):
    """A result that cannot be written where it was asked for."""


def first_line(error: Exception) -> str:
    """What a library's error says first, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
