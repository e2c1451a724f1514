"""Image files in and out: any of the common formats on disk, a `Picture` in memory.

Whatever the bytes on disk are, `read` answers with a picture or with one `ImageError` of one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from nested.files import atomic_write
from restoration.errors import ImageError, OutputError
from restoration.medical import files as scans
from restoration.pictures import header, png, raster, tiff, writing
from restoration.pictures.names import suffix_of
from restoration.pictures.picture import Depth, Picture
from restoration.pictures.raster import MAX_PIXELS, Array

if TYPE_CHECKING:
    from restoration.medical.volume import Volume

SUFFIXES: tuple[str, ...] = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".avif", ".jp2", ".j2k", ".jpx", ".pgm", ".ppm", ".pnm"),
    *scans.SUFFIXES,
)
"""Lower-case suffixes of the files we read."""
WRITTEN: tuple[str, ...] = (*writing.FORMATS, *scans.SUFFIXES)
"""Lower-case suffixes of the files we write."""

_KINDS = "PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PNM, DICOM or NIfTI"
_ROWS = 256
"""So many rows are converted at a time, so that a large picture is in memory once."""

# axes of (H, W) to flip for each EXIF orientation, after swapping height and width from 5 on
_FLIPS = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}

__all__ = ["MAX_PIXELS", "SUFFIXES", "WRITTEN", "decode", "find", "load", "read", "read_record", "save", "write"]

# both log what they find odd before they raise; without a handler Python prints that beside our one line
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def read(path: Path) -> Picture:
    """Read an image file with everything it says.

    The format is told by content, never by name. uint8 is divided by 255 and uint16 by 65535; float TIFF is
    kept as it is and may leave [0, 1] a little, as a noisy measurement does. 16 bits are kept in PNG, in TIFF
    (stored, Deflate, LZW, PackBits) and in grey JPEG 2000; other formats are decoded to 8. The orientation is
    applied, a colour profile is carried; CMYK and Lab become sRGB. Alpha that is opaque everywhere is dropped.
    Of a JPEG with further pictures (previews, gain maps) the first is read. Of DICOM and NIfTI one slice is
    read, all of its range as [0, 1]; ``restoration.medical.load`` reads several.
    Raises ImageError for anything else: no such file, another format, damage, several frames or pages, more than
    MAX_PIXELS, a side under 2 pixels, NaN, numbers whose white is unknown.
    """
    with _opened(Path(path)) as file:
        return _decoded(file)


def read_bytes(data: bytes, name: str) -> Picture:
    """As `read`, from the bytes of a file; `name` is what errors call it."""
    with _told(name):
        return _decoded(io.BytesIO(data))


def load(path: Path) -> torch.Tensor:
    """The pixels alone, (C,H,W) float32, C = 1 (grey) or 3 (RGB), of what `read` reads.

    Raises ImageError also where a picture is transparent, for its pixels alone are not what it shows.
    """
    return _opaque(read(path), str(path))


def decode(data: bytes, name: str) -> torch.Tensor:
    """As `load`, from the bytes of a file; `name` is what errors call it."""
    return _opaque(read_bytes(data, name), name)


def write(path: Path, picture: Picture | Volume, record: Mapping[str, Any], quality: int | None = None) -> None:
    """Write a picture with all it has, and `record` (as JSON) inside the file.

    A suffix of DICOM or NIfTI writes a scan with all that its file said (``restoration.medical``). Others choose
    PNG or TIFF (Deflate), which keep its depth (PNG writes 16 bits for floats), JPEG (quality 95, 4:4:4) or WebP
    (lossless, always RGB), which have 8 bits; `writing.losses` tells what a suffix loses. The pixels may be on any
    device; they are clamped and rounded. The file appears whole or not at all.
    Raises TypeError or ValueError for a wrong picture or record, OutputError where it cannot be written.
    """
    path = Path(path)
    form = writing.FORMATS.get(suffix_of(path))
    if suffix_of(path) in scans.SUFFIXES:
        scans.save(path, scan_of(path, picture), record)
        return
    if not isinstance(picture, Picture):
        raise OutputError(
            f"{path}: a scan of {len(picture)} slices is written as one of {', '.join(scans.SUFFIXES)}"
        )
    if form is None:
        raise OutputError(_line(f"{path}: the suffix must be one of {', '.join(WRITTEN)}"))
    _check_image(picture.pixels)
    text = json.dumps(dict(record))
    try:
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent}")
        data = writing.encode(picture, form, text, quality)
        atomic_write(path, lambda file: file.write(data))
    except (OSError, ValueError) as error:  # ValueError: Pillow's word for a size too large
        raise OutputError(_line(f"{path}: cannot be written: {_said(error)}")) from error


def save(path: Path, image: torch.Tensor, record: Mapping[str, Any]) -> None:
    """As `write`, of nothing but pixels (C,H,W) in [0, 1], C = 1 or 3, as 8 bits."""
    _check_image(image)
    write(path, Picture(image), record)


def scan_of(path: Path, picture: Picture | Volume) -> Volume:
    """The scan that is to be written to a file of that suffix; OutputError where a picture is none."""
    if not isinstance(picture, Picture):
        return picture
    if picture.scan is None:
        raise OutputError(f"{path}: DICOM and NIfTI are written only of what was read so; write .png or .tif")
    return picture.scan


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record that `write` stored in a file, or None if the file is no image or holds none.

    Reads headers only, no pixels. Raises ImageError only for a file that cannot be opened at all.
    """
    with _opened(path) as file:
        try:
            if scans.is_scan(_head(file)):
                return scans.read_record(file.read())
            text = _record_text(file)
            record = json.loads(text) if isinstance(text, str) else None
        except Exception:  # whatever a library dislikes in the bytes, there is no record of ours in them
            return None
        return record if isinstance(record, dict) else None


def find(folder: Path) -> list[Path]:
    """Return the image files of a folder by suffix (any case), sorted, without hidden files or subfolders.

    Raises ImageError if the folder cannot be listed.
    """
    try:
        shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise ImageError(_line(f"{folder}: cannot be listed: {_said(error)}")) from error
    return sorted(path for path in shown if suffix_of(path) in SUFFIXES and path.is_file())


def _decoded(file: BinaryIO) -> Picture:
    magic = file.read(4)
    file.seek(0)
    if not magic:
        raise ImageError("the file is empty")
    if scans.is_scan(_head(file)):
        return pictured(scans.decode(file.read()))
    raw = tiff.read(file) if magic in tiff.MAGIC else raster.read(file)
    notes = raw.notes
    alpha = None if raw.alpha is None else _unit_range(_upright(raw.alpha, raw.orientation))
    if alpha is not None and bool((alpha >= 1).all()):
        alpha = None
    depth = {"u1": Depth.EIGHT, "u2": Depth.SIXTEEN}.get(f"{raw.samples.dtype.kind}{raw.samples.itemsize}")
    pixels = _unit_range(_upright(raw.samples, raw.orientation))
    if depth is None and (float(pixels.min()) < 0 or float(pixels.max()) > 1):
        notes.append("has numbers outside [0, 1]; results are cut to it")
    return Picture(pixels, alpha, depth or Depth.FLOAT, raw.profile, raw.header, tuple(notes))


def pictured(scan: Volume) -> Picture:
    """A scan of one slice as a picture; ImageError for one of several, or too large."""
    if len(scan) > 1:
        raise ImageError(f"has {len(scan)} slices; extract the one to use")
    raster.check_size(scan.shape[2], scan.shape[1])
    kind = scan.stored.dtype
    depth = Depth.FLOAT if kind.kind == "f" else Depth.EIGHT if kind.itemsize == 1 else Depth.SIXTEEN
    return Picture(scan.images[0], depth=depth, notes=scan.notes, scan=scan)


def _head(file: BinaryIO) -> bytes:
    head = file.read(scans.HEAD)
    file.seek(0)
    return head


def _record_text(file: BinaryIO) -> object:
    magic = file.read(4)
    file.seek(0)
    if magic == png.MAGIC[:4]:
        return png.text_of(file, writing.SOFTWARE.encode())
    if magic in tiff.MAGIC:  # Pillow opens none with colour in more than 8 bits
        exif = Image.Exif()
        exif.load_from_fp(file)
        return exif.get(header.RECORD)
    with Image.open(file, formats=("JPEG", "WEBP")) as image:
        return image.getexif().get(header.RECORD)


def _opaque(picture: Picture, name: str) -> torch.Tensor:
    if picture.alpha is not None:
        remedy = "flatten it first, for example: magick IN -background white -alpha remove -alpha off OUT.png"
        raise ImageError(_line(f"{name}: is transparent in places; {remedy}"))
    return picture.pixels


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read; whatever fails inside the block leaves as one ImageError that names the file."""
    with _told(str(path)):
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise ImageError("is a folder, not an image" if path.is_dir() else "is not a regular file")
        with path.open("rb") as file:
            yield file


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever fails inside the block leaves as one ImageError of one line that starts with `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Pillow mends by itself, and of sizes, which we check
            yield
    except Exception as error:  # decoders raise nearly every built-in type when the bytes are wrong
        why = f"is damaged or incomplete ({type(error).__name__}: {error})"
        if isinstance(error, ImageError) or (isinstance(error, OSError) and error.strerror):
            why = _said(error)
        elif isinstance(error, UnidentifiedImageError):
            why = f"is not a {_KINDS} image, or its header is damaged"
        elif isinstance(error, Image.DecompressionBombError):
            why = raster.TOO_MANY
        raise ImageError(_line(f"{name}: {why}")) from error


def _unit_range(samples: Array) -> torch.Tensor:
    """(C,H,W) float32 of (H,W) or (H,W,C): integers by their type's white, floats as they are, near [0, 1]."""
    planes = samples[..., None] if samples.ndim == 2 else samples
    if samples.dtype.kind == "u":
        white = float(np.iinfo(samples.dtype).max)
    else:
        low, high = float(samples.min()), float(samples.max())  # a NaN anywhere makes both NaN
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ImageError("has NaN or infinite pixels; replace them first")
        if low < -8 or high > 9:  # noise leaves [0, 1] by a little, another scale by far
            raise ImageError(f"has values from {low:g} to {high:g}; divide them by their white to reach [0, 1]")
        white = 1.0
    height, width, channels = planes.shape
    pixels = torch.empty(channels, height, width)
    for top in range(0, height, _ROWS):  # some rows at a time: whole temporaries would treble the memory
        rows = torch.from_numpy(np.ascontiguousarray(planes[top : top + _ROWS]))
        pixels[:, top : top + _ROWS].copy_(rows.permute(2, 0, 1)).div_(white)
    return pixels


def _upright(samples: Array, orientation: int) -> Array:
    """Turn (H,W) or (H,W,C) as the orientation tag says; an unknown value turns nothing. A view."""
    if orientation in _FLIPS:
        return np.flip(samples.swapaxes(0, 1) if orientation >= 5 else samples, _FLIPS[orientation])
    return samples


def _check_image(image: torch.Tensor) -> None:
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        raise TypeError(f"image must be a floating point tensor: got {getattr(image, 'dtype', type(image))}")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ValueError(f"image must be (C,H,W) with C = 1 or 3: got {tuple(image.shape)}")
    if image.isnan().any():
        raise ValueError("image must have a number in every pixel: got NaN")


def _said(error: Exception) -> str:
    """What a library or the system says, without the file name that OSError repeats."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())
