"""restore-bench coverage: measured once, kept, and read back by a prior."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.commands import cli, coverage
from restoration.commands import console
from restoration.pictures import images
from restoration.priors.calibration import FILE, Calibration


def bench(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["restore-bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        console.main("restore-bench", cli.app)
    return int(stop.value.code or 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for i in range(4):
        smooth = torch.nn.functional.interpolate(
            torch.rand(1, 3, 8, 8, generator=generator), (64, 64), mode="bicubic"
        )
        images.save(folder / f"{i}.png", smooth[0].clamp(0, 1), {})
    return folder


def test_it_is_measured_once_and_calibrates_the_prior(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "out", tmp_path / FILE
    given = (
        "coverage",
        "--data",
        pictures,
        "-o",
        out,
        "--prior",
        "faces-64",
        "--tasks",
        "denoise:0.2",
        "--samples",
        2,
    )
    given = (*given, "--outer", 1, "--inner", 2, "--level", 50, "--device", "cpu")
    (pictures / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    assert bench(*given, monkeypatch=monkeypatch) == 0
    table, told = capsys.readouterr()
    assert "| denoise-0.2 | 2 |" in table
    assert "data/damaged.png is left out" in told
    (pictures / "damaged.png").unlink()

    def never(*arguments: object) -> None:
        pytest.fail("it is there already")

    monkeypatch.setattr(coverage, "losses_of", never)
    assert bench(*given, "--calibrate", file, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == table
    found = Calibration.load(tmp_path)
    assert found is not None
    (one,) = found.coverages
    assert (one.task, one.sigma, one.nfe, one.samples, one.level) == ("denoise", 0.2, 2, 2, 0.5)
    assert (one.pictures, one.calibrated) == (2, 2)
    assert bench(*given, "--calibrate", file, monkeypatch=monkeypatch) == 0
    assert len(json.loads(file.read_text())["coverage"]) == 1  # in the old one's place


def test_a_promise_that_few_pictures_cannot_keep_is_refused(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (
        "coverage",
        "--data",
        pictures,
        "-o",
        tmp_path / "out",
        "--prior",
        "faces-64",
        "--tasks",
        "denoise:0.2",
    )
    given = (*given, "--samples", 2, "--outer", 1, "--inner", 1, "--device", "cpu")
    assert bench(*given, monkeypatch=monkeypatch) == 2
    assert "keeps 90% on 2 calibration pictures, of which 9 are the least" in capsys.readouterr().err
    assert bench(*given, "--inner", 2, monkeypatch=monkeypatch) == 2
    assert "holds a measurement of other conditions" in capsys.readouterr().err
    assert bench("coverage", "--data", pictures, "-o", tmp_path, "--samples", 1, monkeypatch=monkeypatch) == 2
    assert "--samples must be at least 2: got 1" in capsys.readouterr().err


def test_halves_are_always_alike_and_apart() -> None:
    names = [f"{i}.png" for i in range(20)]
    first, second = coverage.halves(names)
    assert coverage.halves(names[::-1]) == (first, second)
    assert sorted(first + second) == sorted(names)
    assert len(first) == 10
