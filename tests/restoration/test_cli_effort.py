"""``restore --effort``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from holed import COMMON
from PIL import Image
from running import restore

from nested import Adaptive, NestedState
from restoration.commands.settings import effort_of
from restoration.pictures import images

SEEDED = (*COMMON, "--seed", "7")


def test_an_adaptive_run_stopped_within_an_inner_run_goes_on_to_the_same_bits(folder: Path, capsys) -> None:
    """What is expected to change is below the tolerance when the first inner run, of single pixels, has ended."""
    missing = np.random.default_rng(0).random((64, 64)) < 0.5
    Image.fromarray(missing.astype(np.uint8) * 255).save("mask.png")
    adaptive = (*SEEDED, "--effort", "adaptive:0.5")
    code, out, _ = restore(*adaptive, "-o", "whole.png", "--previews", "p", "--json", capsys=capsys)
    told = [event for event in map(json.loads, out.splitlines()) if event["event"] != "note"]
    assert (code, [e["nfe"] for e in told], told[-1]["total_nfe"]) == (0, [12, 12], 12)
    assert told[-1]["stopped_by"] == "finished"
    record = images.read_record(Path("whole.png"))
    assert record is not None
    assert (record["adaptive"], record["decided"]) == (0.5, [12])
    stored = ("--state", "s")
    assert restore(*adaptive, *stored, "--max-nfe", 7, "-o", "part.png")[0] == 0
    begun = NestedState.load("s")
    assert begun.effort is not None
    assert begun.effort.asks_as(Adaptive(0.5))
    assert begun.spent in (6, 7)  # a preview of the first inner run needs one evaluation more
    assert restore(*adaptive, *stored, "-o", "whole2.png")[0] == 0
    assert np.array_equal(np.asarray(Image.open("whole.png")), np.asarray(Image.open("whole2.png")))
    code, _, err = restore(*SEEDED, "--effort", "adaptive:0.1", *stored, "-o", "other.png", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "did not decide so" in err


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--effort", "adaptive", "--inner", "3"), "takes the place of --outer, --inner and --allocation"),
        (("--effort", "adaptive:x"), "must be a number of evaluations"),
        (("--effort", "adaptive:-1"), "must be a number of evaluations"),
        (("--effort", "much"), "must be a number of evaluations"),
        (("--effort", "0"), "must be a number of evaluations"),
        (("--effort", "adaptive", "--samples", "2"), "leave --samples away"),
        (("--effort", "adaptive", "--candidates", "2"), "leave --candidates away"),
        (("--effort", "adaptive", "--vanilla"), "leave --effort adaptive away"),
    ],
)
def test_an_effort_that_cannot_be_is_one_line(folder: Path, capsys, asked: tuple[str, ...], why: str) -> None:
    code, _, err = restore(*SEEDED, "-o", "out.png", *asked, capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert why in err


def test_a_number_is_a_budget() -> None:
    assert effort_of("30", None, None, None) == ((10, 10, 10), None)
    assert effort_of("12", None, None, None) == ((6, 6), None)
    assert effort_of(None, None, None, "5,4") == ((5, 4), None)
    assert effort_of("adaptive", None, None, None) == ((10, 10, 10), Adaptive().tolerance)
