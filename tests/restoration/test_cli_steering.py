"""``restore``, steered: candidates are chosen from, previews edited, and a run stops when little changes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from holed import COMMON
from PIL import Image
from running import restore

from nested import NestedState
from nested.record import Choice, Edit
from restoration.pictures import images, outputs

QUICK = (*COMMON, "--outer", "2", "--inner", "2")
FOUR = (*QUICK, "--seed", "7", "--candidates", "3")


def record(path: str) -> dict[str, object]:
    found = images.read_record(Path(path))
    assert found is not None
    return dict(found)


def bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


def paint(source: str, target: str, box: tuple[int, int, int, int]) -> None:
    picture = Image.open(source).convert("RGB")
    picture.paste((200, 40, 40), box)
    picture.save(target)


def test_candidates_are_chosen_step_by_step_or_at_once_with_the_same_result(folder: Path, capsys) -> None:
    code, out, _ = restore(*FOUR, "-o", "out.png", "--state", "S", "--json", capsys=capsys)
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, [e["event"] for e in told]) == (0, ["candidates", "note"])
    assert told[0] == {
        "event": "candidates", "input": "in.png", "nfe": 2, "total_nfe": 4, "candidates": 3,
        "path": "out-candidates-002.png", "expected_change": told[0]["expected_change"],
    }  # fmt: skip
    assert "--choose NUMBER" in told[1]["message"]
    assert not Path("out.png").exists()
    code, _, err = restore(*FOUR, "-o", "out.png", "--state", "S", "--choose", "3", capsys=capsys)
    assert (code, "--choose 3,NUMBER" in err) == (0, True)
    code, _, err = restore(*FOUR, "-o", "out.png", "--state", "S", "--choose", "3,2", capsys=capsys)
    assert (code, "4 of 4 evaluations" in err) == (0, True)
    restore(*FOUR, "-o", "whole.png", "--choose", "3,2", "--previews", "previews", capsys=capsys)
    assert bytes_of("out.png") == bytes_of("whole.png")  # its record, too
    assert bytes_of("out-candidates-004.png") != bytes_of("out-candidates-002.png")
    names = {path.name for path in Path("previews").iterdir()}
    assert names == {f"in-{nfe:03d}-{i}.png" for nfe in (2, 4) for i in (1, 2, 3)}
    assert images.load(Path("previews/in-004-2.png")).equal(images.load(Path("out.png")))
    told_of = record("out.png")
    assert (told_of["candidates"], told_of["chosen"], told_of["seeds"]) == (3, [[3], [2]], [7])
    assert told_of["aim"] == "natural"
    code, _, err = restore(*FOUR, "-o", "out.png", "--choose", "3,2", capsys=capsys)
    assert (code, "is done; skipped" in err) == (0, True)
    code, _, err = restore(*FOUR, "-o", "out.png", "--choose", "3,1", capsys=capsys)
    assert (code, "chosen is [[3], [2]] there" in err) == (2, True)
    code, _, err = restore(*FOUR, "-o", "b.png", "--state", "S", "--choose", "1,1", capsys=capsys)
    assert (code, err.count("\n"), "S was steered by --choose 3" in err) == (2, 1, True)


def test_somebody_who_is_asked_answers_goes_back_and_edits(folder: Path, capsys, monkeypatch) -> None:
    restore(*FOUR, "-o", "a.png", "--previews", "previews", capsys=capsys)
    paint("previews/in-002-2.png", "edit.png", (20, 20, 30, 30))
    asked = (*FOUR, "-o", "out.png", "--interactive", "--state", "S")
    answers = "huh\n9\n1\nback\n2 edit none.png\n2 edit edit.png\n1,2\n3\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    code, _, err = restore(*asked, capsys=capsys)
    assert code == 0
    for words in ("not understood: huh", "from 1 to 3", "none.png: ", "nothing of the edit contradicts"):
        assert words in err
    assert "last choice must be of one candidate" in err
    told = record("out.png")
    edits = [{"nfe": 2, "sha256": outputs.sha256(Path("edit.png")), "trust": False}]
    assert (told["chosen"], told["edits"]) == ([[2], [3]], edits)
    state = NestedState.load("S")  # of the way that was taken, not of the one that was left
    assert [type(act) for act in state.record] == [Choice, Edit]
    assert state.record[0].kept == (1,)  # type: ignore[union-attr]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = restore(*FOUR, "-o", "b.png", "--interactive", "--choose", "1", capsys=capsys)
    assert (code, "--choose 1,NUMBER" in err, Path("b.png").exists()) == (0, True, False)


def test_an_edited_preview_goes_on_and_what_was_measured_stands_unless_the_edit_is_trusted(folder, capsys) -> None:
    run = (*QUICK, "--seed", "3")
    restore(*run, "-o", "first.png", "--state", "S", "--max-nfe", "2", capsys=capsys)
    stored = bytes_of("S")
    restore(*run, "-o", "plain.png", "--state", "S", capsys=capsys)
    plain = images.load(Path("plain.png"))
    paint("first.png", "hole.png", (20, 20, 44, 44))
    paint("first.png", "both.png", (4, 4, 60, 60))
    known = images.load(Path("mask.png"))[0] == 0
    given = images.load(Path("in.png"))
    for edit, trust, said in (
        ("hole.png", (), "nothing of the edit contradicts"),
        ("both.png", (), "is drawn back to it"),
        ("both.png", ("--trust-edit",), "is trusted"),
    ):
        Path("S").write_bytes(stored)
        name = f"{edit[:4]}{len(trust)}.png"
        code, _, err = restore(*run, "-o", name, "--state", "S", "--edit", edit, *trust, capsys=capsys)
        assert (code, said in err) == (0, True)
        result = images.load(Path(name))
        assert float((result - plain)[:, ~known].abs().max()) > 0.05
        wanted = images.load(Path(edit)) if trust else given
        # rounded to 8 bits twice
        assert float((result - wanted)[:, known].abs().max()) <= 1.01 / 255
        code, _, err = restore(*run, "-o", name, "--state", "S", "--edit", edit, *trust, capsys=capsys)
        assert (code, "is done; skipped" in err) == (0, True)
    Path("S").write_bytes(stored)
    once = (*run, "-o", "both.killed.png", "--state", "S", "--edit", "both.png")
    restore(*once, "--max-nfe", "3", capsys=capsys)  # stopped with the edit in it, and gone on
    code, _, err = restore(*once, capsys=capsys)
    assert (code, "drawn back" in err) == (0, False)
    assert bytes_of("both.killed.png") == bytes_of("both0.png")


def test_a_run_stops_once_little_is_expected_to_change(folder: Path, capsys) -> None:
    code, out, _ = restore(*COMMON, "--inner", "2", "-o", "a.png", "--until", "0.9", "--json", capsys=capsys)
    last = json.loads(out.splitlines()[-1])
    assert (code, last["stopped_by"], last["nfe"], last["total_nfe"]) == (0, "settled", 2, 6)
    code, out, _ = restore(*COMMON, "--inner", "2", "-o", "b.png", "--until", "1e-9", "--json", capsys=capsys)
    assert json.loads(out.splitlines()[-1])["stopped_by"] == "finished"
    other = (*QUICK, "-o", "c.png", "--until", "0.9", "--sampler", "ddrm", "--eta", "0.3")
    code, _, err = restore(*other, capsys=capsys)
    assert (code, "--until stops nothing" in err) == (0, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--choose", "1"), "need --candidates"),
        (("--interactive",), "need --candidates"),
        (("--candidates", "0"), "--candidates must be from 1"),
        (("--candidates", "2", "--choose", "3"), "candidates from 1 to 2: got 3"),
        (("--candidates", "2", "--choose", "x"), "--choose must be numbers"),
        (("--candidates", "2", "--choose", "0"), "--choose must be numbers"),
        (("--candidates", "2", "--choose", "1,1,1"), "at most a choice a preview, 2 here"),
        (("--candidates", "2", "--samples", "2"), "goes without --samples"),
        (("--candidates", "2", "--until", "0.1"), "goes without --samples"),
        (("--edit", "in.png"), "--edit needs --state"),
        (("--edit", "in.png", "--state", "S"), "there is no --state S"),
        (("--edit", "none.png", "--state", "S"), "none.png"),
        (("--trust-edit",), "--trust-edit needs --edit"),
        (("--until", "0"), "until must be above 0"),
    ],
)
def test_what_does_not_fit_is_one_line(folder: Path, capsys, options: tuple[str, ...], words: str) -> None:
    code, out, err = restore(*QUICK, "-o", "out.png", *options, capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not Path("out.png").exists()


def test_an_edit_that_cannot_be_made_is_one_line(folder: Path, capsys) -> None:
    run = (*QUICK, "--seed", "3", "--state", "S")
    restore(*run, "-o", "first.png", "--max-nfe", "2", capsys=capsys)
    Image.open("first.png").resize((32, 32)).save("small.png")
    restore(*run, "-o", "later.png", "--max-nfe", "3", capsys=capsys)
    paint("first.png", "edit.png", (20, 20, 30, 30))
    code, _, err = restore(*run, "-o", "out.png", "--edit", "edit.png", capsys=capsys)
    assert (code, err.count("\n"), "within an inner run that ends at 4" in err) == (2, 1, True)
    restore(*run, "-o", "end.png", capsys=capsys)
    for edit, words in (("end.png", "is the preview itself"), ("small.png", "preview's size, 64×64: got 32×32")):
        code, _, err = restore(*run, "-o", "out.png", "--edit", edit, capsys=capsys)
        assert (code, err.count("\n"), words in err) == (2, 1, True)
    assert not Path("out.png").exists()
