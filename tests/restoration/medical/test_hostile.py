"""Scans that are made to hurt: each is refused in one line, before memory or time is spent on it."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from restoration import ImageError
from restoration.medical import load
from restoration.medical.dicom import codestream_size


def nifti(**changes: Any) -> bytes:
    """A header of NIfTI-1 of 4 × 4 × 4 voxels of 16 bits, with other values at some places, and its voxels."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    for place, (form, *values) in changes.items():
        struct.pack_into(form, header, int(place.removeprefix("at")), *values)
    return bytes(header) + bytes(128)


NOISE = np.random.default_rng(0).bytes(128)
NIFTIS = {
    "sides of 32767": (
        nifti(at40=("<4h", 3, 32767, 32767, 32767)),
        "declares 32767×32767×32767 voxels, more than",
    ),
    "no side": (nifti(at40=("<4h", 3, 0, 4, 4)), r"is damaged: its sides are \[0, 4, 4\]"),
    "a negative side": (nifti(at40=("<4h", 3, -4, 4, 4)), "is damaged: its sides"),
    "99 dimensions, or as many in the other byte order": (
        nifti(at40=("<h", 99)),
        "is damaged: it has 25344 dimensions",
    ),
    "voxels at a terabyte": (nifti(at108=("<f", 1e12)), "is damaged: its voxels begin at byte 1e\\+12"),
    "voxels at no byte": (nifti(at108=("<f", float("nan"))), "is damaged: its voxels begin at byte nan"),
    "an unknown type": (nifti(at70=("<h", 999)), "has voxels of an unknown type"),
    "an endless intercept": (nifti(at112=("<2f", 1, float("inf"))), "its scl_inter is inf"),
    "half of the voxels": (nifti()[:400], "is incomplete: 480 bytes are declared and 400 are there"),
    "gzip of half": (gzip.compress(nifti()[:400]), "is incomplete"),
    "half a gzip": (
        gzip.compress(nifti()[:352] + np.random.default_rng(0).bytes(128))[:-60],
        "cannot be inflated",
    ),
}


@pytest.mark.parametrize("name", NIFTIS)
def test_a_hostile_nifti_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, message = NIFTIS[name]
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(ImageError, match=message) as error:
        load(tmp_path / "a.nii")
    assert "\n" not in str(error.value)


def test_a_gzip_bomb_is_inflated_no_further_than_its_header_declares(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    parts = [packer.compress(nifti()), *(packer.compress(zeros) for _ in range(64)), packer.flush()]
    (tmp_path / "bomb.nii.gz").write_bytes(b"".join(parts))  # 64 MB in 65 KB
    assert load(tmp_path / "bomb.nii.gz").shape == (
        4,
        4,
        4,
    )  # its voxels are there, and nothing behind them is read


def dicom(dicoms: Path, out: Path, name: str = "MR_small.dcm", **values: Any) -> Path:
    dataset = pydicom.dcmread(dicoms / name)
    for word, value in values.items():
        setattr(dataset, word, value)
    dataset.save_as(out)
    return out


DICOMS = {
    "a billion frames": ({"NumberOfFrames": 10**9}, "declares 1000000000 frames of 64×64, more than"),
    "65535 a side, often": ({"Rows": 65535, "Columns": 65535}, "declares 1 frames of 65535×65535, more than"),
    "no rows": ({"Rows": 0}, "both sides must be at least 2"),
    "more frames than pixels": ({"NumberOfFrames": 9}, "damaged or incomplete"),
    "bits at the top": ({"BitsStored": 12, "HighBit": 15}, "has its 12 bits at bit 15"),
    "no slope": ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "its rescale slope is 0.0"),
    "three samples of grey": ({"SamplesPerPixel": 3}, "is MONOCHROME2; only grey"),
}


@pytest.mark.parametrize("name", DICOMS)
def test_a_hostile_dicom_is_refused_in_one_line(dicoms: Path, tmp_path: Path, name: str) -> None:
    values, message = DICOMS[name]
    with pytest.raises(ImageError, match=message) as error:
        load(dicom(dicoms, tmp_path / "a.dcm", **values))
    assert "\n" not in str(error.value)


def test_overlays_within_pixels_are_refused(dicoms: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicoms / "MR_small.dcm")
    dataset.add_new(0x60000102, "US", 12)
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="has overlays in spare bits of its pixels"):
        load(tmp_path / "a.dcm")


def test_a_frame_that_declares_another_size_is_not_decoded(dicoms: Path, tmp_path: Path) -> None:
    given = dicom(dicoms, tmp_path / "a.dcm", "MR_small_jp2klossless.dcm", Rows=32)
    with pytest.raises(ImageError, match="declares 64×32, and a compressed frame 64×64"):
        load(given)


def test_sizes_of_codestreams_are_read_from_their_headers() -> None:
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x10\x00\x20\x00\x30\x01"
    assert codestream_size(jpeg) == (32, 48)
    assert codestream_size(b"\xff\xd8\xff\xf7\x00\x0b\x10\x00\x20\x00\x30\x01") == (32, 48)
    siz = struct.pack(">HHHHIIII", 0xFF4F, 0xFF51, 47, 0, 100, 80, 4, 0)
    assert codestream_size(b"\0" * 20 + siz) == (80, 96)
    assert (
        codestream_size(b"")
        is codestream_size(b"\xff\xd8\xff\xe0\x00\x00")
        is codestream_size(b"\xff\xd8ab")
        is None
    )


def test_a_deflate_bomb_is_not_inflated(dicoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (dicoms / "image_dfl.dcm").read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(bytes(2**24)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(data[:end] + bomb)
    monkeypatch.setattr("restoration.medical.dicom.MAX_BYTES", 2**20)  # so that a small bomb is one
    with pytest.raises(ImageError, match="inflates beyond what is read"):
        load(tmp_path / "bomb.dcm")


def test_a_missing_library_says_what_to_install(dicoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("restoration.medical.extra.import_module", absent)
    with pytest.raises(
        ImageError, match=r'needs pydicom, which is not installed: pip install "nested-restoration\['
    ):
        load(dicoms / "MR_small.dcm")
