"""Writing DICOM: a restored scan as an image derived from the one that was read.

Source: PS3.3, C.7.6.1.1.2 to C.7.6.1.1.5 (image type, derivation, source images, lossy compression), C.7.5.1
(contributing equipment), and PS3.5, B.2 (UIDs made of UUIDs).
"""

from __future__ import annotations

import copy
import io
import json
import uuid
import warnings
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from restoration.errors import OutputError
from restoration.medical.deidentify import deidentified
from restoration.medical.dicom import DicomHeader, positions
from restoration.medical.extra import needed
from restoration.medical.volume import Array, Grid, Volume
from restoration.medical.warning import WARNING
from restoration.version import own_version

if TYPE_CHECKING:
    from pydicom import Dataset

SOFTWARE = "nested-restoration"
CREATOR, GROUP, ELEMENT = "NESTED-RESTORATION", 0x0099, 0x01
"""Whose private element holds our record, and where."""
_SPACE = uuid.UUID("6f0c4f5e-3f6d-4b0e-9d0f-4b1f6d0a9c11")
_IMPLEMENTATION = "2.25.147590093811519087366310371325412507665"
_SMALLEST, _LARGEST = 0x00280106, 0x00280107
_TEXT, _LONG_STRING = 1024, 64
_STALE = ("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence")
"""What is no longer true of other pixels, or of another writer: a thumbnail, signatures."""


def encode(volume: Volume, record: Mapping[str, Any], *, deidentify: bool = False) -> bytes:
    """A DICOM file (Part 10, explicit VR little endian) of a restored volume that came from one.

    Raises:
        OutputError: it came from no DICOM file, and a patient cannot be made up.
    """
    pydicom = needed("pydicom")
    header = volume.header
    if not isinstance(header, DicomHeader):
        raise OutputError("DICOM is written only of what was read from DICOM; write .nii.gz, .tif or .png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what was odd in the file that was read
        dataset = copy.deepcopy(header.dataset)
        source = _reference(header.dataset)
        text = json.dumps(dict(record))
        _describe(dataset, source, header, record)
        stored = _stored(dataset, volume)
        _place(dataset, volume)
        _identify(dataset, stored, text)
        if deidentify:
            dataset = deidentified(dataset)
        block = dataset.private_block(GROUP, CREATOR, create=True)
        block.add_new(ELEMENT, "UT", text)
        _meta(dataset, pydicom)
        buffer = io.BytesIO()
        dataset.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()


def record_in(dataset: Dataset) -> str | None:
    """The record that :func:`encode` stored, as JSON; None where there is none."""
    try:
        return str(dataset.private_block(GROUP, CREATOR)[ELEMENT].value)
    except KeyError:
        return None


def uid(*parts: str) -> str:
    """A UID that is the same for the same parts."""
    return f"2.25.{uuid.uuid5(_SPACE, chr(0).join(parts)).int}"


def _reference(source: Dataset) -> Dataset:
    """An item that names the image that was read."""
    item = _item(
        ReferencedSOPClassUID=source.get("SOPClassUID", ""),
        ReferencedSOPInstanceUID=source.get("SOPInstanceUID", ""),
    )
    purpose = _code("121322", "DCM", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _describe(dataset: Dataset, source: Dataset, header: DicomHeader, record: Mapping[str, Any]) -> None:
    """Say what it is derived from, how, and that it is not for diagnosis."""
    now = datetime.now().astimezone()
    kinds = [str(value) for value in _values(dataset.get("ImageType"))]
    framed = "PerFrameFunctionalGroupsSequence" in dataset
    second = (kinds[1:2] or ["PRIMARY"])[0] if framed else "SECONDARY"
    dataset.ImageType = ["DERIVED", second, *kinds[2:]]
    description = derivation(record)
    for item in _frame_types(dataset):
        item.FrameType = ["DERIVED", *[str(value) for value in _values(item.FrameType)][1:]]
    dataset.DerivationDescription = description
    dataset.DerivationCodeSequence = [_code("RESTORED", "99NESTED", "Restored by a diffusion model")]
    dataset.SourceImageSequence = [source]
    said = str(dataset.get("ImageComments") or "")
    if not said.startswith(WARNING):
        dataset.ImageComments = f"{WARNING} {said}".strip()[:10240]
    series = str(dataset.get("SeriesDescription") or "")
    label = "(restored)"
    series = series.removesuffix(label).strip()[: _LONG_STRING - 1 - len(label)]
    dataset.SeriesDescription = f"{series} {label}".strip()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    equipment = _item(
        Manufacturer=SOFTWARE,
        ManufacturerModelName=str(record.get("prior") or SOFTWARE)[:_LONG_STRING],
        SoftwareVersions=own_version()[:_LONG_STRING],
        ContributionDateTime=now.strftime("%Y%m%d%H%M%S.%f%z"),
        ContributionDescription=description,
    )
    equipment.PurposeOfReferenceCodeSequence = [_code("109102", "DCM", "Processing Equipment")]
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or ()), equipment]
    if header.lossy:  # what was lost stays lost, whatever is made of the rest
        dataset.LossyImageCompression = "01"
        if header.lossy != "unknown" and not dataset.get("LossyImageCompressionMethod"):
            dataset.LossyImageCompressionMethod = header.lossy
    for name in _STALE:
        if name in dataset:
            del dataset[name]


def derivation(record: Mapping[str, Any]) -> str:
    """How a picture was made, in words that fit DerivationDescription."""
    made = f"{SOFTWARE} {own_version()}: {record.get('task', 'restored')}"
    if record.get("shows"):
        made += f", {record['shows']}"
    if record.get("prior"):
        made += f", prior {record['prior']}"
    if record.get("window"):
        low, high = record["window"]
        made += f", window {low:g} to {high:g}"
    if record.get("seeds"):
        made += f", seed {record['seeds'][0]}"
    return f"{WARNING} {made}"[:_TEXT]


def _stored(dataset: Dataset, volume: Volume) -> Array:
    """Put the pixels in; they come back as they are stored."""
    stored = volume.stored
    if stored.dtype.kind == "f":
        stored = _in_sixteen_bits(dataset, stored)
    else:
        dtype = f"<{'i' if dataset.get('PixelRepresentation') else 'u'}{int(dataset.BitsAllocated) // 8}"
        stored = stored.astype(dtype)
    for tag, value in ((_SMALLEST, stored.min()), (_LARGEST, stored.max())):
        if tag in dataset:
            dataset.add_new(tag, "SS" if stored.dtype.kind == "i" else "US", int(value))
    frames, dataset.Rows, dataset.Columns = stored.shape
    if frames > 1 or "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = frames
    data = stored.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    return stored


def _in_sixteen_bits(dataset: Dataset, units: Array) -> Array:
    """A map in units as whole numbers, with the slope that brings them back."""
    low, high = min(float(units.min()), 0.0), float(units.max())
    slope = float(f"{max(high - low, 1e-12) / 65535:.10g}")  # a decimal string has 16 characters
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for group in (dataset, *_groups(dataset)):
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence",
                     "SmallestImagePixelValue", "LargestImagePixelValue", "WindowCenterWidthExplanation",
                     "PixelValueTransformationSequence", "FrameVOILUTSequence"):  # fmt: skip
            if name in group:
                del group[name]
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.10g}", f"{low:.10g}"
    dataset.RescaleType = dataset.get("RescaleType") or "US"
    dataset.WindowCenter, dataset.WindowWidth = f"{(low + high) / 2:.8g}", f"{max(high - low, 1e-12):.8g}"
    levels: Array = ((units - low) / slope).round().clip(0, 65535).astype("<u2")
    return levels


def _place(dataset: Dataset, volume: Volume) -> None:
    """Where other pixels lie, and what no longer fits them."""
    grid = volume.grid
    if grid.same:
        return
    for tag in [tag for tag in dataset.keys() if 0x6000 <= tag.group <= 0x60FF]:  # noqa: SIM118 - tags of overlays
        del dataset[tag]
    groups = [dataset, *(item for group in _groups(dataset) for item in group.get("PixelMeasuresSequence") or ())]
    old = next((_pair(group.get("PixelSpacing")) for group in groups if group.get("PixelSpacing")), None)
    for group in groups:
        for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
            pair = _pair(group.get(name))
            if pair is not None:
                setattr(group, name, [_decimal(pair[0] * grid.rows), _decimal(pair[1] * grid.columns)])
    if old is None:
        return
    for holder, place in zip(_holders(dataset), positions(dataset), strict=False):
        turned = _turned(dataset)
        if turned is not None:
            holder.ImagePositionPatient = [_decimal(value) for value in _moved(place, turned, old, grid)]


def _moved(place: Array, turned: Array, spacing: tuple[float, float], grid: Grid) -> Array:
    moved: Array = place + turned[3:] * spacing[0] * grid.top + turned[:3] * spacing[1] * grid.left
    return moved


def _turned(dataset: Dataset) -> Array | None:
    from restoration.medical.dicom import functional

    told = functional(dataset, "PlaneOrientationSequence", "ImageOrientationPatient")
    return None if told is None or len(told) != 6 else np.array(told, dtype=float)


def _holders(dataset: Dataset) -> list[Dataset]:
    """The data sets that hold a position, a frame each."""
    if "ImagePositionPatient" in dataset:
        return [dataset]
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [group.PlanePositionSequence[0] for group in groups if group.get("PlanePositionSequence")]


def _identify(dataset: Dataset, stored: Array, record: str) -> None:
    """An instance of its own, in a series of its own that the other slices of the same work share.

    A series is of one piece of equipment (PS3.3, A.1.2.3), and this is another; study and frame of reference stay.
    """
    told = json.loads(record)
    work = {name: told.get(name) for name in ("task", "prior_sha256", "sampler", "allocation", "window", "shows")}
    before = str(dataset.get("SOPInstanceUID", ""))
    dataset.SOPInstanceUID = uid("instance", before, sha256(stored.tobytes()).hexdigest(), record)
    dataset.SeriesInstanceUID = uid("series", str(dataset.get("SeriesInstanceUID", "")), json.dumps(work))


def _meta(dataset: Dataset, pydicom: Any) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "NESTED_RESTORE"
    dataset.file_meta = meta


def _groups(dataset: Dataset) -> list[Dataset]:
    names = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    return [group for name in names for group in dataset.get(name) or ()]


def _frame_types(dataset: Dataset) -> list[Dataset]:
    return [
        element.value[0]
        for group in _groups(dataset)
        for element in group
        if element.VR == "SQ" and element.value and "FrameType" in element.value[0]
    ]


def _item(**values: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(value)


def _pair(value: Any) -> tuple[float, float] | None:
    try:
        down, across = (float(side) for side in value)
    except (TypeError, ValueError):
        return None
    return down, across


def _decimal(value: float) -> str:
    """As DICOM writes numbers: at most 16 characters."""
    return next(text for digits in range(14, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)
