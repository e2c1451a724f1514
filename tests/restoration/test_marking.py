"""What somebody has said is right in a preview is measured from then on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from holed import COMMON
from PIL import Image
from running import restore

from degradations import (
    Achromatic,
    Colorization,
    ColourHints,
    Inpainting,
    Measurement,
    SuperResolution,
    check_operator,
    simulate,
)
from nested import NestedState
from restoration.marking import remembered
from restoration.pictures import images
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer
from restoration.steering import Steered
from solvers import FIRE, NoiseSource

SHAPE = (3, 4, 4)
CLEAN = 0.4 + 0.2 * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
IMAGE = 0.4 + 0.2 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(1))
HOLE = torch.zeros(4, 4, dtype=torch.bool)
HOLE[:2] = True
RIGHT = torch.zeros(4, 4, dtype=torch.bool)
RIGHT[:3, :2] = True  # a part of the hole, and of what was measured


def holed(sigma: float = 0.0) -> Measurement:
    return simulate(CLEAN, Inpainting(SHAPE, ~HOLE), sigma, noise=NoiseSource([3]))


def grey(sigma: float = 0.0) -> Measurement:
    return simulate(CLEAN, Colorization(SHAPE), sigma, noise=NoiseSource([3]))


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_missing_pixels_that_are_right_are_known_as_the_others_are(sigma: float) -> None:
    before = holed(sigma)
    after = remembered(before, IMAGE, RIGHT)
    check_operator(after.operator)
    known = after.operator.singular_values.expand(SHAPE) > 0
    assert known.equal((~HOLE | RIGHT).expand(SHAPE))
    assert after.y[0, :, ~HOLE].equal(before.y[0, :, ~HOLE])  # what was measured stands
    assert after.y[0, :, HOLE & RIGHT].equal(IMAGE[:, HOLE & RIGHT])
    assert after.sigma == before.sigma


def test_of_a_grey_picture_the_plane_is_known() -> None:
    plane = Measurement(CLEAN[:, :1] * ~HOLE, Inpainting((1, 4, 4), ~HOLE), 0.0)
    wrapped = Achromatic(plane.operator)
    after = remembered(Measurement(wrapped.measured(plane.y), wrapped, 0.0), IMAGE, RIGHT)
    assert isinstance(after.operator, Achromatic)
    check_operator(after.operator)
    expected = remembered(plane, IMAGE.mean(dim=0, keepdim=True), RIGHT)
    assert after.operator.plane(after.y).equal(expected.y)


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_colours_that_are_right_are_exact_hints(sigma: float) -> None:
    after = remembered(grey(sigma), IMAGE, RIGHT)
    assert isinstance(after.operator, ColourHints)
    check_operator(after.operator)
    chroma = IMAGE - IMAGE.mean(dim=0)
    found = after.operator.pinv(after.y)[0]
    torch.testing.assert_close((found - found.mean(dim=0))[:, RIGHT], chroma[:, RIGHT], atol=1e-6, rtol=0)
    torch.testing.assert_close(after.y[:, :1], grey(sigma).y, atol=0, rtol=0)
    noiseless = after.operator.noiseless
    assert noiseless is not None
    assert bool(noiseless.expand(SHAPE)[1:, RIGHT].all())


def test_a_person_says_what_is_right_and_the_rest_is_made_again(tmp_path: Path) -> None:
    prior = GaussianPrior(torch.full(SHAPE, -0.1), 0.02 * torch.eye(48, dtype=torch.float64))
    restorer = Restorer(prior, FIRE.Settings("natural"))
    first = restorer.steer(holed(), candidates=2, outer=2, inner=3, seeds=[7])
    with pytest.raises(ValueError, match=r"choose\(i, 1\) keeps one"):
        first.right(RIGHT)
    kept = first.choose(1, 1)
    begun = kept.right(RIGHT, candidates=2, seeds=[1])
    assert begun.back() is kept
    again = begun.advance()
    stands = ~HOLE | RIGHT
    for image in again.candidates:
        # float32 in [-1, 1] and back
        torch.testing.assert_close(image[:, stands], kept.candidates[0][:, stands], atol=1e-6, rtol=0)
        assert float((image - kept.candidates[0])[:, ~stands].abs().min()) > 0
    again.save(tmp_path / "again")
    loaded = Steered.load(restorer, begun.measurement, tmp_path / "again")
    x0 = loaded.replayed().x0
    assert x0 is not None
    assert restorer.shown(x0).equal(again.candidates)
    with pytest.raises(ValueError, match="another run"):
        Steered.load(restorer, holed(), tmp_path / "again")


@pytest.mark.parametrize(
    ("measurement", "right", "words"),
    [
        (holed(), ~HOLE, "nothing of what is missing"),
        (holed(), HOLE, "nothing is left to restore"),
        (grey(), HOLE & ~HOLE, "nothing of what is missing"),
        (holed(), RIGHT[:2], "image and right must be"),
        (Measurement(torch.zeros(1, 3, 2, 2), SuperResolution(SHAPE, 2), 0.0), RIGHT, "an edit says it softly"),
    ],
)
def test_marks_that_say_nothing_are_refused(measurement: Measurement, right: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        remembered(measurement, IMAGE, right)


QUICK = (*COMMON, "--outer", "1", "--inner", "3")


@pytest.fixture
def folder(folder: Path) -> Path:
    """A folder to work in, with a picture of 64 × 64, a mask of its middle, and marks in and beside it."""
    marked("wrong.png", (10, 20, 30, 40))
    marked("right.png", (16, 16, 48, 44))
    return folder


def marked(name: str, box: tuple[int, int, int, int]) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, box)
    mask.save(name)


def test_command_keeps_what_is_right_and_leaves_the_state_that_it_was_read_from(folder: Path, capsys) -> None:
    restore(*QUICK, "--seed", "3", "-o", "first.png", "--state", "S.state", capsys=capsys)
    stored = Path("S.state").read_bytes()
    marks = (*QUICK, "--seed", "4", "--wrong", "wrong.png", "--right", "right.png")
    asked = (*marks, "-o", "out.png", "--state", "S.state")
    code, _, err = restore(*asked, "--max-nfe", "2", capsys=capsys)
    # of 32 × 32 the lower 4 rows are not right, and 14 × 20 are wrong; 6 × 20 were measured
    assert (code, "616 of 1024 missing pixels are taken as they are at 3 evaluations" in err) == (0, True)
    assert "120 pixels that are marked wrong were measured, and stand" in err
    (beside,) = Path().glob("S-*.state")
    assert beside.name in err
    assert NestedState.load(beside).spent == 1
    assert restore(*asked, capsys=capsys)[0] == 0  # goes on from there
    Path("T.state").write_bytes(stored)
    assert restore(*marks, "-o", "whole.png", "--state", "T.state", capsys=capsys)[0] == 0
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()  # its record, too
    assert Path("S.state").read_bytes() == stored
    wrong = images.load(Path("wrong.png"))[0] > 0.5
    right = (images.load(Path("right.png"))[0] > 0.5) & ~wrong
    first, out = images.load(Path("first.png")), images.load(Path("out.png"))
    assert out[:, right].equal(first[:, right])
    assert float((out - first)[:, wrong & (images.load(Path("mask.png"))[0] > 0.5)].abs().max()) > 0.02
    code, _, err = restore(*asked, capsys=capsys)
    assert (code, "is done; skipped" in err) == (0, True)
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert set(record["marks"]) == {"preview", "right", "wrong"}


def test_command_keeps_colours_that_are_right(folder: Path, capsys) -> None:
    run = ("in.png", "--task", "colorize", *COMMON[5:], "--outer", "1", "--inner", "2", "--seed", "3")
    restore(*run, "-o", "first.png", "--state", "S", capsys=capsys)
    code, _, err = restore(*run, "-o", "out.png", "--state", "S", "--wrong", "wrong.png", capsys=capsys)
    assert (code, "3696 of 4096 colours are taken as they are at 2 evaluations" in err) == (0, True)
    wrong = images.load(Path("wrong.png"))[0] > 0.5
    first, out = images.load(Path("first.png")), images.load(Path("out.png"))
    # 8 bits, and a colour that is cut at 0 or 1 is moved to the measured grey
    assert float((out - first)[:, ~wrong].abs().quantile(0.99)) <= 1.01 / 255


def test_marks_that_do_not_fit_are_one_line(folder: Path, capsys) -> None:
    restore(*QUICK, "--seed", "3", "-o", "first.png", "--state", "S", "--max-nfe", "2", capsys=capsys)
    assert NestedState.load("S").x0 is None
    marked("white.png", (0, 0, 64, 64))
    Image.new("L", (32, 32), 255).save("small.png")
    Path("end").write_bytes(Path("S").read_bytes())
    restore(*QUICK, "--seed", "3", "-o", "end.png", "--state", "end", capsys=capsys)
    Image.open("in.png").rotate(90).save("other.png")
    for options, words in (
        (("--right", "right.png"), "need --state"),
        (("--wrong", "wrong.png", "--state", "none"), "there is no --state none"),
        (("--wrong", "wrong.png", "--state", "S"), "S has come to no preview yet"),
        (("--wrong", "white.png", "--state", "end"), "nothing of what is missing"),
        (("--right", "white.png", "--state", "end"), "nothing is left to restore"),
        (("--right", "small.png", "--state", "end"), "preview's size, 64×64: got 32×32"),
        (("--right", "right.png", "--state", "end", "--candidates", "2"), "leave --candidates and --edit away"),
        (("--right", "right.png", "--state", "end", "--samples", "2"), "a run of one sample"),
    ):
        code, out, err = restore(*QUICK, "-o", "new.png", *options, capsys=capsys)
        assert (code, out, err.count("\n"), words in err) == (2, "", 1, True), err
    marks = ("-o", "new.png", "--right", "right.png", "--state", "end")
    code, _, err = restore("other.png", *QUICK[1:], *marks, capsys=capsys)
    assert (code, err.count("\n"), "end is not of this picture" in err) == (2, 1, True)
    code, _, err = restore("in.png", "--task", "sr2", *COMMON[5:], *marks, capsys=capsys)
    assert (code, err.count("\n"), "not for sr2: --edit says it softly" in err) == (2, 1, True)
    assert not Path("new.png").exists()
