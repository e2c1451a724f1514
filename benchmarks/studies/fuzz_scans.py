"""Sound scans for the fuzz study: DICOM in several transfer syntaxes, NIfTI of both kinds."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from restoration.medical import WindowChoice, load, save
from restoration.pictures import images

_SYNTAXES = (
    *("MR_small.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
    *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_16.dcm", "image_dfl.dcm"),
    "JPGExtended.dcm",
)
"""Of the files that pydicom ships, those of every transfer syntax that is read."""


def write_dicom(folder: Path) -> None:
    """Files of every transfer syntax that is read, one of three frames, and one of our own."""
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in _SYNTAXES:
        shutil.copyfile(shipped / name, folder / name)
    dataset = pydicom.dcmread(shipped / "MR_small.dcm")
    dataset.NumberOfFrames, dataset.PixelData = 3, dataset.PixelData * 3
    dataset.save_as(folder / "frames.dcm")
    save(folder / "ours.dcm", load(folder / "CT_small.dcm"), {"seeds": [1]}, deidentify=True)


def write_nifti(folder: Path) -> None:
    """Volumes of several types, in both headers, plain and gzipped, and one of our own."""
    numbers = np.random.default_rng(0).integers(0, 4095, (7, 6, 5))
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    for name, kind, dtype in (
        ("a.nii", nibabel.Nifti1Image, np.int16),
        ("b.nii.gz", nibabel.Nifti1Image, np.uint8),
        ("c.nii", nibabel.Nifti2Image, np.float32),
        ("d.nii.gz", nibabel.Nifti2Image, np.float64),
    ):
        image = kind(numbers.astype(dtype), affine)
        image.header["descrip"] = b"a scan"
        nibabel.save(image, folder / name)
    save(folder / "ours.nii", load(folder / "a.nii"), {"seeds": [1]})


def read_scan(path: Path) -> None:
    """As ``restore`` reads one and writes another like it."""
    images.read_record(path)
    scan = load(path).windowed(WindowChoice.parse("p1,p99"))
    result = scan.like(scan.images.clamp(0.2, 0.8))
    suffix = ".dcm" if path.suffix == ".dcm" else ".nii.gz"
    save(path.parent / f"result{suffix}", result, {"seeds": [1]})
    save(path.parent / f"map{suffix}", scan.mapped(scan.images.clamp(0, 1)), {"shows": "a map"}, deidentify=True)
