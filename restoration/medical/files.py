"""Scans in files: which they are, reading and writing them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nested.files import atomic_write
from restoration.errors import ImageError, OutputError
from restoration.medical import nifti
from restoration.medical.dicom import MAGIC, MAGIC_AT, MAX_BYTES
from restoration.medical.extra import needed
from restoration.medical.volume import Volume

DICOM, NIFTI = (".dcm", ".dicom"), (".nii", ".nii.gz")
SUFFIXES = (*DICOM, *NIFTI)
HEAD = 4096
"""So many of a file's first bytes tell what it is."""


def is_scan(head: bytes) -> bool:
    """Whether a file that begins so (4 KB are enough) is DICOM or NIfTI, told by its content."""
    return head[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC or nifti.is_nifti(head)


def is_scan_file(path: Path) -> bool:
    """Whether a file is DICOM or NIfTI by its content; False for what cannot be opened."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return is_scan(file.read(HEAD))
    except OSError:
        return False


def load(path: Path | str, axis: int | None = None) -> Volume:
    """Read a DICOM or NIfTI file, told by its content.

    Args:
        axis: of a NIfTI array, 0, 1 or 2, that the slices follow; None is 2. DICOM has its frames.

    Returns:
        The volume in the file's own numbers, its window all of their range.

    Raises:
        ImageError: a file that cannot be used, one line that says why; a library of the extra that is missing.
    """
    path = Path(path)
    with named(str(path)):
        if path.exists() and not path.is_file():
            raise ImageError("is a folder, not a scan" if path.is_dir() else "is not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"has more than the {MAX_BYTES} bytes we read")
        data = path.read_bytes()
        if not is_scan(data[:HEAD]):
            raise ImageError("is no DICOM or NIfTI file")
        return decode(data, axis)


def decode(data: bytes, axis: int | None = None) -> Volume:
    """As :func:`load`, of a file's bytes; errors do not name them, and may be of any type that libraries raise."""
    if data[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC:
        if axis is not None:
            raise ImageError("is DICOM, whose slices are its frames: leave --axis away")
        from restoration.medical import dicom

        return dicom.read(data)
    return nifti.read(data, axis)


def save(
    path: Path | str, volume: Volume, record: Mapping[str, Any] | None = None, *, deidentify: bool = False
) -> None:
    """Write a volume; the suffix chooses DICOM (.dcm) or NIfTI (.nii, .nii.gz). It appears whole or not at all.

    Args:
        record: how it was made; stored inside as JSON.
        deidentify: leave out what names the patient; :mod:`restoration.medical.deidentify` says what that covers.

    Raises:
        OutputError: another suffix, DICOM of what came from none, floats in DICOM, a place that cannot be written.
    """
    path = Path(path)
    try:
        data = encode(volume, path.name, record or {}, deidentify=deidentify or volume.deidentified)
        atomic_write(path, lambda file: file.write(data))
    except Exception as error:  # pydicom raises many types for a data set that was odd when it was read
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(" ".join(f"{path}: cannot be written: {why}".split())[:500]) from None


def check_form(volume: Volume | None, path: Path) -> None:
    """OutputError where a volume cannot be written to a file of that suffix: found before any work.

    A DICOM file is made and dropped: what is odd in a data set shows when it is written.
    """
    from restoration.medical.dicom import DicomHeader

    if volume is None or not path.name.lower().endswith(DICOM):
        return
    if not isinstance(volume.header, DicomHeader):
        raise OutputError(f"{path}: DICOM is written only of what was read from it; write .nii.gz, .tif or .png")
    if volume.stored.dtype.kind == "f":
        raise OutputError(f"{path}: DICOM images hold whole numbers: leave --float away, or write .nii.gz or .tif")
    try:
        encode(volume, path.name, {}, deidentify=volume.deidentified)
    except Exception as error:
        why = f"{path}: its data set cannot be written again: {error}"
        raise OutputError(" ".join(why.split())[:500]) from None


def encode(volume: Volume, name: str, record: Mapping[str, Any], *, deidentify: bool = False) -> bytes:
    """The bytes of a file of that name."""
    name = name.lower()
    if name.endswith(DICOM):
        from restoration.medical import derived

        return derived.encode(volume, record, deidentify=deidentify)
    if name.endswith(NIFTI):
        return nifti.encode(volume, record, packed=name.endswith(".gz"), deidentify=deidentify)
    raise OutputError(f"{name} must end in {', '.join(SUFFIXES)}")


def read_record(data: bytes) -> dict[str, Any] | None:
    """The record that a scan was written with; None where there is none."""
    if data[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC:
        from restoration.medical import derived

        pydicom = needed("pydicom")
        text = derived.record_in(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=False))
    else:
        text = nifti.record_in(data)
    told = None if text is None else json.loads(text)
    return told if isinstance(told, dict) else None


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Whatever fails inside leaves as one ImageError of one line that begins with the name."""
    try:
        yield
    except Exception as error:  # decoders raise nearly every built-in type when the bytes are wrong
        if isinstance(error, ImageError) or (isinstance(error, OSError) and error.strerror):
            why = getattr(error, "strerror", None) or str(error)
        else:
            why = f"is damaged or incomplete ({type(error).__name__}: {error})"
        raise ImageError(" ".join(f"{name}: {why}".split())[:500]) from error
