"""Damaged files are read or refused in one line; and the study that says so sees what it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.studies import fuzz
from benchmarks.studies.fuzz import Case, Outcome
from benchmarks.studies.fuzz_corpus import KINDS, sound_files


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "corpus"
    sound_files(folder, list(KINDS))
    return folder


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "training"])  # one accelerator a process
def test_sound_files_are_read(corpus: Path, tmp_path: Path, kind: str) -> None:
    for sound in sorted((corpus / kind).iterdir()):
        fuzz.copy(sound, tmp_path / sound.name)
        KINDS[kind][1](tmp_path / sound.name)


def test_of_200_damaged_files_each_is_read_or_refused_in_one_line(corpus: Path, one_thread: None) -> None:
    chosen = fuzz.cases(200)
    found = fuzz.run(chosen, corpus)
    assert {case: outcome for case, outcome in found.items() if outcome not in fuzz.SOUND} == {}
    assert set(found.values()) == set(fuzz.SOUND)  # the damage does reach what reads
    assert {case.kind for case in found} == set(KINDS)
    assert len(found) == pytest.approx(200, abs=5)


def test_a_case_is_decided_by_its_name(corpus: Path, tmp_path: Path) -> None:
    made = []
    for place in (tmp_path / "a", tmp_path / "b"):
        place.mkdir()
        made.append(fuzz.prepare(Case("picture", 5), corpus, place).read_bytes())
    assert made[0] == made[1]


def hang(path: Path) -> None:
    time.sleep(60)


def crash(path: Path) -> None:
    raise KeyError("a bug")


def refuse(path: Path) -> None:
    raise ValueError("one line")


def run_payload(path: Path) -> None:
    (path.parent / "proof").touch()


def fill_memory(path: Path) -> None:
    bytearray(4 << 30)


@pytest.mark.parametrize(
    ("act", "outcome"),
    [(hang, Outcome.HANG), (crash, Outcome.TRACEBACK), (refuse, Outcome.REFUSED), (fill_memory, Outcome.MEMORY),
     (run_payload, Outcome.PAYLOAD), (Path.exists, Outcome.READ)],
)  # fmt: skip
def test_what_goes_wrong_is_seen(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object], outcome: Outcome
) -> None:
    write, _, count = KINDS["mask"]
    monkeypatch.setitem(KINDS, "mask", (write, act, count))
    monkeypatch.setattr(fuzz, "SECONDS", 0.5 if outcome is Outcome.HANG else 20.0)
    case = Case("mask", 1)
    assert fuzz.run([case], corpus) == {case: outcome}
