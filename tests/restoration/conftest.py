"""Folders that several test files begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from holed import write_holed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a picture of 64 × 64 and a mask of its middle."""
    monkeypatch.chdir(tmp_path)
    write_holed()
    return tmp_path


@pytest.fixture(scope="session")
def prior_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of 16 × 16 colour pictures that has learned nothing."""
    from benchmarks.studies.fuzz_corpus import tiny_prior
    from restoration.priors.formats.convert import save_folder

    folder = tmp_path_factory.mktemp("priors") / "tiny"
    save_folder(tiny_prior(), folder)
    return folder
