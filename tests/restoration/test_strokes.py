"""Strokes of colour: what somebody painted on a grey picture is measured there, and fades around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import restore

from degradations import Colorization, ColourHints, Measurement
from restoration.pictures import images
from restoration.priors import load_prior
from restoration.tasks import Strokes, Task, pose
from solvers import FIRE

QUICK = ("--task", "colorize", "--prior", "faces-64", "--device", "cpu", "--outer", "1", "--inner", "3")


def strokes(size: tuple[int, int] = (64, 64), **options: float) -> Strokes:
    """One of red, in the dark left half."""
    where = torch.zeros(size, dtype=torch.bool)
    where[30:32, 8:20] = True
    colours = torch.tensor([0.6, 0.3, 0.3])[:, None, None].expand(3, *size)
    return Strokes(colours, where, **options)


def halves() -> torch.Tensor:
    """Dark on the left, light on the right."""
    grey = torch.full((1, 64, 64), 0.4)
    grey[..., 32:] = 0.8
    return grey


def test_a_stroke_fades_into_what_is_near_and_as_light() -> None:
    measurement = strokes().put_on(Measurement(halves()[None], Colorization((3, 64, 64))))
    operator = measurement.operator
    assert isinstance(operator, ColourHints)
    nu = (float(measurement.sigma) / operator.singular_values)[1]
    assert float(nu[30, 10]) == pytest.approx(0.03)
    assert 0.03 < float(nu[33, 10]) < float(nu[40, 10]) < 0.2
    assert float(nu[30, 28]) < torch.inf
    assert bool(nu[:, 32:].isinf().all())  # the light half is within reach, and another thing
    assert bool(nu[:4].isinf().all())
    red = operator.pinv(measurement.y)[0, :, 33, 10]
    torch.testing.assert_close(red - red.mean(), torch.tensor([0.2, -0.1, -0.1]), atol=1e-5, rtol=0)
    alone = strokes(spread=0.0).put_on(Measurement(halves()[None], Colorization((3, 64, 64))))
    assert int((alone.operator.singular_values[1] > 0).sum()) == 24


def test_strokes_are_padded_and_cropped_with_their_picture() -> None:
    whole = strokes()
    part = replace(whole, where=whole.where[10:50, :50], colours=whole.colours[:, 10:50, :50])
    small = pose(Task("colorize"), halves()[:, 10:50, :50], (3, 64, 64), strokes=part)
    seen = small.degraded
    assert tuple(seen.shape) == (3, 40, 50)
    assert float((seen[0] - seen[1])[20:22, 8:20].min()) > 0.25
    fitted = pose(Task("colorize", fit=True), halves().expand(1, 64, 64), (3, 32, 32), strokes=strokes())
    assert float((fitted.degraded[0] - fitted.degraded[1])[14:16, :4].min()) > 0.25  # columns 16 to 19 of 64


def test_a_run_with_strokes_begins_where_a_flat_colour_is_lost_in_noise() -> None:
    """Lower, a network takes the absence of colour around strokes for a grey picture."""
    prior = load_prior("faces-64", "cpu")
    plain = pose(Task("colorize"), halves(), (3, 64, 64)).measurement
    for measurement in (plain, strokes().put_on(plain), strokes(spread=0.0, sigma=0.0).put_on(plain)):
        sampler = FIRE(prior, measurement.in_model_units())
        assert prior.schedule.sigma(sampler.starts((10,))[0]) == pytest.approx(25, rel=0.02)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray((halves()[0].numpy() * 255).astype(np.uint8)).save("in.png")
    painted = np.zeros((64, 64, 4), np.uint8)
    painted[30:32, 8:20] = (150, 70, 70, 255)
    Image.fromarray(painted).save("strokes.png")
    return tmp_path


def test_the_command_keeps_exact_strokes_and_records_them(folder: Path, capsys) -> None:
    common = ("in.png", *QUICK, "--seed", "1", "--strokes", "strokes.png", "-o", "out.png")
    code, _, err = restore(*common, "--strokes-sigma", "0", capsys=capsys)
    assert code == 0, err
    out, told = images.load(Path("out.png")), images.read_record(Path("out.png"))
    wanted = torch.tensor([2.0, -1, -1]) * 80 / 255 / 3
    chroma = (out - out.mean(dim=0))[:, 30:32, 8:20].flatten(1).T
    # rounding to 8 bits, of a channel and of the mean
    torch.testing.assert_close(chroma, wanted.expand_as(chroma), atol=1.1 / 255, rtol=0)
    assert told is not None
    assert told["strokes"][1:] == [0.0, 8.0]
    code, _, err = restore(*common, capsys=capsys)  # other strokes' noise is another result
    assert (code, "strokes is" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--strokes", "in.png"), "has no transparency"),
        (("--strokes", "small.png"), "must have the picture's size, 64×64: got 8×8"),
        (("--strokes", "empty.png"), "transparent everywhere"),
        (("--strokes", "strokes.png", "--strokes-sigma", "-1"), "sigma must be from 0"),
        (("--strokes-spread", "3"), "need --strokes"),
        (("--strokes", "strokes.png", "--task", "sr4"), "--strokes is for colorize, not for sr4"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused_in_one_line(folder: Path, options, message, capsys) -> None:
    small = Image.new("RGBA", (8, 8))
    small.putpixel((1, 1), (200, 2, 3, 255))
    small.save("small.png")
    Image.new("RGBA", (64, 64)).save("empty.png")
    code, _, err = restore("in.png", *QUICK, *options, "-o", "out.png", capsys=capsys)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
