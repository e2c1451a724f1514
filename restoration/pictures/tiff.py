"""Decoding TIFF by tifffile, which keeps every bit, where it can, else by Pillow."""

from __future__ import annotations

import math
import os
import zlib
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from restoration.errors import ImageError
from restoration.pictures import colour, header, raster
from restoration.pictures.picture import Header
from restoration.pictures.raster import Array, Raw

MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
_DEFLATE, _LZW, _PACKBITS = {8, 32946}, {5}, {32773}
_EXACT = {1} | _DEFLATE | _LZW | _PACKBITS  # compressions that keep every bit; the rest is Pillow's
_MINISWHITE = 0
_SAMPLES = {_MINISWHITE: 1, 1: 1, 2: 3}  # a pixel, by photometric interpretation: 0 is white, 0 is black, RGB
_BITS = {1: {1, 2, 4, 8, 16}, 3: {16, 32, 64}}  # a sample, by sample format: unsigned, float
_PREMULTIPLIED = 1
_ICC, _XMP = 34675, 700


def read(file: BinaryIO) -> Raw:
    """Decode a TIFF of one grey or colour image, with or without alpha."""
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check(tiff, page)
        extra = len(page.extrasamples)
        exact = page.samplesperpixel - extra == _SAMPLES.get(page.photometric) and page.bitspersample >= 8
        exact = exact and page.compression in _EXACT and page.predictor in {1, 2, 3}
        if exact:
            _check_segments(page, file)
            raw = _exact(page, file)
        else:
            try:
                raw = raster.by_pillow(file, ("TIFF",))
            except UnidentifiedImageError:
                kind = names(page.photometric, page.compression, page.predictor, page.dtype)
                raise ImageError(f"is a kind of TIFF we cannot read ({kind}); save it uncompressed") from None
        pixels = raw.samples
        if page.photometric == _MINISWHITE and (exact or pixels.dtype != np.uint8):  # Pillow inverts uint8
            white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
            raw.samples = np.subtract(white, pixels, dtype=pixels.dtype)
        return raw


def _exact(page: tifffile.TiffPage, file: BinaryIO) -> Raw:
    pixels = page.asarray(maxworkers=1)
    pixels = {"YX": lambda: pixels, "YXS": lambda: pixels, "SYX": lambda: np.moveaxis(pixels, 0, -1)}[page.axes]()
    raw = Raw(pixels, orientation=page.tags.valueof(header.ORIENTATION, 1))
    if page.extrasamples:
        raw.samples, raw.alpha = pixels[..., :-1], pixels[..., -1]
        if page.extrasamples[0] == _PREMULTIPLIED:
            raw.samples = _divided(raw.samples, raw.alpha)
            raw.notes.append("its colours were multiplied by its alpha; they are written undivided from it")
    if raw.samples.ndim == 3 and raw.samples.shape[2] == 1:
        raw.samples = raw.samples[..., 0]
    profile = page.tags.valueof(_ICC)
    mode = "L" if raw.samples.ndim == 2 else "RGB"
    raw.profile, said = colour.checked(profile if isinstance(profile, bytes) else None, mode)
    raw.notes += said
    if 34377 in page.tags or 33723 in page.tags:
        raw.notes.append("its IPTC and Photoshop data are left out")
    exif, kept, resolution = Image.Exif(), None, None
    try:
        file.seek(0)
        exif.load_from_fp(file)
        kept = header.exif_of(exif)
        resolution = header.resolution_of({}, exif)
    except Exception:  # whatever a library dislikes in it, it is no pixel
        raw.notes.append("its EXIF is damaged and left out")
    xmp = page.tags.valueof(_XMP)
    xmp = bytes(xmp) if isinstance(xmp, (bytes, tuple)) and all(isinstance(b, int) for b in xmp) else None
    raw.header = Header(resolution, kept, header.upright_xmp(xmp))
    return raw


def _divided(samples: Array, alpha: Array) -> Array:
    """Colours that were multiplied by alpha, as they were before."""
    white = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    share = alpha[..., None].astype(np.float64) / white
    plain = np.divide(samples, share, out=np.zeros(samples.shape, np.float64), where=share > 0).clip(0, white)
    return plain.astype(samples.dtype) if samples.dtype.kind == "f" else plain.round().astype(samples.dtype)


def _check(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """Refuse by its header a TIFF that is no single grey or colour image."""
    sizes = page.imagewidth, page.imagelength, page.imagedepth, page.samplesperpixel, page.bitspersample
    sides = page.tilewidth, page.tilelength, page.tiledepth, page.rowsperstrip
    if not all(isinstance(number, int) for number in sizes + sides):  # products with lists would fill memory
        raise ImageError("is damaged: its header lists several numbers where one belongs")
    raster.check_size(page.imagewidth, page.imagelength)
    if page.is_reduced:
        raise ImageError("begins with a preview, as camera raw files do; develop it into a TIFF first")
    pages = len(tiff.pages)
    if page.imagedepth > 1 or any(not tiff.pages[index].aspage().is_reduced for index in range(1, pages)):
        raise ImageError(f"has {max(pages, page.imagedepth)} pages; extract the one to restore")
    samples, bits, extra = page.samplesperpixel, page.bitspersample, len(page.extrasamples)
    if extra > 1 or samples - extra > _SAMPLES.get(page.photometric, samples):
        raise ImageError(f"has {samples} samples a pixel, more than colour and alpha; save it without the others")
    if bits not in _BITS.get(page.sampleformat, ()):
        kind = f"{bits} bit {names(page.sampleformat)} pixels, whose white is unknown"
        raise ImageError(f"has {kind}; save it as 8 or 16 bits unsigned or as float in [0, 1]")


def _check_segments(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Refuse strips or tiles that are missing, cut short, or inflate beyond the size they declare.

    tifffile would take zeros for the first two, and would inflate the third until memory ends.
    """
    elements, size = math.prod(page.chunks), _length(file)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    missing = len(segments) != math.prod(page.chunked) or any(n < 1 or at + n > size for at, n in segments)
    if missing or elements > 4 * raster.MAX_PIXELS:
        raise ImageError("is damaged or incomplete: strips or tiles of pixels are missing")
    most = elements * page.bitspersample // 8
    in_a_plane = math.ceil(page.imagelength / page.rowsperstrip) if not page.is_tiled else 1
    for i, (at, n) in enumerate(segments if page.compression != 1 else ()):
        file.seek(at)
        length = _unpacked(file.read(n), page.compression, most)
        if length > most:
            raise ImageError("is damaged: a strip or tile inflates beyond the size it declares")
        last = not page.is_tiled and i % in_a_plane == in_a_plane - 1
        rows = page.imagelength - (in_a_plane - 1) * page.rowsperstrip if last else page.rowsperstrip
        if length < (most if page.is_tiled else most // page.rowsperstrip * rows):
            raise ImageError("is damaged or incomplete: pixels of a strip or tile are missing")


def _unpacked(data: bytes, compression: int, most: int) -> int:
    """How many bytes a strip or tile becomes, or one more than ``most``."""
    if compression in _DEFLATE:
        return len(zlib.decompressobj().decompress(data, most + 1))
    import imagecodecs

    decode = imagecodecs.lzw_decode if compression in _LZW else imagecodecs.packbits_decode
    return len(decode(data, out=most + 1))


def _length(file: BinaryIO) -> int:
    at = file.seek(0, os.SEEK_END)
    file.seek(0)
    return at


def names(*values: object) -> str:
    """What a library's enumerations are called."""
    return ", ".join(str(getattr(value, "name", value)) for value in values)
