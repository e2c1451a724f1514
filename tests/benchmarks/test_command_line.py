"""What is kept of a command line, and how it is shown."""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from benchmarks.engine import command_line


def test_the_programs_name_is_kept_and_not_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/someone/.venv/bin/restore-bench", "table2", "-o", "../r"])
    assert command_line.typed() == ("restore-bench", "table2", "-o", "../r")


def test_a_name_that_is_not_utf_8_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["restore-bench", "table2", "--data", os.fsdecode(b"caf\xe9")])
    assert command_line.typed()[-1] == "caf\N{REPLACEMENT CHARACTER}"


def test_what_could_not_be_read_again_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (["x"] * command_line.MOST_WORDS, ["x" * command_line.MOST_CHARACTERS]):
        monkeypatch.setattr(sys, "argv", ["restore-bench", *most])
        assert command_line.typed() == ()
    monkeypatch.setattr(sys, "argv", ["restore-bench", *["x"] * (command_line.MOST_WORDS - 1)])
    words = command_line.typed()
    assert command_line.checked(list(words)) == words


def test_a_shell_reads_what_was_typed() -> None:
    words = ["restore-bench", "table2", "--data", "a 'b' $c", "--batch=2", "", "-o", "r\n2"]
    shown = command_line.for_shell(words)
    assert shown.startswith("restore-bench table2 \\\n    --data")
    assert shlex.split(shown.replace("\\\n", "")) == words
