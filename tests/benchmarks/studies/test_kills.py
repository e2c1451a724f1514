"""A killed and repeated ``restore-bench`` finds what an undisturbed one finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies.kills import compare, same, write_pictures, write_tiny_prior


def test_three_kills_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no weights there
    write_pictures(tmp_path / "pictures", 6)
    write_tiny_prior(tmp_path / "tiny")
    arguments = ["table2", "--data", str(tmp_path / "pictures"), "--prior", str(tmp_path / "tiny")]
    arguments += ["--tasks", "denoise,inpaint", "--batch", "1", "--device", "cpu", "--outer", "2", "--inner", "2"]
    kills, _, differing = compare(arguments, tmp_path, kills=3, seed=0)
    assert (kills, differing) == (3, [])


def test_totals_are_the_same_only_in_every_bit() -> None:
    nan = float("nan")
    assert same({"a": 1.0, "b": nan}, {"a": 1.0, "b": nan})
    assert not same({"a": 1.0}, {"a": 1.0 + 2**-52})
    assert not same({"a": 1.0}, {"a": 1.0, "b": 1.0})
    assert not same({"a": 1.0}, {"a": nan})
