"""Reading DICOM: grey slices of 8 to 16 bits, one or many frames, in any transfer syntax that is installed."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from restoration.errors import ImageError
from restoration.medical.extra import needed
from restoration.medical.volume import Array, Volume
from restoration.medical.window import Window, WindowChoice

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_VOXELS = 2**27
"""Most voxels that are decoded: 512 slices of 512 × 512. A file that declares more is refused by its header."""
MAX_BYTES = 2**31
MAGIC_AT, MAGIC = 128, b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT, _BIG_ENDIAN, _RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
COMPRESSED = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "DataSetTrailingPadding")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_BIT_POSITION = 0x0102  # of an overlay, in groups 6000 to 60FF
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.93": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Transfer syntaxes that lose something, or may, with the method's name in DICOM (PS3.3, C.7.6.1.1.5)."""


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """A file's data set without its pixels.

    Args:
        dataset: as it was read; never changed.
        syntax: the UID of the transfer syntax that it came in.
        lossy: the method by which it was compressed with loss, as DICOM calls it; "" where it was not.
    """

    dataset: Dataset
    syntax: str
    lossy: str = ""

    @property
    def suggested(self) -> Window | None:
        """Its first window centre and width."""
        centre, width = (functional(self.dataset, "FrameVOILUTSequence", name) for name in _WINDOW)
        try:
            return Window.centred(_number(centre), _number(width))
        except (TypeError, ValueError):
            return None


_WINDOW = ("WindowCenter", "WindowWidth")


def read(data: bytes) -> Volume:
    """The slices of a DICOM file's bytes.

    Raises:
        ImageError: no pixels, colour, bits beyond 16, sizes beyond MAX_VOXELS, damage; a transfer syntax that no
            installed library decodes.
    """
    pydicom = needed("pydicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(_inflated(data)))
        return _volume(dataset)


def _volume(dataset: Dataset) -> Volume:
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", _IMPLICIT))
    notes: list[str] = []
    frames, rows, columns = _size(dataset)
    bits = _check(dataset)
    _check_codestreams(dataset, syntax, rows, columns)
    stored = _decoded(dataset, syntax).reshape(frames, rows, columns)
    limits = _limits(dataset, bits)
    if stored.min() < limits[0] or stored.max() > limits[1]:
        raise ImageError(f"has values from {stored.min()} to {stored.max()}, beyond the {bits} bits it declares")
    slope, intercept = _rescaling(dataset, notes)
    padding = _padding(dataset)
    volume = Volume(
        np.ascontiguousarray(stored),
        slope,
        intercept,
        limits=limits,
        padding=padding,
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
        spacing=_spacing(dataset),
        orientation=_orientation(dataset, frames),
        unit=_unit(dataset),
        header=DicomHeader(_without_pixels(dataset, syntax), syntax, _lossy(dataset, syntax)),
        notes=tuple(notes),
    )
    return volume.windowed(WindowChoice())


def _inflated(data: bytes) -> bytes:
    """The bytes, after a look at what a deflated data set would become."""
    at = MAGIC_AT + len(MAGIC)
    length = data[at + 8 : at + 12]
    if data[at : at + 4] != b"\2\0\0\0" or len(length) != 4:
        return data
    end = at + 12 + int.from_bytes(length, "little")
    if f"{_DEFLATED}".encode() in data[at:end] and end < len(data):
        most = min(MAX_BYTES, 2 * MAX_VOXELS + 2**24)
        try:
            inflated = zlib.decompressobj(-zlib.MAX_WBITS)
            if len(inflated.decompress(data[end:], most + 1)) > most:
                raise ImageError("inflates beyond what is read")
        except zlib.error:
            raise ImageError("is damaged: its deflated data set cannot be inflated") from None
    return data


def _size(dataset: Dataset) -> tuple[int, int, int]:
    """Frames, rows and columns that the header declares, within bounds."""
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = dataset.get("SOPClassUID")
        raise ImageError(f"holds no pixels ({getattr(kind, 'name', 'of no kind')})")
    if "PixelData" not in dataset:
        raise ImageError("has float pixels; convert it to NIfTI")
    frames = int(dataset.get("NumberOfFrames") or 1)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if min(frames, rows, columns) < 1 or min(rows, columns) < 2:
        raise ImageError(f"declares {frames} frames of {columns}×{rows}; both sides must be at least 2")
    if frames * rows * columns > MAX_VOXELS:
        raise ImageError(
            f"declares {frames} frames of {columns}×{rows}, more than the {MAX_VOXELS} pixels we decode"
        )
    return frames, rows, columns


def _check(dataset: Dataset) -> int:
    """How many bits a sample has; ImageError for pixels that are not grey, or not of 8 to 16 bits."""
    photometric, samples = dataset.get("PhotometricInterpretation"), int(dataset.get("SamplesPerPixel") or 1)
    if photometric not in _GREY or samples != 1:
        raise ImageError(
            f"is {photometric}; only grey (MONOCHROME1, MONOCHROME2) is read: export it as PNG or TIFF"
        )
    allocated, bits = int(dataset.get("BitsAllocated") or 0), int(dataset.get("BitsStored") or 0)
    high = dataset.get("HighBit")
    if allocated not in (8, 16) or not 2 <= bits <= allocated:
        raise ImageError(f"has {bits} bits in {allocated}; 8 to 16 bits a sample are read")
    if high is not None and int(high) != bits - 1:
        raise ImageError(f"has its {bits} bits at bit {high}, a layout that DICOM has retired; rewrite it")
    for tag in dataset.keys():  # noqa: SIM118 - tags, not elements
        if 0x6000 <= tag.group <= 0x60FF and tag.element == _BIT_POSITION and (tag.group, 0x3000) not in dataset:
            raise ImageError("has overlays in spare bits of its pixels, which DICOM has retired; rewrite it")
    return bits


def _limits(dataset: Dataset, bits: int) -> tuple[float, float]:
    if int(dataset.get("PixelRepresentation") or 0):
        return -float(2 ** (bits - 1)), float(2 ** (bits - 1) - 1)
    return 0.0, float(2**bits - 1)


def _check_codestreams(dataset: Dataset, syntax: str, rows: int, columns: int) -> None:
    """Refuse compressed frames that declare another size than the data set: a decoder would believe them."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import UID

    uid = UID(syntax)
    if not uid.is_transfer_syntax or not uid.is_encapsulated or syntax == _RLE:
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
        size = codestream_size(frame)
        if size is not None and size != (rows, columns):
            raise ImageError(f"declares {columns}×{rows}, and a compressed frame {size[1]}×{size[0]}")


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream declares; None where none are found."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if 0 <= start < 2**16 and len(frame) >= start + 24:
        x, y, x0, y0 = (int.from_bytes(frame[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
        return y - y0, x - x0
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def _decoded(dataset: Dataset, syntax: str) -> Array:
    if syntax == _RLE:  # pydicom's own: another plugin's panics are no errors that Python programs catch
        dataset.pixel_array_options(decoding_plugin="pydicom")
    try:
        pixels: Array = dataset.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        from pydicom.uid import UID

        if "missing" in str(error) or "unable to decode" not in str(error).lower():
            what = f"{UID(syntax).name}: {' '.join(str(error).split())}"
            raise ImageError(f"is compressed in a way that is not decoded ({what[:200]})") from None
        raise ImageError(f"is damaged: its {UID(syntax).name} frames cannot be decoded") from None
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def functional(dataset: Dataset, sequence: str, name: str) -> Any:
    """An attribute of a data set, or of its functional groups where all frames agree; None where they do not."""
    if name in dataset:
        return dataset.get(name)
    found = []
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            items = group.get(sequence)
            if items:
                found.append(items[0].get(name))
    return found[0] if found and all(value == found[0] for value in found) else None


def _rescaling(dataset: Dataset, notes: list[str]) -> tuple[float, float]:
    if dataset.get("ModalityLUTSequence"):
        notes.append("its modality LUT is not applied: the numbers that are stored are its units")
        return 1.0, 0.0
    told = [
        functional(dataset, "PixelValueTransformationSequence", f"Rescale{name}")
        for name in ("Slope", "Intercept")
    ]
    per_frame = any(
        group.get("PixelValueTransformationSequence")
        for group in dataset.get("PerFrameFunctionalGroupsSequence") or ()
    )
    if None in told and per_frame:
        notes.append("its rescaling differs from frame to frame: the numbers that are stored are its units")
        return 1.0, 0.0
    slope, intercept = (
        default if value is None else _number(value) for value, default in zip(told, (1.0, 0.0), strict=True)
    )
    if not (math.isfinite(slope) and slope and math.isfinite(intercept)):
        raise ImageError(f"is damaged: its rescale slope is {slope} and its intercept {intercept}")
    return slope, intercept


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = (value, limit if isinstance(limit, int) else value)
    return float(min(ends)), float(max(ends))


def _unit(dataset: Dataset) -> str:
    told = functional(dataset, "PixelValueTransformationSequence", "RescaleType")
    if told in (None, "") and dataset.get("Modality") == "CT" and "RescaleSlope" in dataset:
        return "HU"
    return str(told) if told not in (None, "", "US") else ""


def _spacing(dataset: Dataset) -> tuple[float, float, float] | None:
    pixels = functional(dataset, "PixelMeasuresSequence", "PixelSpacing") or dataset.get("ImagerPixelSpacing")
    across = functional(dataset, "PixelMeasuresSequence", "SpacingBetweenSlices")
    across = across or functional(dataset, "PixelMeasuresSequence", "SliceThickness") or 1.0
    try:
        spacing = float(across), float(pixels[0]), float(pixels[1])
    except (TypeError, ValueError, IndexError):
        return None
    return spacing if all(math.isfinite(side) and side > 0 for side in spacing) else None


def _orientation(dataset: Dataset, frames: int) -> Array | None:
    """(d, h, w) → mm right, anterior, superior (PS3.3, C.7.6.2.1.1, whose mm go left and posterior)."""
    spacing = _spacing(dataset)
    places = positions(dataset)
    try:
        turned = np.array(functional(dataset, "PlaneOrientationSequence", "ImageOrientationPatient"), dtype=float)
    except (TypeError, ValueError):
        return None
    if spacing is None or not places or turned.shape != (6,) or not np.isfinite(turned).all():
        return None
    across, down = turned[:3], turned[3:]
    step = np.cross(across, down) * spacing[0]
    if len(places) == frames > 1:
        step = (places[-1] - places[0]) / (frames - 1)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, down * spacing[1], across * spacing[2]
    affine[:3, 3] = places[0]
    affine[:2] *= -1
    return affine if np.isfinite(affine).all() else None


def positions(dataset: Dataset) -> list[Array]:
    """ImagePositionPatient of a slice, or of every frame; empty where one is missing."""
    if "ImagePositionPatient" in dataset:
        told = [dataset.get("ImagePositionPatient")]
    else:
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
        items = [group.get("PlanePositionSequence") for group in groups]
        told = [item[0].get("ImagePositionPatient") if item else None for item in items]
    try:
        places = [np.array(place, dtype=float) for place in told]
    except (TypeError, ValueError):
        return []
    return places if all(place.shape == (3,) and np.isfinite(place).all() for place in places) else []


def _lossy(dataset: Dataset, syntax: str) -> str:
    if syntax in _LOSSY:
        return _LOSSY[syntax]
    return "unknown" if dataset.get("LossyImageCompression") == "01" else ""


def _without_pixels(dataset: Dataset, syntax: str) -> Dataset:
    """The data set in no encoding, without its pixels and what described their compression."""
    from pydicom import Dataset

    plain = Dataset()
    for element in dataset:
        if element.keyword in ("PixelData", *COMPRESSED):
            continue
        if syntax == _BIG_ENDIAN and element.VR == "OW" and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
        plain.add(element)
    return plain


def _number(value: Any) -> float:
    """A number, the first where there are several."""
    if isinstance(value, (str, int, float)):
        return float(value)
    return float(value[0]) if hasattr(value, "__getitem__") else float(value)
