"""``restore-bench`` in a folder of its own, without network and without weights of metrics."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.commands import cli
from benchmarks.studies.kills import write_tiny_prior
from restoration.commands import console

Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of 16×16 pictures."""
    folder = tmp_path_factory.mktemp("prior") / "tiny"
    write_tiny_prior(folder)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, but for ``tiny``, the prior."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").symlink_to(tiny_prior)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["restore-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            console.main("restore-bench", cli.app)
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run
