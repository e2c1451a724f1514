"""Events, as a program that reads them meets them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from restoration.events import Failed, Output, Previewed, Restored, Skipped
from restoration.pictures.picture import whole

OUTPUT = Output("010", whole(torch.zeros(3, 4, 4)), {"task": "sr4"})


def previewed(**changes: object) -> Previewed:
    event = Previewed(
        input="a.png", nfe=10, total_nfe=30, outer_step=1, complete=True, elapsed=1.23456, output=OUTPUT
    )
    return dataclasses.replace(event, **changes)


def restored(**changes: object) -> Restored:
    event = Restored(
        input="a.png", nfe=25, total_nfe=30, outer_step=2, complete=True, elapsed=2.0, outputs=(OUTPUT,),
        stopped_by="max_nfe", seeds=(7, 8),
    )  # fmt: skip
    return dataclasses.replace(event, **changes)


def test_a_preview_tells_what_is_known_and_leaves_out_what_is_not() -> None:
    assert previewed().json() == (
        '{"event": "preview", "input": "a.png", "nfe": 10, "total_nfe": 30, "outer_step": 1, "complete": true, '
        '"elapsed_s": 1.2346}'
    )
    full = previewed(path="p/a-010.png", scores={"psnr": 20.5, "ssim": 0.75}, expected_change=0.1234567)
    assert full.json() == (
        '{"event": "preview", "input": "a.png", "nfe": 10, "total_nfe": 30, "outer_step": 1, "complete": true, '
        '"elapsed_s": 1.2346, "path": "p/a-010.png", "psnr": 20.5, "ssim": 0.75, "expected_change": 0.12346}'
    )


def test_a_result_also_tells_why_it_ended_and_its_seeds() -> None:
    assert restored(path="out.png").json() == (
        '{"event": "result", "input": "a.png", "nfe": 25, "total_nfe": 30, "outer_step": 2, "complete": true, '
        '"elapsed_s": 2.0, "path": "out.png", "stopped_by": "max_nfe", "seeds": [7, 8]}'
    )


def test_what_is_not_restored_tells_where_or_why() -> None:
    assert Skipped("a.png", "done/a.png").json() == '{"event": "skipped", "input": "a.png", "path": "done/a.png"}'
    assert json.loads(Failed("a.png", "a.png: is damaged").json()) == {
        "event": "error",
        "input": "a.png",
        "message": "a.png: is damaged",
    }


@pytest.mark.parametrize(
    "event",
    [previewed(), restored(), Skipped("a", "b"), Failed("a", "two\nlines")],
    ids=lambda e: type(e).__name__,
)
def test_every_event_is_frozen_and_one_line(event: Previewed | Restored | Skipped | Failed) -> None:
    assert "\n" not in event.json()
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.input = "another"  # type: ignore[misc]


def test_events_and_settings_do_not_import_torch() -> None:
    script = "import restoration.events, restoration.commands.settings, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
