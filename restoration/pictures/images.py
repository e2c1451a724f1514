"""Image files in and out: PNG, JPEG, WebP and TIFF on disk, (C,H,W) float tensors in [0, 1] in memory.

Whatever the bytes on disk are, `load` answers with an image or with one `ImageError` of one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from nested.files import atomic_write
from restoration.errors import ImageError, OutputError

MAX_PIXELS = 64_000_000
"""Largest width times height that is decoded; a file that declares more is refused by its header alone."""

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
SUFFIXES: tuple[str, ...] = tuple(_FORMATS)
"""Lower-case suffixes of the files we read and write."""

_FLATTEN = "flatten it first, for example: magick IN -background white -alpha remove -alpha off OUT.png"
_TOO_MANY = f"declares more than the {MAX_PIXELS} pixels we decode; make it smaller or cut it into pieces"

_Array: TypeAlias = npt.NDArray[Any]

_SOFTWARE = "nested-restoration"
_ORIENTATION, _DESCRIPTION, _SOFTWARE_TAG = 0x0112, 0x010E, 0x0131
_EXIF_LIMIT = 65_533  # a JPEG segment tells its length in 16 bits and counts the two bytes of the length
_ENCODER: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}

_TIFF_MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
_STORED, _DEFLATE = {1}, {8, 32946}  # the TIFF compressions tifffile decodes by itself; the rest is Pillow's
_MINISWHITE = 0
_SAMPLES = {_MINISWHITE: 1, 1: 1, 2: 3}  # a pixel, by photometric interpretation: 0 is white, 0 is black, RGB
_BITS = {1: {1, 2, 4, 8, 16}, 3: {16, 32, 64}}  # a sample, by sample format: unsigned, float

# axes of (C,H,W) to flip for each EXIF orientation, after swapping height and width from 5 on
_FLIPS = {2: (2,), 3: (1, 2), 4: (1,), 5: (), 6: (2,), 7: (1, 2), 8: (1,)}

# both log what they find odd before they raise; without a handler Python prints that beside our one line
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def load(path: Path) -> torch.Tensor:
    """Read an image file as a (C,H,W) float32 tensor, C = 1 (grey) or 3 (RGB), nominally in [0, 1].

    The format is told by content, never by name. uint8 is divided by 255 and uint16 by 65535; float TIFF is
    kept as it is and may leave [0, 1] a little, as a noisy measurement does. 16 bit colour stays so
    in stored or Deflate TIFF; in PNG and other TIFF Pillow cuts it to 8 bits. The orientation is applied, a
    colour profile is not. Of a JPEG with further pictures (previews, gain maps) the first is read.
    Raises ImageError for anything else: no such file, another format, damage, alpha, several frames or pages,
    more than MAX_PIXELS, a side under 2 pixels, NaN, numbers whose white is unknown.
    """
    with _opened(Path(path)) as file:
        return _decoded(file)


def decode(data: bytes, name: str) -> torch.Tensor:
    """As `load`, from the bytes of a file; `name` is what errors call it."""
    with _told(name):
        return _decoded(io.BytesIO(data))


def save(path: Path, image: torch.Tensor, record: Mapping[str, Any]) -> None:
    """Write an image (C,H,W) in [0, 1], C = 1 or 3, as 8 bits, with `record` (as JSON) inside the file.

    The suffix chooses PNG, JPEG (quality 95, 4:4:4), WebP (lossless, always RGB) or TIFF (Deflate). The image
    may be on any device; it is clamped and rounded. The file appears whole or not at all.
    Raises TypeError or ValueError for a wrong image or record, OutputError where it cannot be written.
    """
    path = Path(path)
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise OutputError(_line(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}"))
    pixels, text = _to_uint8(image), json.dumps(dict(record))
    try:
        if not path.parent.is_dir():
            raise ValueError(f"there is no folder {path.parent}")
        data = _encode(pixels, form, text)
        atomic_write(path, lambda file: file.write(data))
    except (OSError, ValueError) as error:  # ValueError: Pillow's word for a size too large
        raise OutputError(_line(f"{path}: cannot be written: {_said(error)}")) from error


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record that `save` stored in a file, or None if the file is no image or holds none.

    Reads headers only, no pixels. Raises ImageError only for a file that cannot be opened at all.
    """
    with _opened(path) as file:
        try:
            with Image.open(file, formats=list(_ENCODER)) as image:
                text = image.info.get(_SOFTWARE)
                # a description is ours only where we signed it: other programs put JSON there too
                if image.format != "PNG" and image.getexif().get(_SOFTWARE_TAG) == _SOFTWARE:
                    text = image.getexif().get(_DESCRIPTION)
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
    return sorted(path for path in shown if path.suffix.lower() in SUFFIXES and path.is_file())


def _decoded(file: BinaryIO) -> torch.Tensor:
    magic = file.read(4)
    file.seek(0)
    if not magic:
        raise ImageError("the file is empty")
    pixels, orientation = _read_tiff(file) if magic in _TIFF_MAGIC else _read_by_pillow(file)
    return torch.from_numpy(_upright(_unit_range(pixels), orientation))


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
            why = "is not a PNG, JPEG, WebP or TIFF image, or its header is damaged"
        elif isinstance(error, Image.DecompressionBombError):
            why = _TOO_MANY
        raise ImageError(_line(f"{name}: {why}")) from error


def _read_by_pillow(file: BinaryIO, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP")) -> tuple[_Array, int]:
    """Decode: pixels (C,H,W) in the file's own type, and the orientation still to be applied."""
    with Image.open(file, formats=formats) as image:
        _check_size(*image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format in ("PNG", "WEBP"):  # JPEG: previews; TIFF: checked before
            raise ImageError(f"has {frames} frames; extract the one to restore")
        if image.has_transparency_data:
            raise ImageError(f"has an alpha channel or a transparent colour; {_FLATTEN}")
        if image.format == "PNG":
            image.verify()  # the checksums, which decoding skips; afterwards the image is unusable
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        image.load()
        # asked after decoding, because Pillow turns a TIFF by itself and then forgets the tag
        orientation = image.getexif().get(_ORIENTATION, 1)
        if image.mode == "1":
            pixels = np.asarray(image.convert("L"))
        elif image.mode == "I":  # how older Pillow gives 16 bit grey
            pixels = np.asarray(image).clip(0, 65535).astype(np.uint16)
        elif image.mode in ("L", "F") or image.mode.startswith("I;16"):
            pixels = np.asarray(image)
        else:
            pixels = np.asarray(image.convert("RGB"))
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0), orientation


def _read_tiff(file: BinaryIO) -> tuple[_Array, int]:
    """Decode by tifffile, which keeps every bit, where it can, else by Pillow; as `_read_by_pillow`."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_tiff(tiff, page)
        exact = page.samplesperpixel == _SAMPLES.get(page.photometric) and page.bitspersample >= 8
        exact = exact and page.compression in _STORED | _DEFLATE and page.predictor in {1, 2}
        if exact:
            _check_segments(page, file)
            pixels = page.asarray(maxworkers=1)
            pixels = {"YX": pixels[None], "YXS": np.moveaxis(pixels, -1, 0), "SYX": pixels}[page.axes]
            orientation = page.tags.valueof(_ORIENTATION, 1)
        else:
            file.seek(0)
            try:
                pixels, orientation = _read_by_pillow(file, ("TIFF",))
            except UnidentifiedImageError:
                kind = _names(page.photometric, page.compression, page.predictor, page.dtype)
                raise ImageError(f"is a kind of TIFF we cannot read ({kind}); save it uncompressed") from None
        if page.photometric == _MINISWHITE and (exact or pixels.dtype != np.uint8):  # Pillow inverts uint8
            white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
            pixels = np.subtract(white, pixels, dtype=pixels.dtype)
        return pixels, orientation


def _check_tiff(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse by its header a TIFF that is no single grey or colour image."""
    sizes = page.imagewidth, page.imagelength, page.imagedepth, page.samplesperpixel, page.bitspersample
    sides = page.tilewidth, page.tilelength, page.tiledepth, page.rowsperstrip
    if not all(isinstance(number, int) for number in sizes + sides):  # products with lists would fill memory
        raise ImageError("is damaged: its header lists several numbers where one belongs")
    _check_size(page.imagewidth, page.imagelength)
    if page.is_reduced:
        raise ImageError("begins with a preview, as camera raw files do; develop it into a TIFF first")
    pages = len(tiff.pages)
    if page.imagedepth > 1 or any(not tiff.pages[index].aspage().is_reduced for index in range(1, pages)):
        raise ImageError(f"has {max(pages, page.imagedepth)} pages; extract the one to restore")
    samples, bits = page.samplesperpixel, page.bitspersample
    if page.extrasamples or samples > _SAMPLES.get(page.photometric, samples):
        raise ImageError(f"has {samples} samples a pixel, alpha or the like among them; {_FLATTEN}")
    if bits not in _BITS.get(page.sampleformat, ()):
        kind = f"{bits} bit {_names(page.sampleformat)} pixels, whose white is unknown"
        raise ImageError(f"has {kind}; save it as 8 or 16 bits unsigned or as float in [0, 1]")


def _check_segments(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Refuse strips or tiles that are missing, cut short, or inflate beyond the size they declare.

    tifffile would take zeros for the first two, and would inflate the third until memory ends.
    """
    elements, size = math.prod(page.chunks), os.fstat(file.fileno()).st_size
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    missing = len(segments) != math.prod(page.chunked) or any(n < 1 or at + n > size for at, n in segments)
    if missing or elements > 4 * MAX_PIXELS:
        raise ImageError("is damaged or incomplete: strips or tiles of pixels are missing")
    most = elements * page.bitspersample // 8
    for at, n in segments if page.compression in _DEFLATE else ():
        file.seek(at)
        if len(zlib.decompressobj().decompress(file.read(n), most + 1)) > most:
            raise ImageError("is damaged: a strip or tile inflates beyond the size it declares")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{_TOO_MANY} ({width}x{height})")
    if min(width, height) < 2:
        raise ImageError(f"is {width}x{height} pixels; both sides must be at least 2")


def _unit_range(pixels: _Array) -> _Array:
    """Scale integers to [0, 1] by their type's white; check that floats are near [0, 1] already."""
    if pixels.dtype.kind == "u":
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    low, high = float(pixels.min()), float(pixels.max())  # a NaN anywhere makes both NaN
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError("has NaN or infinite pixels; replace them first")
    if low < -8 or high > 9:  # noise leaves [0, 1] by a little, another scale by far
        raise ImageError(f"has values from {low:g} to {high:g}; divide them by their white to reach [0, 1]")
    return pixels.astype(np.float32)


def _upright(pixels: _Array, orientation: int) -> _Array:
    """Turn (C,H,W) as the orientation tag says; an unknown value turns nothing."""
    if orientation in _FLIPS:
        pixels = np.flip(pixels.swapaxes(1, 2) if orientation >= 5 else pixels, _FLIPS[orientation])
    return np.ascontiguousarray(pixels)


def _to_uint8(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Clamp and round (C,H,W) in [0, 1] on any device to (H,W) or (H,W,3)."""
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        raise TypeError(f"image must be a floating point tensor: got {getattr(image, 'dtype', type(image))}")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ValueError(f"image must be (C,H,W) with C = 1 or 3: got {tuple(image.shape)}")
    if image.isnan().any():
        raise ValueError("image must have a number in every pixel: got NaN")
    levels: npt.NDArray[np.uint8] = (image.detach().cpu().float().clamp(0, 1) * 255).round().byte().numpy()
    return np.ascontiguousarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, 2))


def _encode(pixels: npt.NDArray[np.uint8], form: str, text: str) -> bytes:
    """Make the file in memory: an encoder that writes to a full disk says only that it failed."""
    buffer, options = io.BytesIO(), dict(_ENCODER[form])
    if form == "PNG":
        options["pnginfo"] = chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Software", _SOFTWARE)
        chunks.add_text(_SOFTWARE, text)
    else:
        options["exif"] = exif = Image.Exif()
        exif[_SOFTWARE_TAG], exif[_DESCRIPTION] = _SOFTWARE, text
        if form == "JPEG" and len(exif.tobytes()) > _EXIF_LIMIT:
            raise ValueError(f"the record has {len(text)} bytes and JPEG holds {_EXIF_LIMIT}; save as .png")
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _said(error: Exception) -> str:
    """What a library or the system says, without the file name that OSError repeats."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _names(*values: object) -> str:
    return ", ".join(str(getattr(value, "name", value)) for value in values)


def _line(text: str) -> str:
    return " ".join(text.split())
