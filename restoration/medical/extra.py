"""Libraries of the extra ``medical``, imported where they are needed."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from restoration.errors import ImageError

INSTALL = 'pip install "nested-restoration[medical]"'


def needed(name: str) -> ModuleType:
    """A module of the extra; ImageError that says what to install where it is missing."""
    try:
        module = import_module(name)
    except ImportError:
        raise ImageError(f"needs {name.partition('.')[0]}, which is not installed: {INSTALL}") from None
    if name in _LOUD:  # they log what they find odd before they raise; we say it in one line
        logging.getLogger(_LOUD[name]).setLevel(logging.CRITICAL)
    return module


_LOUD = {"pydicom": "pydicom", "nibabel": "nibabel.global"}
