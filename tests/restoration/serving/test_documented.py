"""What README.md and docs/service.md tell to type at the service works against one that really listens."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, commands, python
from PIL import Image

from .conftest import Serve, picture

PAGES = (ROOT / "README.md", ROOT / "docs" / "service.md")
THERE = "localhost:8000"
PATIENT = (("wait=5", "wait=60"), ('"deadline": 10', '"deadline": 60'), ("deadline=5", "outer=2, inner=2"))
"""A busy machine starts its processes late: what is promised in time is tested in test_jobs.py."""


def patient(text: str) -> str:
    for soon, later in PATIENT:
        text = text.replace(soon, later)
    return text


@pytest.fixture(scope="module")
def address(listen: Serve) -> Iterator[str]:
    with listen() as address:
        yield address.removeprefix("http://")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the pictures that the pages send."""
    monkeypatch.chdir(tmp_path)
    for name in ("face.png", "old.png"):
        Path(name).write_bytes(picture())
    mask = Image.new("L", (16, 16))
    mask.paste(255, (3, 3, 6, 6))
    mask.save("scratches.png")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_requests_are_answered(page: Path, address: str, folder: Path) -> None:
    asked = [words for block in blocks(page) for words in commands(block) if words[0] == "curl"]
    assert asked
    for words in asked:
        here = [patient(word).replace(THERE, address) for word in words]
        done = subprocess.run([*here, "--fail-with-body", "--silent"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout)
        if "-o" in words:
            with Image.open(words[words.index("-o") + 1]) as shown:
                assert shown.format == "PNG"
                assert shown.size == (64, 64)  # 16 × 16, four times as large
        else:
            assert "id" in json.loads(done.stdout)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # a short line on the page leaves it open
def test_its_lines_of_python_restore_a_picture(address: str, folder: Path, capsys: Any) -> None:
    code = patient(python(PAGES[1]))
    assert THERE in code
    exec(compile(code.replace(THERE, address), PAGES[1], "exec", dont_inherit=True), {"__name__": "page"})
    assert capsys.readouterr().out  # evaluations and what is expected to change still
    assert Image.open(io.BytesIO((folder / "out.png").read_bytes())).size == (64, 64)
