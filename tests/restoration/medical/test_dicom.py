"""DICOM in and out: numbers that stay, headers that say what was done, and patients that are left out."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from restoration import ImageError, OutputError
from restoration.medical import WARNING, Volume, deidentify, files, load, save

READ = {
    "MR_small.dcm": ((1, 64, 64), "int16"),
    "MR_small_RLE.dcm": ((1, 64, 64), "int16"),
    "MR_small_bigendian.dcm": ((1, 64, 64), "int16"),
    "MR_small_implicit.dcm": ((1, 64, 64), "int16"),
    "MR_small_jp2klossless.dcm": ((1, 64, 64), "int16"),
    "MR_small_jpeg_ls_lossless.dcm": ((1, 64, 64), "int16"),
    "CT_small.dcm": ((1, 128, 128), "int16"),
    "JPEG2000.dcm": ((1, 1024, 256), "int16"),
    "JPEGLSNearLossless_16.dcm": ((1, 50, 10), "uint16"),
    "JPGExtended.dcm": ((1, 1024, 256), "uint16"),
    "examples_overlay.dcm": ((1, 300, 484), "uint16"),
    "image_dfl.dcm": ((1, 512, 512), "uint8"),
}
REFUSED = {
    "ExplVR_BigEnd.dcm": "is RGB; only grey",
    "examples_palette.dcm": "is PALETTE COLOR; only grey",
    "examples_ybr_color.dcm": "is YBR_FULL_422; only grey",
    "rtdose.dcm": "has 32 bits in 32; 8 to 16",
    "liver_1frame.dcm": "has 1 bits in 1; 8 to 16",
    "reportsi.dcm": r"holds no pixels \(Basic Text SR Storage\)",
    "MR_truncated.dcm": "damaged or incomplete",
    "no_meta.dcm": "is no DICOM or NIfTI file",
}
CHANGED = {
    *("InstanceCreationDate", "InstanceCreationTime", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription"),
    *("ImageType", "DerivationDescription", "DerivationCodeSequence", "SourceImageSequence", "ImageComments"),
    *("ContributingEquipmentSequence", "SmallestImagePixelValue", "LargestImagePixelValue", "PixelData"),
}
"""What a derived image may say otherwise than its source; and our private elements."""
DROPPED = {"DataSetTrailingPadding", "IconImageSequence"}


def dataset(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in files that were shipped to be odd
        return pydicom.dcmread(path)


def restored(path: Path, out: Path, **options: Any) -> tuple[Dataset, Dataset]:
    """Source and result, whose first pixel is changed."""
    volume = load(path)
    images = volume.images.clone()
    images[:, :, 0, 0] = 1 - images[:, :, 0, 0].round()
    record = {"task": "inpaint", "prior": "brain-mri-128", "seeds": [7], "window": [0.0, 1.0]}
    save(out, volume.like(images), record, **options)
    return dataset(path), dataset(out)


@pytest.mark.parametrize("name", READ)
def test_each_transfer_syntax_is_read_and_written_number_by_number(
    dicoms: Path, tmp_path: Path, name: str
) -> None:
    volume = load(dicoms / name)
    assert (volume.shape, volume.stored.dtype) == (READ[name][0], np.dtype(READ[name][1]))
    _, result = restored(dicoms / name, tmp_path / "out.dcm")
    before, after = dataset(dicoms / name).pixel_array, result.pixel_array
    assert before.dtype.newbyteorder("=") == after.dtype.newbyteorder("=")
    assert np.array_equal(before.ravel()[1:], after.ravel()[1:])
    assert before.ravel()[0] != after.ravel()[0]
    assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(dicoms: Path, name: str) -> None:
    with pytest.raises(ImageError, match=REFUSED[name]):
        load(dicoms / name)


@pytest.mark.parametrize("name", READ)
def test_only_what_a_derived_image_must_say_is_said_otherwise(dicoms: Path, tmp_path: Path, name: str) -> None:
    before, after = restored(dicoms / name, tmp_path / "out.dcm")
    tags = {*before.keys(), *after.keys()}
    changed = set()
    for tag in tags:
        old, new = before.get(tag), after.get(tag)
        if old is None or new is None or old.value != new.value:
            changed.add((old or new).keyword or f"private {tag}")
    private = {word for word in changed if word.startswith("private")}
    assert changed - private <= CHANGED | {"LossyImageCompression", "LossyImageCompressionMethod"} | DROPPED
    assert len(private) == 2
    kept = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "SOPClassUID", "Modality")
    assert all(before.get(word) == after.get(word) for word in kept)


def test_a_result_says_what_it_is_derived_from_and_that_it_is_not_for_diagnosis(
    dicoms: Path, tmp_path: Path
) -> None:
    before, after = restored(dicoms / "CT_small.dcm", tmp_path / "out.dcm")
    assert after.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert after.ImageType[2:] == before.ImageType[2:]
    assert after.DerivationDescription.startswith(WARNING)
    assert "inpaint, prior brain-mri-128, window 0 to 1, seed 7" in after.DerivationDescription
    assert after.ImageComments.startswith(WARNING)
    source = after.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert after.ContributingEquipmentSequence[-1].Manufacturer == "nested-restoration"
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert files.read_record((tmp_path / "out.dcm").read_bytes())["seeds"] == [7]
    again, _ = dataset(tmp_path / "out.dcm"), restored(tmp_path / "out.dcm", tmp_path / "twice.dcm")
    twice = dataset(tmp_path / "twice.dcm")
    assert twice.ImageComments == again.ImageComments  # the warning stands once
    assert twice.SeriesDescription.count("(restored)") == 1
    assert len(twice.ContributingEquipmentSequence) == 2


@pytest.mark.parametrize("deidentified", [False, True])
@pytest.mark.parametrize("name", READ)
def test_results_pass_pydicoms_strict_validation(
    dicoms: Path, tmp_path: Path, name: str, deidentified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = restored(dicoms / name, tmp_path / "out.dcm", deidentify=deidentified)
    odd = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for element in source:
            try:
                pydicom.dataelem.DataElement(element.tag, element.VR, element.value, validation_mode=RAISE)
            except (ValueError, UserWarning):
                odd.add(element.keyword)  # it was not valid before
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", RAISE)
    result = pydicom.dcmread(tmp_path / "out.dcm")
    pydicom.dataset.validate_file_meta(result.file_meta, enforce_standard=True)

    def check(_: Dataset, element: Any) -> None:
        if element.keyword not in odd and element.VR != "SQ":
            pydicom.dataelem.DataElement(element.tag, element.VR, element.value, validation_mode=RAISE)

    result.walk(check)
    if not odd:
        result.pixel_array  # noqa: B018 - it decodes
    assert len(result.PixelData) == 2 * -(-result.Rows * result.Columns * result.BitsAllocated // 16)


RAISE = pydicom.config.RAISE


def test_what_was_compressed_with_loss_says_so_and_what_was_not_does_not(dicoms: Path, tmp_path: Path) -> None:
    _, lossy = restored(dicoms / "JPGExtended.dcm", tmp_path / "a.dcm")
    assert (lossy.LossyImageCompression, lossy.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    _, whole = restored(dicoms / "MR_small_jp2klossless.dcm", tmp_path / "b.dcm")
    assert whole.get("LossyImageCompression") in (None, "00")


def test_slices_of_one_series_make_one_series_and_images_of_their_own(dicoms: Path, tmp_path: Path) -> None:
    first = dataset(dicoms / "MR_small.dcm")
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    first.save_as(tmp_path / "second.dcm")
    _, one = restored(dicoms / "MR_small.dcm", tmp_path / "a.dcm")
    _, two = restored(tmp_path / "second.dcm", tmp_path / "b.dcm")
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != first.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.StudyInstanceUID == first.StudyInstanceUID


def test_rescaling_and_units_are_the_files(dicoms: Path) -> None:
    volume = load(dicoms / "CT_small.dcm")
    assert (volume.slope, volume.intercept, volume.unit) == (1.0, -1024.0, "HU")
    assert (volume.window.low, volume.window.high) == (-896.0, 1167.0)
    assert volume.spacing == pytest.approx((5.0, 0.661468, 0.661468))
    first = volume.affine @ [0, 0, 0, 1]
    place = dataset(dicoms / "CT_small.dcm").ImagePositionPatient
    assert first[:3] == pytest.approx([-place[0], -place[1], place[2]])


def changed(path: Path, out: Path, **values: Any) -> Path:
    """A file with other attributes."""
    other = dataset(path)
    for name, value in values.items():
        setattr(other, name, value)
    other.save_as(out)
    return out


def test_monochrome1_is_shown_as_it_is_looked_at_and_kept(dicoms: Path, tmp_path: Path) -> None:
    given = changed(dicoms / "MR_small.dcm", tmp_path / "m1.dcm", PhotometricInterpretation="MONOCHROME1")
    # float32 rounds 1 − x of float64 once
    torch.testing.assert_close(load(given).images, 1 - load(dicoms / "MR_small.dcm").images, atol=1e-7, rtol=0)
    before, after = restored(given, tmp_path / "out.dcm")
    assert after.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(before.pixel_array.ravel()[1:], after.pixel_array.ravel()[1:])


def test_frames_are_slices(dicoms: Path, tmp_path: Path) -> None:
    pixels = dataset(dicoms / "MR_small.dcm").PixelData
    given = changed(dicoms / "MR_small.dcm", tmp_path / "in.dcm", NumberOfFrames=3, PixelData=pixels * 3)
    assert load(given).shape == (3, 64, 64)
    before, after = restored(given, tmp_path / "out.dcm")
    assert after.NumberOfFrames == 3
    assert (before.pixel_array != after.pixel_array).sum() == 3


def test_padding_is_no_part_of_the_range(dicoms: Path, tmp_path: Path) -> None:
    volume = load(dicoms / "693_J2KI.dcm")  # padded with -2000
    assert volume.padding == (-2000.0, -2000.0)
    assert not volume.measured()[volume.stored == -2000].any()


def test_enlarged_images_have_smaller_pixels_in_the_same_place(dicoms: Path, tmp_path: Path) -> None:
    volume, before = load(dicoms / "MR_small.dcm"), dataset(dicoms / "MR_small.dcm")
    large = volume.like(volume.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    save(tmp_path / "out.dcm", large)
    after = dataset(tmp_path / "out.dcm")
    assert (after.Rows, after.Columns) == (128, 128)
    assert list(after.PixelSpacing) == pytest.approx([side / 2 for side in before.PixelSpacing])
    # the middle of both stays where it is
    middle = load(tmp_path / "out.dcm").affine @ [0, 63.5, 63.5, 1]
    assert middle == pytest.approx(volume.affine @ [0, 31.5, 31.5, 1], abs=1e-3)


def test_a_map_is_sixteen_bits_with_a_slope_that_gives_its_units(dicoms: Path, tmp_path: Path) -> None:
    volume = load(dicoms / "CT_small.dcm")
    values = torch.linspace(0, 0.25, 128 * 128).reshape(1, 1, 128, 128)
    save(tmp_path / "std.dcm", volume.mapped(values), {"shows": "standard deviation of the samples"})
    again = load(tmp_path / "std.dcm")
    assert again.units.ravel() == pytest.approx(values.numpy().ravel() * volume.window.width, abs=0.01)
    assert "standard deviation" in dataset(tmp_path / "std.dcm").DerivationDescription


def test_the_list_of_identifiers_has_names_of_dicom_only() -> None:
    assert [name for name in deidentify._REMOVED | deidentify._EMPTIED if tag_for_keyword(name) is None] == []


def test_deidentified_results_name_nobody(dicoms: Path, tmp_path: Path) -> None:
    secret = {
        "PatientName": "Secret^Name",
        "PatientID": "Secret",
        "PatientAddress": "Secret",
        "InstitutionName": "Secret",
        "OperatorsName": "Secret",
        "StudyDescription": "Secret",
        "SeriesDescription": "Secret",
        "ImageComments": "Secret",
        "PatientBirthDate": "19991231",
        "AcquisitionDate": "19991231",
    }
    given = changed(dicoms / "CT_small.dcm", tmp_path / "in.dcm", **secret)
    before, after = restored(given, tmp_path / "out.dcm", deidentify=True)
    content = (tmp_path / "out.dcm").read_bytes()
    assert b"Secret" not in content
    assert b"19991231" not in content
    for old in (
        before.SOPInstanceUID,
        before.StudyInstanceUID,
        before.SeriesInstanceUID,
        before.FrameOfReferenceUID,
    ):
        assert old.encode() not in content
    assert after.PatientIdentityRemoved == "YES"
    assert after.PatientName == after.PatientID == ""
    private = {element.tag for element in after if element.tag.is_private}
    assert {tag.group for tag in private} == {0x99}  # ours
    assert after.SOPClassUID == before.SOPClassUID
    assert after.ImageComments == WARNING
    _, other = restored(given, tmp_path / "again.dcm", deidentify=True)
    assert other.StudyInstanceUID == after.StudyInstanceUID  # references stay together


def test_dicom_is_not_made_of_what_was_none(tmp_path: Path, dicoms: Path) -> None:
    with pytest.raises(OutputError, match="only of what was read from DICOM"):
        save(tmp_path / "out.dcm", Volume.of(np.eye(4)))
    with pytest.raises(OutputError, match=r"must end in \.dcm"):
        save(tmp_path / "out.mha", load(dicoms / "MR_small.dcm"))


def test_a_dicom_slice_becomes_nifti_in_its_place(dicoms: Path, tmp_path: Path) -> None:
    volume = load(dicoms / "CT_small.dcm")
    save(tmp_path / "out.nii.gz", volume, {"task": "denoise"})
    again = load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.sort(again.units, axis=None), np.sort(volume.units, axis=None))
    corner = again.affine @ [0, 0, 0, 1]
    places = [volume.affine @ [0, h, w, 1] for h in (0, 127) for w in (0, 127)]
    assert min(np.abs(corner - place).max() for place in places) < 1e-3
    assert json.loads(json.dumps(files.read_record((tmp_path / "out.nii.gz").read_bytes()))) == {"task": "denoise"}
