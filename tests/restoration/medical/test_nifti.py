"""NIfTI in and out: voxels, affine and header stay; slices stand upright along any axis."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from restoration import ImageError
from restoration.medical import Volume, files, load, save

RIGHT, ANTERIOR, SUPERIOR = np.eye(3)
TOWARDS = {"R": RIGHT, "L": -RIGHT, "A": ANTERIOR, "P": -ANTERIOR, "S": SUPERIOR, "I": -SUPERIOR}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["anatomical.nii", "standard.nii.gz", "reoriented_anat_moved.nii"])
def test_voxels_affine_and_header_stay(niftis: Path, tmp_path: Path, name: str, axis: int) -> None:
    volume = load(niftis / name, axis)
    out = tmp_path / "out.nii.gz"
    save(out, volume.like(volume.images), {"task": "denoise"})
    before, after = nibabel.load(niftis / name), nibabel.load(out)
    assert np.array_equal(before.dataobj.get_unscaled(), after.dataobj.get_unscaled())
    assert np.array_equal(before.affine, after.affine)
    different = [key for key in before.header if before.header[key].tobytes() != after.header[key].tobytes()]
    assert set(different) <= {"descrip", "magic"}
    assert b"NOT FOR DIAGNOSIS" in bytes(after.header["descrip"])
    assert files.read_record(out.read_bytes()) == {"task": "denoise"}
    assert len(after.header.extensions) == len(before.header.extensions) + 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_affine_of_slices_is_the_affine_of_voxels(niftis: Path, axis: int) -> None:
    volume, image = load(niftis / "anatomical.nii", axis), nibabel.load(niftis / "anatomical.nii")
    numbers = image.dataobj.get_unscaled()
    for place in ((0, 0, 0), (3, 4, 5), (20, 11, 7)):
        voxel = np.linalg.solve(image.affine, volume.affine @ [*place, 1])[:3].round().astype(int)
        assert numbers[tuple(voxel)] == volume.stored[place]


def test_slices_stand_as_they_are_looked_at(tmp_path: Path) -> None:
    """Superior or anterior is up, the patient's right on the left, whatever the order of the array."""
    for codes in (("R", "A", "S"), ("L", "P", "I"), ("S", "L", "A"), ("P", "S", "R")):
        affine = np.eye(4)
        affine[:3, :3] = np.stack([TOWARDS[code] for code in codes], axis=1)
        numbers = np.zeros((5, 7, 9), np.int16)
        world = np.linalg.inv(affine)
        middle = affine @ [*((np.array(numbers.shape) - 1) / 2), 1]
        for mark, step in ((1, (1, 0, 0)), (2, (0, 1, 0)), (3, (0, 0, 1))):  # towards right, anterior, superior
            voxel = (world @ (middle + np.array([*(2 * np.array(step)), 0])))[:3]
            numbers[tuple(np.rint(voxel).astype(int))] = mark
        nibabel.save(nibabel.Nifti1Image(numbers, affine), tmp_path / "a.nii")
        axial = next(i for i, code in enumerate(codes) if code in "SI")
        volume = load(tmp_path / "a.nii", axial)
        _, rows, columns = np.nonzero(volume.stored == 2)
        assert rows[0] < (volume.shape[1] - 1) / 2, codes  # anterior is up
        _, rows, columns = np.nonzero(volume.stored == 1)
        assert columns[0] < (volume.shape[2] - 1) / 2, codes  # the patient's right is on the left
        sagittal = load(tmp_path / "a.nii", next(i for i, code in enumerate(codes) if code in "RL"))
        _, rows, columns = np.nonzero(sagittal.stored == 3)
        assert rows[0] < (sagittal.shape[1] - 1) / 2, codes  # superior is up


def test_scaled_integers_stay_as_they_are_stored(niftis: Path, tmp_path: Path) -> None:
    source = nibabel.load(niftis / "functional.nii")  # four dimensions, with a slope
    one = source.slicer[..., 0]
    header = source.header.copy()
    header.set_data_shape(one.shape)
    raw = source.dataobj.get_unscaled()[..., 0]
    with (tmp_path / "in.nii").open("wb") as file:
        header["scl_slope"], header["scl_inter"], header["vox_offset"] = (
            source.dataobj.slope,
            source.dataobj.inter,
            352,
        )
        header.write_to(file)
        file.write(b"\0" * (352 - file.tell()))
        file.write(raw.astype(header.get_data_dtype()).tobytes(order="F"))
    volume = load(tmp_path / "in.nii")
    images = volume.images.clone()
    images[0, 0, 0, 0] = 0.25
    save(tmp_path / "out.nii", volume.like(images))
    after = nibabel.load(tmp_path / "out.nii")
    assert (after.dataobj.slope, after.dataobj.inter) == (source.dataobj.slope, source.dataobj.inter)
    assert (after.dataobj.get_unscaled() != raw).sum() == 1
    assert after.get_data_dtype() == source.get_data_dtype()


def test_floats_are_written_where_they_are_asked_for(niftis: Path, tmp_path: Path) -> None:
    volume = load(niftis / "anatomical.nii").as_floats()
    save(tmp_path / "out.nii.gz", volume.like(volume.images * 0.5))
    after = nibabel.load(tmp_path / "out.nii.gz")
    assert after.get_data_dtype() == np.dtype(">f4")  # in the byte order of the file
    given = np.asarray(nibabel.load(niftis / "anatomical.nii").dataobj, float)
    low = given.min()
    assert np.asarray(after.dataobj) == pytest.approx(low + (given - low) / 2, abs=0.01)


def test_enlarged_slices_have_smaller_voxels_in_the_same_place(niftis: Path, tmp_path: Path) -> None:
    volume = load(niftis / "anatomical.nii")
    save(tmp_path / "out.nii", volume.like(volume.images.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    before, after = nibabel.load(niftis / "anatomical.nii"), nibabel.load(tmp_path / "out.nii")
    assert after.shape == (66, 82, 25)
    assert after.header.get_zooms() == (1.0, 1.0, 2.0)
    middles = [one.affine @ [*((np.array(one.shape) - 1) / 2), 1] for one in (before, after)]
    assert middles[0] == pytest.approx(middles[1], abs=1e-4)


def test_deidentified_volumes_keep_no_texts_and_extensions(niftis: Path, tmp_path: Path) -> None:
    image = nibabel.load(niftis / "standard.nii.gz")
    image.header["db_name"] = b"Secret"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"Secret"))
    nibabel.save(image, tmp_path / "in.nii")
    save(tmp_path / "out.nii", load(tmp_path / "in.nii"), deidentify=True)
    assert b"Secret" not in (tmp_path / "out.nii").read_bytes()


def test_arrays_become_nifti(tmp_path: Path) -> None:
    save(tmp_path / "out.nii.gz", Volume.of(np.arange(24.0).reshape(2, 3, 4), spacing=(3.0, 1.0, 2.0)))
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert image.shape == (4, 3, 2)
    assert image.header.get_zooms() == (2.0, 1.0, 3.0)
    assert np.asarray(image.dataobj).transpose().ravel().tolist() == list(range(24))


def test_what_is_no_single_volume_of_real_numbers_is_refused(niftis: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"has 4 dimensions \(128×96×24×2\); extract one"):
        load(niftis / "example4d.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(ImageError, match="has complex64 voxels"):
        load(tmp_path / "c.nii")
    nibabel.save(nibabel.Nifti1Pair(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "pair.hdr")
    with pytest.raises(ImageError, match=r"convert the pair to \.nii"):
        load(tmp_path / "pair.hdr")
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 1, 9), np.int16), np.eye(4)), tmp_path / "thin.nii")
    with pytest.raises(ImageError, match="has slices of 9×1 along axis 2; try another --axis"):
        load(tmp_path / "thin.nii")
    assert load(tmp_path / "thin.nii", 1).shape == (1, 9, 9)
