"""Pictures to train on, a network that trains in a second, and accelerate's one state forgotten afterwards."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from restoration.commands import console
from restoration.training import cli, command, presets, publish, trainer


@pytest.fixture(autouse=True)
def _small_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(presets.PRESETS, "tiny", {"block_out_channels": (32,) * 4, "layers_per_block": 1})
    monkeypatch.setattr(trainer, "STRETCH", 2)
    monkeypatch.setattr(publish, "STEPS", 2)
    monkeypatch.setattr(command, "MEASURED", 8)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 12 colour pictures of 24 × 20 pixels, two flat colours each."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(12):
        pixels = np.zeros((20, 24, 3), np.uint8)
        pixels[:, :12], pixels[:, 12:] = draw.integers(0, 255, (2, 3))
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Runs ``restore-train`` in this process: exit code and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["restore-train", *map(str, arguments)])
        AcceleratorState._reset_state(True)
        with pytest.raises(SystemExit) as stop:
            console.main("restore-train", cli.app)
        return int(stop.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def as_tar(photographs: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a tar of the same pictures, in a mode of ``tarfile.open``."""

    def make(mode: str) -> Path:
        tar = tmp_path / "data.tar"
        with tarfile.open(tar, mode) as made:  # type: ignore[call-overload]
            for file in sorted(photographs.iterdir()):
                data = file.read_bytes()
                member = tarfile.TarInfo(f"some/where/{file.name}")
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
        return tar

    return make
