"""A prior's calibration on disk, to which several commands add what they have measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nested.files import atomic_write
from restoration.priors.formats.reading import read_json


def put(file: Path, fingerprint: str, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change a calibration in a file; what is there of other weights is dropped.

    Args:
        file: ``PRIOR/calibration.json``; made where there is none.
        fingerprint: of the prior that was measured.
        changed: given what the file holds of that prior, what of it is to be replaced.

    Raises:
        PriorError: a file that is no JSON object.
    """
    before = read_json(file) if file.is_file() else {}
    if before.get("prior fingerprint") != fingerprint:
        before = {}
    told = {"prior fingerprint": fingerprint, **before, **changed(before)}
    text = json.dumps(told, indent=1) + "\n"
    atomic_write(file, lambda stream: stream.write(text.encode()))
