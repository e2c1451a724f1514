"""The chunks of a PNG: pixels are what matters, and what stands beside them is carried or left out.

Source: PNG, third edition, sections 5 and 11.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from restoration.errors import ImageError
from restoration.pictures.picture import COLOUR_CHUNKS

MAGIC = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
XMP = b"XML:com.adobe.xmp\0"
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # how ImageMagick once kept EXIF
_OURS = (b"nested-restoration\0", b"Software\0")
MOST_TEXT = 1_000_000  # of bytes that Pillow inflates of a text or profile
MOST_CARRIED = 32_000_000


@dataclass(frozen=True)
class Cleaned:
    """A PNG without what only carries words.

    Args:
        data: the file to decode.
        bits, colour_type: of its header.
        transparent: its transparent colour or palette's alphas, as stored; None where there are none.
        carried: texts and colour chunks, as they were.
        xmp: an XMP packet.
        notes: what was damaged and is left out.
    """

    data: bytes
    bits: int
    colour_type: int
    transparent: bytes | None
    carried: tuple[tuple[bytes, bytes], ...]
    xmp: bytes | None
    notes: tuple[str, ...]


def cleaned(data: bytes) -> Cleaned:
    """Check every chunk's checksum, and part the words from the pixels.

    Raises:
        ImageError: a chunk that pixels depend on is damaged or missing. Others are left out, and noted.
    """
    kept, carried, notes = [MAGIC], [], []
    header, transparent, xmp, size = b"", None, None, 0
    seen = ended = False
    for name, content, good, raw in chunks(data):
        critical = not name[:1].islower()
        if critical and not good:
            raise ImageError(f"is damaged: the checksum of its {_named(name)} chunk is wrong")
        if not good:
            notes.append(f"its {_named(name)} chunk has a wrong checksum and is left out")
            continue
        if name == b"IHDR":
            header = header or content
        seen = seen or name == b"IDAT"
        if name == b"tRNS":
            transparent = content
        ours = name in TEXTS and content.startswith((*_OURS, *_RAW_EXIF))
        if name == b"iTXt" and content.startswith(XMP):
            xmp = _xmp(content)
        elif name in (*TEXTS, *COLOUR_CHUNKS) and not ours:
            size += len(content)
            carried += [(name, content)] if size <= MOST_CARRIED else []
        if name not in (*TEXTS, *COLOUR_CHUNKS) or _is_exif(name, content):
            kept.append(raw)
        ended = name == b"IEND"
        if ended:
            break
    if not ended:
        raise ImageError("is damaged or incomplete: its end is missing")
    if len(header) != 13 or not seen:
        raise ImageError("is damaged or incomplete: it holds no pixels")
    if size > MOST_CARRIED:
        notes.append(f"of its texts, {size:,} bytes, what goes beyond {MOST_CARRIED:,} is left out")
    return Cleaned(b"".join(kept), header[8], header[9], transparent, tuple(carried), xmp, tuple(notes))


def text_of(file: BinaryIO, keyword: bytes, most: int = 10_000_000) -> str | None:
    """The plain text of that keyword, looked for before the pixels; None where there is none."""
    if file.read(len(MAGIC)) != MAGIC:
        return None
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return None
        if name != b"tEXt" or length > most:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        content = file.read(length + 4)[:length]
        if content.startswith(keyword + b"\0"):
            return content[len(keyword) + 1 :].decode("latin-1")
    return None


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height by the header alone."""
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise ImageError("is damaged or incomplete: its header is missing")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool, bytes]]:
    """Name, content, whether its checksum is right, and the bytes of every whole chunk."""
    at = len(MAGIC)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (told,) = struct.unpack_from(">I", data, at + 8 + length)
        good = told == zlib.crc32(content, zlib.crc32(name)) and name.isalpha()
        yield name, content, good, data[at : at + 12 + length]
        at += 12 + length


def _xmp(content: bytes) -> bytes | None:
    """The packet of an iTXt chunk; None where it is compressed to more than we inflate."""
    body = content[len(XMP) :]
    _, _, rest = body[2:].partition(b"\0")  # language
    _, _, packet = rest.partition(b"\0")  # translated keyword
    if body[:1] != b"\x01":
        return packet
    try:
        inflated = zlib.decompressobj().decompress(packet, MOST_TEXT + 1)
    except zlib.error:
        return None
    return inflated if len(inflated) <= MOST_TEXT else None


def _is_exif(name: bytes, content: bytes) -> bool:
    """Whether it is a text with EXIF in it, of a sensible size."""
    if not content.startswith(_RAW_EXIF):
        return False
    if name != b"zTXt":
        return len(content) < MOST_TEXT
    try:
        body = content.partition(b"\0")[2][1:]
        return len(zlib.decompressobj().decompress(body, MOST_TEXT + 1)) <= MOST_TEXT
    except zlib.error:
        return False


def _named(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")
