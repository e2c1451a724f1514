"""The pictures of docs/tasks/: the commands beside them run, they are there, and they are small."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.studies.gallery import PAGES, commands, write_inputs
from restoration.commands import restore
from restoration.pictures import images

QUICK = ("--prior", "prior", "--allocation", "1,1", "--device", "cpu")
SIDE = 48


def test_its_commands_restore_what_they_say(
    tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prior").symlink_to(tiny_prior)
    originals = write_inputs(tmp_path / "gallery", SIDE)
    for command in commands(PAGES):
        monkeypatch.setattr(sys, "argv", [*command, *QUICK])
        with pytest.raises(SystemExit) as stop:
            restore.main()
        assert not stop.value.code, (command, capsys.readouterr().err)
    for name, original in originals.items():
        assert images.load(Path("gallery") / name).shape == original.shape


def test_its_pictures_are_there_and_no_other() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))
    shown = set(re.findall(r"gallery/[\w./-]+\.(?:png|jpg)", pages))
    stored = {str(path.relative_to(PAGES.parent)) for path in (PAGES.parent / "gallery").rglob("*.*")}
    assert shown == stored
    assert sum((PAGES.parent / name).stat().st_size for name in stored) < 1_500_000


def test_its_inputs_are_those_that_the_study_makes(tmp_path: Path) -> None:
    write_inputs(tmp_path, 160)
    for made in tmp_path.rglob("*.*"):
        stored = PAGES.parent / "gallery" / made.relative_to(tmp_path)
        # another version of Pillow may round otherwise
        assert float((images.load(made) - images.load(stored)).abs().mean()) < 0.002


def test_a_command_is_what_a_user_types_and_runs_once(tmp_path: Path) -> None:
    for page in PAGES.glob("*.md"):
        shutil.copy(page, tmp_path)
    words = commands(tmp_path)
    outputs = [word[word.index("-o") + 1] for word in words]
    assert len(words) == 12
    assert len(set(outputs)) == len(outputs)
    assert all(word[0] == "restore" and word[1].startswith("gallery/") for word in words)
