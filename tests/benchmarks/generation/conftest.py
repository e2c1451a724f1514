"""``restore-bench generate`` in a folder of its own, without network."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import cli
from benchmarks.studies.kills import write_pictures, write_tiny_prior
from restoration import console

Generate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def tiny_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of 16×16 pictures."""
    folder = tmp_path_factory.mktemp("prior") / "tiny"
    write_tiny_prior(folder)
    return folder


@pytest.fixture
def generate(
    tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Generate:
    """Runs the command where ``tiny`` is a prior of 16×16 and ``pictures`` has four: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "tiny").symlink_to(tiny_prior)
    write_pictures(tmp_path / "pictures", 4)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)

    def run(*arguments: object) -> tuple[int, str, str]:
        words = ["restore-bench", "generate", "--device", "cpu", "--data", "pictures", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            console.main("restore-bench", cli.app)
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run
