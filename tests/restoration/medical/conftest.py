"""Scans for tests: those that pydicom and nibabel ship in their wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("nibabel")


@pytest.fixture(scope="session")
def dicoms() -> Path:
    import pydicom

    return Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.fixture(scope="session")
def niftis() -> Path:
    import nibabel

    return Path(nibabel.__file__).parent / "tests" / "data"
