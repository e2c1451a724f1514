"""``restore`` with the tasks that have options of their own, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import running
from PIL import Image

from restoration.pictures import images

OUT = ("-o", "out.png")


@pytest.fixture
def folder(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with that prior, a photo of 40 × 24 in several formats, and kernels."""
    monkeypatch.chdir(tmp_path)
    Path("prior").symlink_to(tiny_prior)
    rows, columns = np.mgrid[:24, :40]
    picture = np.stack([rows * 9, columns * 5, 200 - rows - columns], axis=-1).astype(np.uint8)
    Image.fromarray(picture).save("photo.png")
    Image.fromarray(picture[..., 0]).save("grey.png")
    Image.fromarray(picture).save("photo.jpg", quality=30)
    Image.fromarray(((columns % 8 == 3) * 255).astype(np.uint8)).save("mask.png")
    Image.new("RGB", (24, 24), (90, 120, 30)).save("flat.png")
    Image.fromarray(picture[:12, :12]).save("tiny.png")
    np.save("even.npy", np.ones((4, 4)))
    np.save("zero.npy", np.array([[1.0, -2.0, 1.0]]))
    np.save("nan.npy", np.full((3, 3), np.nan))
    np.save("k.npy", np.ones((3, 3)))
    np.save("inf.npy", np.full((3, 3), np.inf))
    np.save("3d.npy", np.ones((3, 3, 3)))
    Path("text.npy").write_text("no numbers")
    Image.new("L", (5, 5)).save("black.png")
    return tmp_path


def restore(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    quick = ("--prior", "prior", "--allocation", "2,2", "--seed", "1", "--device", "cpu")
    return running.restore(*arguments, *quick, capsys=capsys)


RESTORED = {
    "blur": ("photo.png", "--task", "deblur", "--kernel", "disk:1.5"),
    "blur of a file": ("photo.png", "--task", "deblur", "--kernel", "k.npy", "--sigma", "0.02"),
    "blur, simulated": ("photo.png", "--task", "deblur", "--kernel", "motion:5,30", "--simulate"),
    "shrunk": ("photo.png", "--task", "sr2", "--kernel", "bicubic"),
    "shrunk, simulated": ("photo.png", "--task", "sr4", "--kernel", "gaussian:1.2", "--simulate"),
    "mosaic": ("grey.png", "--task", "demosaic", "--pattern", "GBRG"),
    "mosaic, simulated": ("photo.png", "--task", "demosaic", "--pattern", "RGGB", "--simulate"),
    "old print": ("photo.png", "--task", "colorize+inpaint", "--mask", "mask.png"),
    "old print, simulated": ("photo.png", "--task", "colorize+sr2", "--kernel", "bicubic", "--simulate"),
    "jpeg": ("photo.jpg", "--task", "jpeg"),
    "jpeg, simulated": ("photo.png", "--task", "jpeg", "--simulate", "--quality", "20"),
}


@pytest.mark.parametrize("name", RESTORED)
def test_every_task_restores_and_records_its_options(folder: Path, capsys, name: str) -> None:
    code, out, _ = restore(*RESTORED[name], *OUT, "--json", capsys=capsys)
    assert code == 0
    *_, last, result = (event for event in map(json.loads, out.splitlines()) if event["event"] != "progress")
    for score in ("psnr", "reencoded"):
        assert last.get(score) == result.get(score)
    factor = 2 if name == "shrunk" else 1
    assert images.load(Path("out.png")).shape == (3, 24 * factor, 40 * factor)
    assert ("psnr" in result) == ("--simulate" in RESTORED[name])
    assert ("reencoded" in result) == ("jpeg" in RESTORED[name])
    record = images.read_record(Path("out.png"))
    assert record is not None
    for option in ("kernel", "quality", "pattern"):
        given = dict(zip(RESTORED[name], RESTORED[name][1:], strict=False)).get(f"--{option}")
        assert str(record.get(option)) == str(given)


def test_another_kernel_is_another_result(folder: Path, capsys) -> None:
    blur = ("photo.png", "--task", "deblur", *OUT, "--kernel")
    assert restore(*blur, "k.npy", capsys=capsys)[0] == 0
    code, _, err = restore(*blur, "k.npy", capsys=capsys)
    assert (code, "is done" in err) == (0, True)
    np.save("k.npy", np.eye(3))  # the same name
    code, _, err = restore(*blur, "k.npy", capsys=capsys)
    assert (code, err.count("\n"), "kernel_sha256" in err) == (2, 1, True)


def test_an_estimated_sigma_is_told_recorded_and_found_again(folder: Path, capsys) -> None:
    noisy = np.asarray(Image.open("photo.png")) + np.random.default_rng(0).normal(0, 0.1 * 255, (24, 40, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save("noisy.png")
    denoise = ("noisy.png", "--task", "denoise", "--sigma", "auto", *OUT)
    code, _, err = restore(*denoise, capsys=capsys)
    assert code == 0
    assert "noisy.png: noise of σ = 0.0" in err
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert record["sigma"] == "auto"
    assert record["sigma_estimated"] == pytest.approx(0.1, abs=0.02)  # noise beyond black and white is cut
    code, _, err = restore(*denoise, capsys=capsys)
    assert (code, "is done" in err) == (0, True)


BAD = {
    "kernel missing": (("photo.png", "--task", "deblur"), "deblur needs kernel"),
    "kernel unknown": (("photo.png", "--task", "deblur", "--kernel", "round:3"), "kernel must be gaussian:SIGMA"),
    "kernel even": (("photo.png", "--task", "deblur", "--kernel", "even.npy"), "odd sides"),
    "kernel of sum 0": (("photo.png", "--task", "deblur", "--kernel", "zero.npy"), "sum to 0"),
    "kernel NaN": (("photo.png", "--task", "deblur", "--kernel", "nan.npy"), "finite"),
    "kernel infinite": (("photo.png", "--task", "deblur", "--kernel", "inf.npy"), "finite"),
    "kernel of a picture, black": (("photo.png", "--task", "deblur", "--kernel", "black.png"), "sum to 0"),
    "kernel of three dimensions": (("photo.png", "--task", "deblur", "--kernel", "3d.npy"), "real numbers"),
    "kernel of a text": (("photo.png", "--task", "deblur", "--kernel", "text.npy"), "no .npy file of numbers"),
    "kernel large": (("photo.png", "--task", "deblur", "--kernel", "uniform:31"), "at most as large as"),
    "kernel elsewhere": (("photo.png", "--task", "colorize", "--kernel", "disk:2"), "kernel is for sr2"),
    "kernel of the wrong parity": (("photo.png", "--task", "sr4", "--kernel", "k.npy"), "even sides"),
    "kernel that shrinks nothing": (("photo.png", "--task", "sr4", "--kernel", "disk:2"), "kernel must be box"),
    "pattern missing": (("grey.png", "--task", "demosaic"), "demosaic needs pattern"),
    "pattern unknown": (("grey.png", "--task", "demosaic", "--pattern", "RGBG"), "pattern must be one of RGGB"),
    "pattern in small": (("grey.png", "--task", "demosaic", "--pattern", "rggb"), "pattern must be one of RGGB"),
    "pattern elsewhere": (("grey.png", "--task", "colorize", "--pattern", "RGGB"), "pattern is for demosaic"),
    "mosaic in colour": (("photo.png", "--task", "demosaic", "--pattern", "RGGB"), "photo.png: has colour"),
    "mosaic in colour, and more": (
        ("photo.png", "--task", "demosaic+inpaint", "--pattern", "RGGB", "--mask", "mask.png"),
        "photo.png: has colour",
    ),
    "of the paper and more": (("photo.png", "--task", "colorize+cs4"), "cs4 with another"),
    "two in space": (("photo.png", "--task", "sr4+deblur", "--kernel", "disk:2"), "sr4 and deblur together"),
    "mosaic and grey": (("grey.png", "--task", "colorize+demosaic", "--pattern", "RGGB"), "colorize lacks"),
    "mask after a kernel": (
        ("photo.png", "--task", "sr4+inpaint", "--kernel", "bicubic", "--mask", "mask.png"),
        "leave the kernel away",
    ),
    "nothing after a plus": (("photo.png", "--task", "colorize+"), "task must be one of"),
    "noise and more": (("photo.png", "--task", "denoise+sr4"), "leave denoise away"),
    "two of one kind": (("photo.png", "--task", "sr4+sr2"), "sr4+sr2 cannot be restored"),
    "mask after blur": (("photo.png", "--task", "deblur+inpaint", "--kernel", "disk:2"), "a mask after a blur"),
    "jpeg and more": (("photo.jpg", "--task", "jpeg+colorize"), "jpeg with another"),
    "no mask": (("grey.png", "--task", "colorize+inpaint"), "needs --mask"),
    "sigma in words": (("photo.png", "--task", "sr4", "--sigma", "some"), "--sigma must be a number or auto"),
    "sigma of a simulation": (
        ("photo.png", "--task", "denoise", "--sigma", "auto", "--simulate"),
        "sigma cannot be estimated (--sigma auto) for denoise",
    ),
    "sigma of a file": (("photo.jpg", "--task", "jpeg", "--sigma", "auto"), "its noise is known"),
    "no noise": (("flat.png", "--task", "denoise", "--sigma", "auto"), "no noise is found"),
    "too small for sigma": (("tiny.png", "--task", "denoise", "--sigma", "auto"), "are too few to estimate"),
    "jpeg of a PNG": (("photo.png", "--task", "jpeg"), "photo.png: is PNG"),
    "jpeg with sigma": (("photo.jpg", "--task", "jpeg", "--sigma", "0.1"), "sigma must be left away"),
    "jpeg, fit": (("photo.jpg", "--task", "jpeg", "--fit"), "fit would cut"),
    "quality missing": (("photo.png", "--task", "jpeg", "--simulate"), "needs quality"),
    "quality 0": (("photo.png", "--task", "jpeg", "--simulate", "--quality", "0"), "needs quality"),
    "quality of a file": (("photo.jpg", "--task", "jpeg", "--quality", "10"), "quality is for simulate"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(folder: Path, capsys, name: str) -> None:
    arguments, message = BAD[name]
    before = sorted(folder.rglob("*"))
    code, out, err = restore(*arguments, *OUT, capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert sorted(folder.rglob("*")) == before
