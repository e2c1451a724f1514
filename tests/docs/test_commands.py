"""Every command on a page is one that its own parser takes; every ``restore`` that needs no download is run.

They run on small pictures, with a prior that takes no time and one evaluation an outer step; what they write is
not looked at here, but that they end well. ``curl``: tests/restoration/serving/test_documented.py.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from pages import COMMANDS, LANGUAGES, ROOT, Block, blocks, commands, inline, name_of, pages
from PIL import Image
from running import restore

from benchmarks.commands import cli as bench
from restoration.commands import restore as restore_command
from restoration.commands import serve
from restoration.training import cli as train

PARSERS = {
    "restore": restore_command.app,
    "restore-bench": bench.app,
    "restore-serve": serve.app,
    "restore-train": train.app,
}
KNOWN_PRIORS = ("photos-64", "faces-64", "faces-128", "brain-mri-128", "my-photos/")
PAGES = pytest.mark.parametrize("page", pages(), ids=name_of)


def parse(name: str, app: typer.Typer, words: list[str], whole: bool = True) -> None:
    """Options, their values and, of a whole command, that none is missing; nothing is done."""
    command: Any = typer.main.get_command(app)
    if len(words) > 1 and hasattr(command, "commands"):
        name, command, words = words[0], command.commands[words[0]], words[1:]
    try:
        command.make_context(name, list(words))
    except Exception as error:
        # --help and --version end it well; a sentence may name an option without its value
        fine = {"Exit"} if whole else {"Exit", "MissingParameter", "BadOptionUsage"}
        if type(error).__name__ not in fine:
            pytest.fail(f"{name} {' '.join(words)}: {getattr(error, 'message', error)}")


def check(words: list[str], whole: bool = True) -> None:
    """``whole``: as it is typed; else a part that a sentence names."""
    first, *rest = words
    if first in COMMANDS:
        parse(first, PARSERS[first], rest, whole)
    elif first == "accelerate":
        assert rest[:3] == ["launch", "-m", "restoration.training"]
        parse("restore-train", train.app, rest[3:])
    elif first == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(rest) <= set(targets), words
    elif first == "pip":
        assert rest[0] == "install"
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        for extra in re.findall(r"\[(.*)\]", rest[1]):
            assert set(extra.split(",")) <= set(extras), words
    elif first == "python" and rest[0] == "-m":
        module = importlib.import_module(rest[1])
        app = typer.Typer()
        app.command()(module.main)
        parse(rest[1], app, rest[2:], whole)
    elif first == "python":
        source = (ROOT / rest[0]).read_text(encoding="utf-8")
        for option in rest[1:]:
            assert not option.startswith("--") or f'"{option}"' in source, words


@PAGES
def test_every_command_is_one_that_its_parser_takes(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block):
            check(words)
    for words in inline(page):
        check(words, whole=False)


@PAGES
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        where = f"{block.page}:{block.line}"
        assert block.language in LANGUAGES, where
        assert block.runs or re.match(r"# not run.*: \w", block.text), f"{where}: why is it not run?"


def test_a_wrong_option_is_found() -> None:
    for words in (
        ["restore", "a.png", "--taks", "sr4", "-o", "b.png"],
        ["restore", "a.png", "--outer", "three"],
        ["restore-bench", "compare", "--data", "a", "-o", "b", "--method", "nested"],
        ["restore-train", "a/", "-o", "b", "--sizes", "64"],
        ["python", "-m", "benchmarks.studies.colour", "--date", "a"],
    ):
        with pytest.raises(pytest.fail.Exception):
            check(words)
    with pytest.raises(AssertionError):
        check(["make", "everything"])


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def is_run(words: list[str]) -> bool:
    """Not what waits for a person or a download, nor the gallery's (test_gallery.py)."""
    if words[0] != "restore" or "--interactive" in words or "--convert" in words:
        return False
    if option(words, "--pattern") == "dng" or any(re.search(r"gallery/|\.(dcm|nii(\.gz)?|h5)$", w) for w in words):
        return False  # files of instruments have tests of their own, as test_dng.py
    if {"--strokes", "--interval"} & set(words):
        return False  # so have strokes, and intervals, which take samples of a prior that was measured
    return option(words, "--prior") in (None, *KNOWN_PRIORS)


def quick(words: list[str]) -> list[str]:
    """As few evaluations as tell whether it works, by a prior that takes no time."""
    done = list(words)
    for name in ("--allocation", "--inner", "--max-nfe"):
        if name in words:
            at = words.index(name) + 1
            ones = ",".join("1" for _ in words[at].split(","))
            done[at] = str(max(1, int(words[at]) // 10)) if name == "--max-nfe" else ones
    if {"--effort", "--plan"} & set(words):
        return [*done[1:], "--prior", "prior", "--device", "cpu"]
    steps = [] if {"--allocation", "--inner"} & set(words) else ["--inner", "1"]
    if not {"--allocation", "--outer", "--state", "--candidates"} & set(words):
        steps += ["--outer", "1"]
    return [*done[1:], *steps, "--prior", "prior", "--device", "cpu"]


def picture(name: str, words: list[str]) -> Image.Image:
    """A small picture of the kind that a command of that task takes."""
    task = option(words, "--task") or ""
    size = (12, 8) if re.search(r"sr\d", task) and "--simulate" not in words else (24, 16)
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([rows * 9, columns * 5, 200 - rows - columns], axis=-1).astype(np.uint8)
    if option(words, "--sigma") == "auto":
        pixels = pixels // 2 + np.random.default_rng(0).integers(0, 99, pixels.shape, np.uint8)
    grey = "demosaic" in task or ("colorize" in task and "--simulate" not in words)
    return Image.fromarray(pixels[..., 0] if grey else pixels)


def provide(words: list[str], made: set[str]) -> None:
    """Whatever a command reads that no command before it wrote."""
    mask, kernel, edit = (option(words, name) for name in ("--mask", "--kernel", "--edit"))
    values = {words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("-") and word != "--simulate"}
    for name in words[1:]:
        if name.endswith("/") and name not in values:
            for i in range(2):
                Path(name).mkdir(exist_ok=True)
                picture(name, words).save(Path(name) / f"{i}.png")
        elif re.search(r"\.(png|jpg|tif|webp)$", name) and name not in {*values, *made}:
            picture(name, words).save(name)
    if mask is not None:
        blank = Image.new("L", picture(mask, words).size)
        blank.paste(255, (0, 0, blank.width // 2, blank.height))
        blank.save(mask)
    if (wrong := option(words, "--wrong")) is not None:  # a half of what is filled
        marked = Image.new("L", picture(wrong, words).size)
        marked.paste(255, (0, 0, marked.width // 4, marked.height))
        marked.save(wrong)
    if kernel is not None and kernel.endswith(".npy"):
        np.save(kernel, np.ones((3, 3)))
    if edit is not None:
        (shown,) = made & {"first.png"}
        painted = Image.open(shown)
        painted.paste((200, 30, 30), (2, 2, 5, 5))
        painted.save(edit)


RUN = [block for page in pages() for block in blocks(page) if any(map(is_run, commands(block)))]


@pytest.mark.parametrize("block", RUN, ids=lambda block: f"{block.page}:{block.line}")
def test_restorations_run_one_after_another(
    block: Block, tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prior").symlink_to(tiny_prior)
    made: set[str] = set()
    for words in filter(is_run, commands(block)):
        output = option(words, "-o")
        if output is not None:
            provide(words, made)
            if "--state" not in words and not output.endswith("/"):
                Path(output).unlink(missing_ok=True)  # another command's
        code, out, err = restore(*quick(words), capsys=capsys)
        assert code == 0, (words, out, err)
        if output is not None and not Path(output).exists():  # it stopped where a person chooses
            assert "--candidates" in words, (words, err)
        elif output is not None:
            made.add(output)
