"""README.md and docs/ as what a reader copies from them: blocks of code, and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = "# not run"
"""How a block begins that cannot be run, with why after a colon."""

COMMANDS = ("restore", "restore-bench", "restore-serve", "restore-train")
RUNNERS = ("python", "make", "pip", "curl", "accelerate")
LANGUAGES = ("", "bash", "sh", "console", "python", "text", "json")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: str
    line: int
    language: str
    text: str

    @property
    def runs(self) -> bool:
        return not self.text.startswith(NOT_RUN)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\S*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return tuple(Block(name_of(page), text[: m.start()].count("\n") + 1, m[1], m[2]) for m in found)


def python(page: Path) -> str:
    """Its blocks of Python that run, one after another."""
    return "\n".join(block.text for block in blocks(page) if block.language == "python" and block.runs)


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block, in words, in their order.

    In ``console`` a command stands after ``$``, and the rest is output. A block of no language may hold both: what
    does not begin with a command is output.
    """
    if block.language not in ("", "bash", "sh", "console") or not block.runs:
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if not words:
            continue
        if words[0] in (*COMMANDS, *RUNNERS):
            yield words
        else:
            assert block.language == "", f"{block.page}:{block.line}: {words[0]} is no command known here"


def inline(page: Path) -> Iterator[list[str]]:
    """The commands in its sentences, those with options, in words."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", text):
        if re.match(rf"({'|'.join(COMMANDS)}|python -m)\s", code) and "…" not in code:
            yield shlex.split(code)
