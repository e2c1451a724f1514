"""Decoding by Pillow, and of PNGs with 16 bits a sample by imagecodecs, which keeps every bit."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from restoration.errors import ImageError
from restoration.pictures import colour, header, png
from restoration.pictures.picture import Header

MAX_PIXELS = 64_000_000
"""Largest width times height that is decoded; a file that declares more is refused by its header alone."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
"""What Pillow decodes for us, beside TIFF: by content, never by name."""

TOO_MANY = f"declares more than the {MAX_PIXELS} pixels we decode; make it smaller or cut it into pieces"

Array: TypeAlias = npt.NDArray[Any]


@dataclass
class Raw:
    """What was decoded, in the file's own numbers and not yet turned upright.

    Args:
        samples: (H, W) or (H, W, 3).
        alpha: (H, W), 0 transparent.
        orientation: EXIF's, still to be applied.
        profile: an ICC profile that suits the samples.
        header: what else the file said.
        notes: what was changed or left out.
    """

    samples: Array
    alpha: Array | None = None
    orientation: int = 1
    profile: bytes | None = None
    header: Header = field(default_factory=Header)
    notes: list[str] = field(default_factory=list)


def read(file: BinaryIO) -> Raw:
    """Decode a file of one of ``FORMATS``."""
    if file.read(len(png.MAGIC)) != png.MAGIC:
        return by_pillow(file, FORMATS)
    file.seek(0)
    data = file.read()
    check_size(*png.size_of(data))
    clean = png.cleaned(data)
    raw = by_pillow(io.BytesIO(clean.data), ("PNG",), deep=clean.bits == 16)
    if clean.bits == 16:
        _deepen(raw, clean)
    parts = raw.header
    xmp = header.upright_xmp(clean.xmp) or parts.xmp
    raw.header = Header(parts.resolution, parts.exif, xmp, clean.carried)
    raw.notes = [*clean.notes, *raw.notes]
    return raw


def by_pillow(file: BinaryIO, formats: tuple[str, ...], *, deep: bool = False) -> Raw:
    """Decode by Pillow one of some formats.

    Args:
        deep: read all but the pixels, which another decoder reads.
    """
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        check_size(*image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in ("JPEG", "MPO", "TIFF"):  # TIFF: checked before
            raise ImageError(f"has {frames} frames; extract the one to restore")
        notes = []
        if frames > 1 and image.format == "MPO":
            notes.append(f"holds {frames} pictures (a preview or gain map, mostly); the first is read")
        if image.format in ("JPEG", "MPO") and image.info.get("comment"):
            notes.append("its JPEG comment is left out")
        if image.info.get("photoshop"):
            notes.append("its IPTC and Photoshop data are left out")
        mode, transparent = image.mode, image.has_transparency_data
        profile, said = colour.checked(_bytes(image.info.get("icc_profile")), _kind(mode))
        notes += said
        raw = Raw(np.zeros((0, 0), np.uint8), profile=profile, notes=notes)
        if not deep:
            image.load()
            _take_samples(raw, image, mode, transparent)
        # asked after decoding, because Pillow turns a TIFF by itself and then forgets the tag
        try:
            exif = image.getexif()
            raw.orientation = int(exif.get(header.ORIENTATION, 1))
            resolution = header.resolution_of(image.info, exif)
        except Exception:  # whatever a library dislikes in it, it is no pixel
            exif, resolution = Image.Exif(), None
            notes.append("its EXIF is damaged and left out")
        try:
            kept = header.exif_of(exif)
        except Exception:
            kept = None
            notes.append("its EXIF is damaged and left out")
        raw.header = Header(resolution, kept, header.upright_xmp(_bytes(image.info.get("xmp"))))
    return raw


def check_size(width: int, height: int) -> None:
    """ImageError for a picture that is too large, or has a side of one pixel."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{TOO_MANY} ({width}x{height})")
    if min(width, height) < 2:
        raise ImageError(f"is {width}x{height} pixels; both sides must be at least 2")


def _take_samples(raw: Raw, image: Image.Image, mode: str, transparent: bool) -> None:
    if mode in ("CMYK", "LAB"):
        image = colour.to_srgb(image, raw.profile)
        raw.profile = None
        raw.notes.append(f"is {mode}; converted to sRGB")
    if transparent:
        image = image.convert("LA" if mode in ("L", "LA", "1", "La") else "RGBA")
        both = np.asarray(image)
        raw.samples, raw.alpha = both[..., :-1], both[..., -1]
        raw.samples = raw.samples[..., 0] if raw.samples.shape[2] == 1 else raw.samples
    elif mode == "1":
        raw.samples = np.asarray(image.convert("L"))
    elif mode == "I":  # how older Pillow gives 16 bit grey
        raw.samples = np.asarray(image).clip(0, 65535).astype(np.uint16)
    elif mode in ("L", "F") or mode.startswith("I;16"):
        raw.samples = np.asarray(image)
    else:
        raw.samples = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _deepen(raw: Raw, clean: png.Cleaned) -> None:
    """Read a PNG of 16 bits a sample; its transparent colour becomes alpha."""
    from imagecodecs import png_decode

    samples: Array = np.asarray(png_decode(_without_transparency(clean)))
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        raw.alpha, samples = samples[..., -1], samples[..., :-1]
    elif clean.transparent is not None:
        key = np.frombuffer(clean.transparent[: 6 if samples.ndim == 3 else 2], ">u2")
        same = samples == key if samples.ndim == 2 else (samples == key).all(axis=2)
        raw.alpha = np.where(same, 0, 65535).astype(np.uint16)
    raw.samples = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples


def _without_transparency(clean: png.Cleaned) -> bytes:
    if clean.transparent is None:
        return clean.data
    return clean.data.replace(png.chunk(b"tRNS", clean.transparent), b"", 1)


def _kind(mode: str) -> str:
    """The mode whose profiles suit."""
    if mode in ("CMYK", "LAB"):
        return mode
    return "L" if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16") else "RGB"


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None
