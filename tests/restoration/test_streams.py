"""Whoever reads what is told may go, and an answer to a Ctrl-C comes at once."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restoration.commands.interrupt import Interrupt
from restoration.commands.settings import EffortSettings, TileSettings
from restoration.commands.streams import Courtesy
from restoration.events import Event, Noted
from restoration.pictures.picture import whole
from restoration.priors import load_prior
from restoration.recipe import Recipe
from restoration.session import Session
from restoration.tasks import Task

COMMAND = f"{sys.executable} -c 'from restoration.commands.restore import script; script()'"


def shell(line: str, folder: Path, **environment: str) -> tuple[int, str]:
    """A line of bash, every command's failure its own; its exit code and stderr."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_batch_whose_reader_has_gone_is_restored_to_its_end(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    line = f"{COMMAND} a.png b.png c.png --task sr2 --outer 1 --inner 1 -o out 2>&1 | head -1 >/dev/null"
    assert shell(line, tmp_path) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_help_is_written_in_any_encoding(tmp_path: Path) -> None:
    code, err = shell(f"{COMMAND} --help > h.txt", tmp_path, PYTHONIOENCODING="cp1252")
    assert (code, err) == (0, "")
    assert "--deadline" in (tmp_path / "h.txt").read_text("cp1252")


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_a_list_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    code, err = shell(f"{COMMAND} --list-priors {where}", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written to standard output" in err


def test_a_stream_that_fails_is_remembered_and_raises_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stream = Courtesy(Full())
    assert stream.write("x") == 1
    stream.flush()
    assert stream.lost is not None
    assert stream.lost.errno == errno.ENOSPC
    closed = Courtesy(None)
    assert closed.lost is not None
    closed.close()


def test_the_first_ctrl_c_is_answered_at_once_and_the_second_insists() -> None:
    reader, writer = os.pipe()
    before = os.dup(2)
    interrupt = Interrupt("stopping")
    try:
        os.dup2(writer, 2)
        with interrupt.heard():
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.asked
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.dup2(before, 2)
        for descriptor in (before, writer):
            os.close(descriptor)
    with os.fdopen(reader) as told:
        assert told.read() == "\nstopping\n"


def test_a_deadline_that_cannot_be_kept_is_said_while_the_first_evaluation_goes_on() -> None:
    recipe = Recipe(
        Task("denoise", 0.1), load_prior("photos-64", "cpu"), effort=EffortSettings((1,), seed=1, deadline=1e-4),
        tiles=TileSettings(batch=1),
    )  # fmt: skip
    events: list[Event] = []
    asked: list[int] = []

    def stop() -> bool:
        asked.append(len(events))
        return False

    Session(recipe, "a", whole(torch.rand(3, 100, 130)), "0" * 64).run(events.append, stop)
    assert isinstance(events[0], Noted)
    assert "cannot be kept" in events[0].message
    assert len(asked) >= 6  # between all tiles
    assert asked[-1] == 1  # it was told before the evaluation had ended


def test_a_session_is_stopped_between_two_tiles() -> None:
    recipe = Recipe(
        Task("denoise", 0.1), load_prior("photos-64", "cpu"), effort=EffortSettings((2,), seed=1),
        tiles=TileSettings(batch=1),
    )  # fmt: skip
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(InterruptedError):
        Session(recipe, "a", whole(torch.rand(3, 100, 130)), "0" * 64).run(lambda event: None, stop)
    assert len(asked) == 3
