"""``restore`` with pictures that are larger or smaller than the prior, or that a factor does not divide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import running
import torch
from PIL import Image

from nested import NestedState
from restoration.pictures import images

QUICK = ("--prior", "prior", "--allocation", "2,2", "--seed", "1", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that prior, a photo of 41 × 22, a thumbnail of 11 × 9, and a mask for each."""
    monkeypatch.chdir(tmp_path)
    Path("prior").symlink_to(tiny_prior)
    for name, (width, height) in {"photo": (41, 22), "thumb": (11, 9)}.items():
        rows, columns = np.mgrid[:height, :width]
        picture = np.stack([rows * 9, columns * 5, 200 - rows - columns], axis=-1).astype(np.uint8)
        Image.fromarray(picture).save(f"{name}.png")
        Image.fromarray(picture[..., 0]).save(f"{name}-grey.png")
        Image.fromarray(((columns % 8 == 3) * 255).astype(np.uint8)).save(f"{name}-mask.png")
    return tmp_path


def restore(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    return running.restore(*arguments, *QUICK, capsys=capsys)


def pixels(name: str) -> torch.Tensor:
    return images.load(Path(name))


TASKS = {
    "denoise": ("--task", "denoise", "--sigma", "0.1"),
    "sr4": ("--task", "sr4"),
    "colorize": ("--task", "colorize"),
    "inpaint": ("--task", "inpaint"),
}


@pytest.mark.parametrize("name", ["photo", "thumb"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_restores_any_size(folder: Path, capsys, task: str, name: str) -> None:
    given = f"{name}-grey.png" if task == "colorize" else f"{name}.png"
    mask = ("--mask", f"{name}-mask.png") if task == "inpaint" else ()
    code, _, err = restore(given, *TASKS[task], *mask, "-o", "out.png", capsys=capsys)
    assert code == 0
    measured, out, factor = pixels(given), pixels("out.png"), 4 if task == "sr4" else 1
    assert out.shape == (3, measured.shape[1] * factor, measured.shape[2] * factor)
    # what is stored is rounded to 8 bits and clamped, after a result that reproduces y
    if task == "inpaint":
        known = pixels(f"{name}-mask.png")[0] < 0.5
        assert float((out - measured)[:, known].abs().max()) <= 1 / 255
    tiles = {"photo": {1: "41×22 in 6 tiles", 4: "164×88 in 84 tiles"}, "thumb": {4: "44×36 in 9 tiles"}}
    if factor in tiles[name]:
        assert f"{given}: {tiles[name][factor]} of 16×16\n" in err
    else:
        assert f"{given}: padded by reflection, from 11×9 to 16×16; the result is cropped back\n" in err
        assert "tiles" not in err


@pytest.mark.parametrize("task", TASKS)
def test_simulated_pictures_of_any_size_are_scored_without_their_padding(folder: Path, capsys, task: str) -> None:
    code, out, _ = restore("photo.png", *TASKS[task], "--simulate", "--previews", "p", "--json", "-o", "out.png",
                           capsys=capsys)  # fmt: skip
    assert code == 0
    told = [json.loads(line) for line in out.splitlines()]
    *previews, result = [event for event in told if event["event"] != "note"]
    assert [e["path"] for e in previews] == ["p/photo-002.png", "p/photo-004.png"]
    assert all(pixels(e["path"]).shape == (3, 22, 41) for e in (*previews, result))
    mse = float((pixels("out.png") - pixels("photo.png")).square().mean())
    assert result["psnr"] == pytest.approx(-10 * np.log10(mse), abs=0.1)  # the file is rounded to 8 bits


def test_a_factor_that_does_not_divide_is_told_in_one_line(folder: Path, capsys) -> None:
    code, _, err = restore("photo.png", "--task", "sr4", "--simulate", "-o", "out.png", capsys=capsys)
    assert code == 0
    assert err.count("padded by reflection, from 41×22 to 44×24; the result is cropped back") == 1
    assert "44×24 in 6 tiles of 16×16" in err
    out, clean = pixels("out.png")[:, :20, :40], pixels("photo.png")[:, :20, :40]
    means = [x.unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4)) for x in (out, clean)]
    inside = ((out > 0) & (out < 1)).unfold(1, 4, 4).unfold(2, 4, 4).all(dim=4).all(dim=3)
    assert float((means[0] - means[1]).abs()[inside].max()) < 1 / 255  # but where clamping moved a block


def test_fit_makes_no_tiles(folder: Path, capsys) -> None:
    code, _, err = restore("photo.png", "--task", "sr4", "--simulate", "--fit", "-o", "out.png", capsys=capsys)
    assert code == 0
    assert "shrunk, from 41×22 to 16×16" in err
    assert "tiles" not in err
    assert pixels("out.png").shape == (3, 16, 16)


def test_a_stored_run_in_tiles_goes_on_to_the_same_result(folder: Path, capsys) -> None:
    common = ("photo.png", "--task", "sr4", "--simulate")
    restore(*common, "-o", "whole.png", capsys=capsys)
    stored = (*common, "-o", "out.png", "--state", "state")
    restore(*stored, "--max-nfe", "2", capsys=capsys)
    assert NestedState.load("state").outer_step == 1
    code, _, err = restore(*stored, "--overlap", "4", "--overwrite", capsys=capsys)
    assert (code, err.count("\n")) == (2, 3)  # how it was padded, in how many tiles, and why not
    assert "state of another run" in err
    assert restore(*stored, "--tile-batch", "3", capsys=capsys)[0] == 0
    torch.testing.assert_close(pixels("out.png"), pixels("whole.png"), atol=1.01 / 255, rtol=0)
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert (record["overlap"], record["nfe"]) == (2, 4)


def test_samples_of_a_padded_picture(folder: Path, capsys) -> None:
    code, _, _ = restore("thumb.png", *TASKS["denoise"], "--samples", "2", "-o", "out.png", capsys=capsys)
    assert code == 0
    for name in ("out", "out-sample-1", "out-sample-2", "out-std"):
        assert pixels(f"{name}.png").shape[1:] == (9, 11)


def test_a_batch_holds_pictures_of_all_sizes(folder: Path, capsys) -> None:
    code, out, _ = restore("photo.png", "thumb.png", *TASKS["sr4"], "-o", "done", "--json", capsys=capsys)
    assert code == 0
    assert [json.loads(line)["event"] for line in out.splitlines()].count("result") == 2
    assert pixels("done/photo.png").shape == (3, 88, 164)
    assert pixels("done/thumb.png").shape == (3, 36, 44)
