"""``restore-bench generate`` with a tiny prior and four pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.studies.kills import write_pictures

Generate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def generate(workplace: Path, bench: Callable[..., tuple[int, str, str]]) -> Generate:
    """Runs the command where ``tiny`` is a prior of 16×16 and ``pictures`` has four: exit code, stdout, stderr."""
    write_pictures(workplace / "pictures", 4)
    return lambda *arguments: bench("generate", "--device", "cpu", "--data", "pictures", *arguments)
