"""A tree of steered runs by the command: it survives a kill, and every node is made again from its record."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from holed import COMMON
from PIL import Image
from running import restore

from nested import NestedState, replayed
from restoration.commands.settings import EffortSettings
from restoration.editing import EditFile
from restoration.pictures import images, outputs
from restoration.pictures.picture import Picture
from restoration.priors import load_prior
from restoration.recipe import Recipe
from restoration.session import Session
from restoration.tasks import Task
from solvers import FIRE

SOURCE = "from restoration.commands.restore import script; script()"
SEEDED = (*COMMON, "--seed", "7")


def paint(source: str, target: str, colour: tuple[int, int, int]) -> None:
    picture = Image.open(source).convert("RGB")
    picture.paste(colour, (24, 24, 40, 40))
    picture.save(target)


def made_again(state: NestedState, *edits: Path, aim: str) -> NestedState:
    """A node from its record: the input, the seeds, what was chosen, the files that were put in, nothing else."""
    sampler = FIRE.Settings("natural" if aim == "natural" else "faithful")
    recipe = Recipe(
        Task("inpaint"), load_prior("faces-64", "cpu"), sampler, EffortSettings(state.allocation, seed=7),
        mask=images.load(Path("mask.png")),
    )  # fmt: skip
    picture: Picture = images.read(Path("in.png"))
    session = Session(recipe, "in.png", picture, outputs.sha256(Path("in.png")))
    files = {edit.sha256: edit for edit in (EditFile.read(path, False) for path in edits)}

    def x0_of(sha256: str, run: NestedState) -> torch.Tensor:
        return files[sha256].x0(run, session.restorer, session.problem, picture.depth)

    measurement = session.problem.measurement
    return replayed(lambda n: session.restorer.posterior(measurement.expand(n)), state, x0_of)


def same(state: NestedState, again: NestedState) -> bool:
    pairs = ((state.x_k, again.x_k), (state.x0, again.x0))
    equal = all((a is None and b is None) or (a is not None and b is not None and a.equal(b)) for a, b in pairs)
    return equal and (state.seeds, state.record, state.spent) == (again.seeds, again.record, again.spent)


def test_a_steered_run_is_killed_and_goes_on_and_each_node_is_made_again(
    folder: Path, capsys, one_thread: None
) -> None:
    steered = (*SEEDED, "--allocation", "2,16", "--candidates", "2", "-o", "out.png", "--state", "S")
    restore(*steered, "--previews", "seen", capsys=capsys)
    shutil.copy("S", "first")
    paint("seen/in-002-2.png", "edit.png", (200, 40, 40))
    child = subprocess.Popen([sys.executable, "-c", SOURCE, *steered, "--interactive"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(b"2 edit edit.png\n")
    child.stdin.flush()
    end = time.monotonic() + 300
    while NestedState.load("S").spent <= 2:
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    child.kill()
    child.wait()
    child.stdin.close()
    killed = NestedState.load("S")
    assert 2 < killed.spent <= 18  # in the middle, or on a fast machine just before the last choice
    shutil.copy("S", "killed")
    code, _, err = restore(*steered, "--choose", "2,1", capsys=capsys)
    assert (code, "18 of 18 evaluations" in err) == (0, True), err
    other = (*SEEDED, "--allocation", "2,16", "--candidates", "2", "-o", "other.png", "--state", "first")
    restore(*other, "--choose", "1", capsys=capsys)  # another way, from the earlier preview
    for name, edits in (("killed", ["edit.png"]), ("S", ["edit.png"]), ("first", [])):
        state = NestedState.load(name)
        assert same(state, made_again(state, *map(Path, edits), aim="natural")), name


def test_edits_and_more_of_a_plain_run_are_made_again_too(folder: Path, capsys, one_thread: None) -> None:
    common = (*SEEDED, "--allocation", "2,2")
    restore(*common, "--max-nfe", "2", "-o", "a.png", "--state", "A", capsys=capsys)
    shutil.copy("A", "B")
    paint("a.png", "red.png", (200, 40, 40))
    paint("a.png", "blue.png", (40, 40, 200))
    restore(*common, "--edit", "red.png", "-o", "red-out.png", "--state", "A", capsys=capsys)
    longer = (*SEEDED, "--allocation", "2,2,3")
    code, _, err = restore(*longer, "--edit", "red.png", "-o", "more.png", "--state", "A", capsys=capsys)
    assert (code, "7 of 7 evaluations" in err) == (0, True), err
    restore(*common, "--edit", "blue.png", "-o", "blue-out.png", "--state", "B", capsys=capsys)
    for name, edit in (("A", "red.png"), ("B", "blue.png")):
        state = NestedState.load(name)
        assert same(state, made_again(state, Path(edit), aim="faithful")), name
