"""The page docs/gallery.md: its commands run, its pictures are there, and they are small."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.studies.gallery import PAGE, commands, write_inputs
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
    for command in commands(PAGE):
        monkeypatch.setattr(sys, "argv", [*command, *QUICK])
        with pytest.raises(SystemExit) as stop:
            restore.main()
        assert not stop.value.code, (command, capsys.readouterr().err)
    for name, original in originals.items():
        assert images.load(Path("gallery") / name).shape == original.shape


def test_its_pictures_are_there_and_no_other() -> None:
    shown = set(re.findall(r"gallery/[\w./-]+\.(?:png|jpg)", PAGE.read_text(encoding="utf-8")))
    stored = {str(path.relative_to(PAGE.parent)) for path in (PAGE.parent / "gallery").rglob("*.*")}
    assert shown == stored
    assert sum((PAGE.parent / name).stat().st_size for name in stored) < 1_500_000


def test_its_inputs_are_those_that_the_study_makes(tmp_path: Path) -> None:
    write_inputs(tmp_path, 160)
    for made in tmp_path.rglob("*.*"):
        stored = PAGE.parent / "gallery" / made.relative_to(tmp_path)
        # another version of Pillow may round otherwise
        assert float((images.load(made) - images.load(stored)).abs().mean()) < 0.002


def test_a_command_is_what_a_user_types(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    shutil.copy(PAGE, page)
    words = commands(page)
    assert len(words) == PAGE.read_text(encoding="utf-8").count("\nrestore ")
    assert all(word[0] == "restore" and "-o" in word for word in words)
