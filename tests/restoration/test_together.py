"""``restore --batch``: several inputs at once, to the same results, files and events as one by one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import running
from PIL import Image

from restoration.pictures import images

LEVEL = 1.01 / 255
"""Results agree to rounding, their floats to about 1e-6 on faces-64, so that a byte may be the next one."""
QUICK = ("--task", "sr4", "--allocation", "2,1", "--seed", "1", "--device", "cpu", "--prior", "faces-64")
COMMAND = (sys.executable, "-c", "from restoration.commands.restore import script; script()")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four small pictures in ``in``, one of them larger than the others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    draw = np.random.default_rng(0)
    for name, side in (("a", 16), ("b", 16), ("c", 24), ("d", 16)):
        smooth = Image.fromarray(draw.integers(0, 256, (4, 4, 3), np.uint8)).resize((side, side))
        smooth.save(f"in/{name}.png")
    return tmp_path


def restore(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, object]], str]:
    """Run the command in this process: exit code, events, stderr."""
    code, out, err = running.restore(*arguments, "--json", capsys=capsys)
    return code, [json.loads(line) for line in out.splitlines()], err


def test_results_previews_and_events_are_those_of_one_by_one(folder: Path, capsys) -> None:
    told = {}
    for batch in (1, 3):
        where = ("-o", f"out{batch}/", "--previews", f"seen{batch}")
        code, told[batch], _ = restore("in", *QUICK, *where, "--batch", batch, capsys=capsys)
        assert code == 0
    for kind in ("out", "seen"):
        names = sorted(path.name for path in Path(f"{kind}1").iterdir())
        assert names == sorted(path.name for path in Path(f"{kind}3").iterdir())
        for name in names:
            one, other = images.load(Path(f"{kind}1") / name), images.load(Path(f"{kind}3") / name)
            assert float((one - other).abs().max()) < LEVEL
    timeless = [
        sorted(
            json.dumps({k: v for k, v in event.items() if k not in ("elapsed_s", "path")}, sort_keys=True)
            for event in told[batch]
        )
        for batch in (1, 3)
    ]
    assert timeless[0] == timeless[1]
    record = [images.read_record(Path(f"out{batch}") / "c.png") for batch in (1, 3)]
    assert record[0] == record[1]


def test_what_is_there_already_is_skipped_and_what_fails_leaves_the_others(folder: Path, capsys) -> None:
    (folder / "in" / "broken.png").write_bytes(b"no picture")
    code, events, err = restore("in", *QUICK, "-o", "out/", "--batch", "auto", capsys=capsys)
    assert code == 1
    kinds = [event["event"] for event in events if event["event"] in ("result", "error")]
    assert sorted(kinds) == ["error"] + ["result"] * 4
    assert "1 of 5 inputs failed" in err
    code, events, _ = restore("in", *QUICK, "-o", "out/", "--batch", "auto", capsys=capsys)
    assert [event["event"] for event in events].count("skipped") == 4


def test_a_result_that_cannot_be_written_is_told_and_the_others_are(folder: Path, capsys) -> None:
    (folder / "out" / "b.png").mkdir(parents=True)
    code, events, _ = restore("in", *QUICK, "-o", "out/", "--batch", "2", "--overwrite", capsys=capsys)
    assert code == 1
    assert [event["event"] for event in events].count("result") == 3


def test_samples_limits_and_masks_are_each_pictures_own(folder: Path, capsys) -> None:
    options = ("--samples", "2", "--max-nfe", "1", "-o", "out/", "--batch", "4")
    code, events, _ = restore("in/a.png", "in/b.png", *QUICK, *options, capsys=capsys)
    assert code == 0
    results = [event for event in events if event["event"] == "result"]
    assert [(event["nfe"], event["stopped_by"], event["seeds"]) for event in results] == [
        (1, "max_nfe", [1, 2])
    ] * 2
    assert (folder / "out" / "a-sample-2.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "0"), "--batch must be at least 1, or auto: got 0"),
        (("--batch", "many"), "--batch must be a whole number or auto: got 'many'"),
        (("--batch", "4", "--deadline", "3"), "--deadline is the time of one input"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_in_one_line(folder: Path, capsys, options, message) -> None:
    code, _, err = restore("in", *QUICK, "-o", "out/", *options, capsys=capsys)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_an_interrupt_keeps_the_best_of_all_that_are_under_way(folder: Path) -> None:
    long = ("--task", "sr4", "--sampler", "ddrm", "--allocation", "1,400")
    command = (*COMMAND, "in", *long, "--device", "cpu", "--prior", "faces-64")
    process = subprocess.Popen(
        (*command, "-o", "out/", "--json", "--batch", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = 0
    while seen < 2:  # so many have a picture
        seen += json.loads(process.stdout.readline())["event"] == "preview"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    results = [event for event in map(json.loads, out.splitlines()) if event["event"] == "result"]
    assert process.returncode in (0, 130)
    assert len(results) >= 2
    assert {event["stopped_by"] for event in results} == {"interrupt"}
    assert sorted(path.stem for path in (folder / "out").iterdir()) == sorted(
        Path(str(event["input"])).stem for event in results
    )
