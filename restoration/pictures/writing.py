"""Encoding a picture: PNG and TIFF keep its depth, JPEG and WebP have 8 bits and say so."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image, PngImagePlugin, TiffImagePlugin

from restoration.pictures import header, png
from restoration.pictures.picture import COLOUR_CHUNKS, Depth, Picture
from restoration.pictures.raster import Array

SOFTWARE = "nested-restoration"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""What is written, by suffix."""

JPEG_QUALITY = 95
_JPEG_SEGMENT = 65_533  # a segment tells its length in 16 bits and counts the two bytes of the length
_EXIF_POINTERS = (0x8769, 0x8825)
_LONG, _ASCII, _BYTE = 4, 2, 1


def losses(picture: Picture, suffix: str, quality: int | None = None) -> tuple[str, ...]:
    """What a file of that suffix cannot keep of a picture, a line each."""
    if suffix.lower() not in FORMATS:  # of scans, which keep all that theirs said
        return ()
    form, told = FORMATS[suffix.lower()], []
    bits = "float numbers" if picture.depth is Depth.FLOAT else f"{int(picture.depth)} bits a sample"
    if form in ("JPEG", "WEBP") and picture.depth is not Depth.EIGHT:
        told.append(f"{form} holds 8 bits a sample, of {bits} here; .png or .tif keep them")
    if form == "PNG" and picture.depth is Depth.FLOAT:
        told.append("PNG holds 16 bits a sample, of float numbers here; .tif keeps them")
    if form == "JPEG" and picture.alpha is not None:
        told.append("JPEG holds no transparency: shown on white; .png, .webp or .tif keep it")
    chunks = {name for name, _ in picture.header.chunks}
    if form != "PNG" and chunks & set(png.TEXTS):
        told.append(f"the texts of its PNG are not kept in {form}")
    if form != "PNG" and chunks & (set(COLOUR_CHUNKS) - {b"sRGB"}) and picture.profile is None:
        told.append(f"its gamma and primaries, which PNG tells without a profile, are not kept in {form}")
    return tuple(told)


def encode(picture: Picture, form: str, record: str, quality: int | None = None) -> bytes:
    """A file of a picture in memory: an encoder that writes to a full disk says only that it failed.

    Args:
        picture: clamped to [0, 1] and rounded to what the format can hold of its depth.
        form: "PNG", "JPEG", "WEBP" or "TIFF".
        record: stored inside the file.
        quality: 1 … 100 of JPEG, else 95 (4:4:4), or of lossy WebP, else lossless. Others have none.

    Raises:
        ValueError: what the format cannot hold: too large a picture, too long a record.
    """
    if form == "TIFF":
        return _tiff(picture, record)
    deep = form == "PNG" and picture.depth is not Depth.EIGHT
    if form == "JPEG" and picture.alpha is not None:
        white = picture.pixels.new_ones(())
        alpha = picture.alpha.to(picture.pixels)
        flat = picture.pixels.clamp(0, 1) * alpha + white * (1 - alpha)
        picture = Picture(flat, None, picture.depth, picture.profile, picture.header)
    samples = _samples(picture, np.dtype(np.uint16 if deep else np.uint8))
    if form == "PNG":
        return _png(samples, picture, record)
    options: dict[str, Any] = {"icc_profile": picture.profile}
    head = picture.header
    exif = head.exif
    size = (samples.shape[1], samples.shape[0])

    def made(exif: bytes | None, maker_note: bool = True) -> Image.Exif:
        return header.with_record(exif, record, SOFTWARE, size, head.resolution, maker_note=maker_note)

    options["exif"] = made(exif)
    if form == "JPEG":
        if len(options["exif"].tobytes()) > _JPEG_SEGMENT:  # makers' notes can be long
            options["exif"] = made(exif, maker_note=False)
        if len(options["exif"].tobytes()) > _JPEG_SEGMENT:
            options["exif"] = made(None)
        if len(options["exif"].tobytes()) > _JPEG_SEGMENT:
            raise ValueError(f"the record has {len(record)} bytes and JPEG holds {_JPEG_SEGMENT}; save as .png")
        options |= {"quality": JPEG_QUALITY if quality is None else quality, "subsampling": "4:4:4"}
        if head.resolution is not None:
            options["dpi"] = tuple(round(value) for value in head.resolution)
        if head.xmp is not None and len(head.xmp) < _JPEG_SEGMENT - 100:
            options["xmp"] = head.xmp
    else:
        options |= {"lossless": True} if quality is None else {"quality": quality}
        options |= {"exact": True, **({} if head.xmp is None else {"xmp": head.xmp})}
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, form, **options)
    return buffer.getvalue()


def _samples(picture: Picture, dtype: np.dtype[Any]) -> Array:
    """(H, W), or (H, W, C) with alpha last."""
    image = picture.pixels.detach().cpu().float()
    if picture.alpha is not None:
        image = torch.cat([image, picture.alpha.detach().cpu().float()])
    image = image.clamp(0, 1)
    if dtype.kind == "f":
        levels: Array = image.numpy()
    elif dtype == np.uint8:
        levels = (image * 255).round().byte().numpy()
    else:
        levels = (image.double() * 65535).round().numpy().astype(np.uint16)
    return np.ascontiguousarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, 2))


def _png(samples: Array, picture: Picture, record: str) -> bytes:
    info, head = PngImagePlugin.PngInfo(), picture.header
    for name, content in head.chunks:
        if name not in COLOUR_CHUNKS or picture.profile is None:
            info.add(name, content)
    info.add_text("Software", SOFTWARE)
    info.add_text(SOFTWARE, record)
    if head.xmp is not None:
        info.add(b"iTXt", png.XMP + b"\0\0\0\0" + head.xmp)
    options: dict[str, Any] = {"pnginfo": info, "icc_profile": picture.profile, "dpi": head.resolution}
    options = {name: value for name, value in options.items() if value is not None}
    if head.exif is not None:
        size = (samples.shape[1], samples.shape[0])
        exif = header.with_record(head.exif, "", SOFTWARE, size, head.resolution)
        del exif[header.RECORD]  # a PNG has it as text
        options["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    if samples.dtype == np.uint8:
        Image.fromarray(samples).save(buffer, "PNG", **options)
        return buffer.getvalue()
    from imagecodecs import png_encode  # Pillow writes no colour of 16 bits

    Image.new("L", (1, 1)).save(buffer, "PNG", **options)  # for its chunks
    words = [raw for name, _, _, raw in png.chunks(buffer.getvalue()) if name not in (b"IHDR", b"IDAT", b"IEND")]
    data = bytes(png_encode(samples))
    after_header = len(png.MAGIC) + 25
    return b"".join([data[:after_header], *words, data[after_header:]])


def _tiff(picture: Picture, record: str) -> bytes:
    kinds = {Depth.EIGHT: np.uint8, Depth.SIXTEEN: np.uint16, Depth.FLOAT: np.float32}
    samples, head = _samples(picture, np.dtype(kinds[picture.depth])), picture.header
    exif = header.with_record(head.exif, record, SOFTWARE, (samples.shape[1], samples.shape[0]), None)
    tags: list[tuple[int, int, int, Any, bool]] = [(header.RECORD, _ASCII, 0, record, True)]
    texts = {tag: value for tag, value in exif.items() if isinstance(value, (bytes, str))}
    for tag, value in texts.items():
        if tag not in (header.RECORD, header.SOFTWARE, 270, *_EXIF_POINTERS):
            tags.append((tag, _ASCII, 0, value, True))
    if head.xmp is not None:
        tags.append((700, _BYTE, len(head.xmp), head.xmp, True))
    colours = 3 if len(picture.pixels) == 3 else 1
    options: dict[str, Any] = {"photometric": "rgb" if colours == 3 else "minisblack", "compression": "zlib"}
    if picture.alpha is not None:
        options |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
    if head.resolution is not None:
        options |= {"resolution": head.resolution, "resolutionunit": "INCH"}
    if picture.profile is not None:
        options["iccprofile"] = picture.profile
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, samples, software=SOFTWARE, description=texts.get(270), metadata=None, extratags=tags, **options
    )
    return _with_directories(buffer.getvalue(), header.sub_directories(exif))


def _with_directories(data: bytes, directories: Mapping[int, Mapping[int, Any]]) -> bytes:
    """A TIFF with EXIF's directories, which tifffile does not write: its first one is written anew."""
    if not directories:
        return data
    order, magic, at = struct.unpack_from("<2sHI", data)
    if order != b"II" or magic != 42:
        return data
    (count,) = struct.unpack_from("<H", data, at)
    entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    whole = bytearray(data)
    for tag, values in directories.items():
        whole += b"\0" * (len(whole) % 2)
        directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II\x2a\x00\x08\x00\x00\x00")
        for name, value in values.items():
            directory[name] = value
        entries.append(struct.pack("<HHII", tag, _LONG, 1, len(whole)))
        whole += directory.tobytes(len(whole))
    whole += b"\0" * (len(whole) % 2)
    struct.pack_into("<I", whole, 4, len(whole))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    return bytes(whole) + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
