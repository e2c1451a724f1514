"""``restore`` with scans, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from running import restore

from restoration.medical import WARNING, load
from restoration.pictures import images

QUICK = ("--outer", "2", "--inner", "1", "--seed", "1", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_prior: Path, dicoms: Path, niftis: Path) -> Path:
    """A folder with a slice of 12 bits and one of 16, a mask, a volume of three slices and a prior."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_prior, "prior")
    draw = np.random.default_rng(0)
    for name, bits in (("twelve.dcm", 12), ("sixteen.dcm", 16)):
        dataset = pydicom.dcmread(dicoms / "MR_small.dcm")
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
        dataset.Rows = dataset.Columns = 20
        dataset.PixelData = draw.integers(0, 2**bits, (20, 20), np.uint16).tobytes()
        dataset.save_as(name)
    mask = np.zeros((20, 20), np.uint8)
    mask[5:9, 4:12] = 255
    Image.fromarray(mask).save("mask.png")
    volume = draw.integers(0, 4096, (18, 16, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 2, 1])), "brain.nii.gz")
    hole = np.zeros((18, 16, 3), np.uint8)
    hole[4:8, 5:9, 1] = 1
    nibabel.save(nibabel.Nifti1Image(hole, np.diag([1, 1, 2, 1])), "hole.nii.gz")
    return tmp_path


@pytest.mark.parametrize("window", [(), ("--window", "600,400"), ("--window", "p10,p60")])
@pytest.mark.parametrize("name", ["twelve.dcm", "sixteen.dcm"])
def test_noiseless_inpainting_keeps_known_pixels_bit_for_bit(folder: Path, name: str, window: tuple[str]) -> None:
    given = ("--task", "inpaint", "--mask", "mask.png", "--prior", "prior")
    assert restore(name, *given, *window, *QUICK, "-o", "out.dcm")[0] == 0
    before, after = load(name), load("out.dcm")
    known = np.asarray(Image.open("mask.png")) == 0
    assert np.array_equal(before.stored[0][known], after.stored[0][known])
    assert (before.stored[0][~known] != after.stored[0][~known]).mean() > 0.9
    record = images.read_record(folder / "out.dcm")
    assert record["warning"] == WARNING
    low, high = record["window"]
    # what is filled lies in the window, whatever was in the hole
    assert low - 1 <= after.units[0][~known].min() <= after.units[0][~known].max() <= high + 1


def test_a_volume_is_restored_in_slices_and_keeps_its_header(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", *QUICK)
    code, _, err = restore("brain.nii.gz", *options, "--previews", "p", "-o", "out.nii.gz", capsys=capsys)
    assert code == 0
    assert err.count(WARNING) == 1
    before, after = nibabel.load("brain.nii.gz"), nibabel.load("out.nii.gz")
    assert (before.shape, before.get_data_dtype()) == (after.shape, after.get_data_dtype())
    assert np.array_equal(before.affine, after.affine)
    assert (np.asarray(before.dataobj) != np.asarray(after.dataobj)).mean() > 0.9
    assert sorted(path.name for path in Path("p").iterdir()) == ["brain-001.nii.gz", "brain-002.nii.gz"]
    assert "skipped" in restore("brain.nii.gz", *options, "-o", "out.nii.gz", capsys=capsys)[2]
    # a slice does not depend on how many there are
    first = nibabel.load("brain.nii.gz").slicer[:, :, :1]
    nibabel.save(first, "one.nii.gz")
    assert restore("one.nii.gz", *options, "--window", "2047.5,4095", "-o", "one-out.nii.gz")[0] == 0
    assert restore("brain.nii.gz", *options, "--window", "2047.5,4095", "-o", "all-out.nii.gz")[0] == 0
    alone, among = (
        np.asarray(nibabel.load(name).dataobj)[..., 0] for name in ("one-out.nii.gz", "all-out.nii.gz")
    )
    assert np.abs(alone.astype(int) - among).max() <= 1  # a rounding


def test_a_small_tile_batch_gives_the_same_volume(folder: Path) -> None:
    options = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", *QUICK, "--axis", "1")
    assert restore("brain.nii.gz", *options, "-o", "a.nii")[0] == 0
    assert restore("brain.nii.gz", *options, "--tile-batch", "2", "-o", "b.nii")[0] == 0
    a, b = (np.asarray(nibabel.load(name).dataobj).astype(int) for name in ("a.nii", "b.nii"))
    assert np.abs(a - b).max() <= 1


def test_slices_without_a_hole_are_left_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--task", "inpaint", "--mask", "hole.nii.gz", "--prior", "prior")
    code, _, err = restore("brain.nii.gz", *given, *QUICK, "-o", "out.nii.gz", capsys=capsys)
    assert code == 0
    assert "1 of 3 slices have something to fill" in err
    before, after, hole = (np.asarray(nibabel.load(f"{n}.nii.gz").dataobj) for n in ("brain", "out", "hole"))
    assert np.array_equal(before[hole == 0], after[hole == 0])
    assert (before[hole == 1] != after[hole == 1]).mean() > 0.8


def test_samples_of_a_volume_are_a_mean_a_spread_and_themselves(folder: Path) -> None:
    given = ("--task", "denoise", "--sigma", "0.2", "--prior", "prior", "--samples", "2")
    assert restore("brain.nii.gz", *given, *QUICK, "--state", "run", "-o", "out.nii.gz")[0] == 0
    mean, std, one, two = (
        np.asarray(nibabel.load(f"out{name}.nii.gz").dataobj, float)
        for name in ("", "-std", "-sample-1", "-sample-2")
    )
    assert mean == pytest.approx((one + two) / 2, abs=1)  # each is rounded
    inside = (one > 1) & (two > 1) & (one < 4094) & (two < 4094)  # not cut
    assert std[inside] == pytest.approx((np.abs(one - two) / 2**0.5)[inside], abs=1.5)
    assert images.read_record(folder / "out.nii.gz")["seeds"] == [1, 2]
    assert restore("brain.nii.gz", *given, *QUICK, "--state", "run", "-o", "again.nii.gz")[0] == 0
    assert np.array_equal(np.asarray(nibabel.load("again.nii.gz").dataobj, float), mean)


def stored(name: str) -> np.ndarray:
    return np.asarray(nibabel.load(name).dataobj, float)


def test_slices_that_are_drawn_together_flicker_less_in_samples_and_previews_alike(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", *QUICK, "--samples", "2")
    assert restore("brain.nii.gz", *given, "-o", "alone.nii.gz")[0] == 0
    together = (*given, "--together", "5", "--previews", "p")
    code, _, err = restore("brain.nii.gz", *together, "-o", "out.nii.gz", capsys=capsys)
    assert code == 0
    assert "neighbouring slices are drawn together" in err
    for sample in ("-sample-1", "-sample-2", ""):
        drawn, alone = (np.abs(np.diff(stored(f"{name}{sample}.nii.gz"))).mean() for name in ("out", "alone"))
        assert drawn < 0.9 * alone  # measured 0.77 to 0.79 of it
    assert len(list(Path("p").iterdir())) == 2
    assert images.read_record(folder / "out.nii.gz")["scan"] == {"together": 5}
    assert "skipped" in restore("brain.nii.gz", *together, "-o", "out.nii.gz", capsys=capsys)[2]
    assert restore("brain.nii.gz", *together, "--together", "4", "-o", "out.nii.gz")[0] == 2


def test_a_run_that_is_drawn_together_goes_on_to_the_same_bits_and_in_small_batches(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", *QUICK, "--float", "--together", "1")
    assert restore("brain.nii.gz", *given, "-o", "whole.nii")[0] == 0
    assert restore("brain.nii.gz", *given, "--state", "run", "--max-nfe", "1", "-o", "first.nii")[0] == 0
    code, _, err = restore(
        "brain.nii.gz", *given, "--together", "0.5", "--state", "run", "-o", "no.nii", capsys=capsys
    )
    assert code == 2
    assert len(err.strip().splitlines()[-1:]) == 1
    assert "run" in err
    assert not Path("no.nii").exists()
    assert restore("brain.nii.gz", *given, "--state", "run", "-o", "rest.nii")[0] == 0
    assert np.array_equal(stored("whole.nii"), stored("rest.nii"))
    assert not np.array_equal(stored("whole.nii"), stored("first.nii"))
    assert restore("brain.nii.gz", *given, "--tile-batch", "2", "-o", "small.nii")[0] == 0
    assert np.abs(stored("whole.nii") - stored("small.nii")).max() < 1  # of 4095: other sums' rounding


def test_what_could_be_had_of_a_volume_by_then_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", "--together", "1", "--samples", "2")
    code, _, err = restore("brain.nii.gz", *given, "--plan", "5s", "--device", "cpu", capsys=capsys)
    assert code == 0
    assert "evaluations by 5 s" in err


def test_a_result_of_another_axis_is_not_taken_for_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", *QUICK, "--float", "-o", "out.nii")
    assert restore("brain.nii.gz", *given)[0] == 0
    for axis in ("0", "1"):
        code, _, err = restore("brain.nii.gz", *given, "--axis", axis, capsys=capsys)
        assert code == 2
        assert "out.nii exists" in err
    assert restore("brain.nii.gz", *given, "--axis", "0", "--overwrite")[0] == 0
    assert images.read_record(folder / "out.nii")["scan"] == {"axis": 0, "float": True}


def test_float_results_are_not_rounded(folder: Path) -> None:
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", "--float")
    assert restore("brain.nii.gz", *given, *QUICK, "-o", "out.nii")[0] == 0
    assert nibabel.load("out.nii").get_data_dtype() == np.float32
    assert restore("twelve.dcm", *given, *QUICK, "-o", "out.tif")[0] == 0
    assert images.read(folder / "out.tif").depth == 32


def test_a_folder_of_slices_becomes_a_folder_of_slices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    shutil.move("twelve.dcm", "in/a.dcm")
    shutil.move("sixteen.dcm", "in/IM0002")
    given = ("--task", "denoise", "--sigma", "0.1", "--prior", "prior", "--deidentify")
    code, _, err = restore("in/a.dcm", "in/IM0002", *given, *QUICK, "-o", "out/", capsys=capsys)
    assert code == 0
    assert err.count(WARNING) == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["IM0002.dcm", "a.dcm"]
    assert pydicom.dcmread("out/a.dcm").PatientName == ""


REFUSALS = {
    ("twelve.dcm", "--task", "colorize", "-o", "o.dcm"): "is a scan: colorize is for photographs",
    ("brain.nii.gz", "--task", "sr4", "-o", "o.png"): "a scan of 3 slices is written as one of",
    ("brain.nii.gz", "--task", "sr4", "-o", "o.dcm"): "DICOM is written only of what was read from it",
    ("mask.png", "--task", "sr4", "-o", "o.nii.gz"): "are written only of what was read so",
    ("mask.png", "--task", "sr4", "--window", "1,2", "-o", "o.png"): "--window is for DICOM and NIfTI",
    ("twelve.dcm", "--task", "sr4", "--axis", "1", "-o", "o.dcm"): "leave --axis away",
    ("twelve.dcm", "--task", "sr4", "--float", "-o", "o.dcm"): "DICOM images hold whole numbers",
    ("twelve.dcm", "--task", "sr4", "--window", "wide", "-o", "o.dcm"): "--window must be C,W",
    ("brain.nii.gz", "--task", "sr4", "--axis", "3", "-o", "o.nii"): "--axis must be 0, 1 or 2",
    ("brain.nii.gz", "--task", "sr4", "--candidates", "2", "-o", "o.nii"): "this is a scan of 3 slices",
    (
        "brain.nii.gz",
        "--task",
        "sr4",
        "--together",
        "-1",
        "-o",
        "o.nii",
    ): "--together must be from 0 to 100: got -1",
    ("brain.nii.gz", "--task", "sr4", "--together", "nan", "-o", "o.nii"): "--together must be",
    ("mask.png", "--task", "sr4", "--together", "1", "-o", "o.png"): "--together is for DICOM and NIfTI",
    ("twelve.dcm", "--task", "sr4", "--together", "1", "-o", "o.dcm"): "--together is for scans of several slices",
    ("brain.nii.gz", "--task", "inpaint", "--mask", "mask.png", "-o", "o.nii"): "must have the picture's size",
}


@pytest.mark.parametrize("arguments", REFUSALS, ids=lambda one: REFUSALS[one])
def test_what_does_not_fit_is_refused_in_one_line_before_any_work(
    folder: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = restore(*arguments, "--prior", "prior", *QUICK, capsys=capsys)
    assert code == 2
    assert REFUSALS[arguments] in err
    assert len(err.strip().splitlines()) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith("o.")]


def test_json_tells_the_warning_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--task", "denoise", "--sigma", "auto", "--prior", "prior", "--json")
    code, out, _ = restore("brain.nii.gz", *given, *QUICK, "-o", "out.nii", capsys=capsys)
    assert code == 0
    told = [json.loads(line) for line in out.splitlines()]
    notes = [event["message"] for event in told if event["event"] == "note"]
    assert notes.count(WARNING) == 1
    assert any("is estimated in the picture" in note for note in notes)
