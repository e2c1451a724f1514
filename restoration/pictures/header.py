"""What a file says beside its pixels: EXIF, XMP and print resolution, read and made ready to be written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

ORIENTATION, SOFTWARE, RECORD = 0x0112, 0x0131, 65042
"""EXIF tags; the last, for our record, is of those that TIFF leaves to everybody."""
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_WIDTH, _HEIGHT, _MAKER_NOTE = 0xA002, 0xA003, 0x927C
_DESCRIBING = (
    *(269, 270, 271, 272, 306, 315, 316, 33432, 18246, 18249, 40091, 40092, 40093, 40094, 40095),
    *(282, 283, 296),
)
"""What is kept of the first directory: document, description, make, model, date, artist, host, copyright, ratings,
Windows' words, resolution. The others tell how a file is laid out, or are of its thumbnail."""
MOST = 1_000_000  # bytes of EXIF or XMP


def exif_of(found: Image.Exif) -> bytes | None:
    """The EXIF of a picture to be written: what describes it, without orientation, layout and thumbnail."""
    kept = Image.Exif()
    for tag in _DESCRIBING:
        if tag in found:
            kept[tag] = _plain(found[tag])
    for ifd in (_EXIF_IFD, _GPS_IFD):
        values = found.get_ifd(ifd)
        if values:
            kept.get_ifd(ifd).update({tag: _plain(value) for tag, value in values.items()})
    if not len(kept) and not any(kept.get_ifd(ifd) for ifd in (_EXIF_IFD, _GPS_IFD)):
        return None
    data = kept.tobytes()
    return data if len(data) <= MOST else None


def with_record(
    exif: bytes | None,
    record: str,
    software: str,
    size: tuple[int, int],
    resolution: tuple[float, float] | None,
    *,
    maker_note: bool = True,
) -> Image.Exif:
    """EXIF to be written: with our record, and the picture's own size (width, height) and resolution."""
    made = Image.Exif()
    if exif is not None:
        made.load(exif)
        for tag in _DESCRIBING:
            if tag in made:
                made[tag] = _plain(made[tag])
        details = made.get_ifd(_EXIF_IFD)
        for tag, value in list(details.items()):
            details[tag] = _plain(value)
        for tag, side in ((_WIDTH, size[0]), (_HEIGHT, size[1])):
            if tag in details:
                details[tag] = side
        if not maker_note:
            details.pop(_MAKER_NOTE, None)
    if resolution is not None:
        made[282], made[283], made[296] = (*resolution, 2)
    made[SOFTWARE], made[RECORD] = software, record
    return made


def sub_directories(exif: Image.Exif) -> dict[int, Mapping[int, Any]]:
    """The camera's and the place's directory, where there are any, by the tag that points to each."""
    found = {ifd: exif.get_ifd(ifd) for ifd in (_EXIF_IFD, _GPS_IFD)}
    return {tag: values for tag, values in found.items() if values}


def upright_xmp(packet: bytes | None) -> bytes | None:
    """An XMP packet that says of no turn, as the picture has been turned."""
    if not packet or len(packet) > MOST:
        return None
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", packet)


def resolution_of(info: Mapping[Any, Any], exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels an inch; None where the file does not say, or says no sensible number."""
    told = info.get("dpi")
    if told is None and exif.get(296, 2) in (2, 3) and 282 in exif:
        scale = 2.54 if exif.get(296, 2) == 3 else 1.0
        told = tuple(float(exif.get(tag, exif[282])) * scale for tag in (282, 283))
    try:
        across, down = (float(value) for value in told)  # type: ignore[union-attr]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (1 <= across <= 1e5 and 1 <= down <= 1e5):
        return None
    return _whole(across), _whole(down)


def _whole(value: float) -> float:
    """A PNG tells pixels a metre: 300 an inch come back as 299.9994."""
    return float(round(value)) if abs(value - round(value)) < 0.02 else value


def _plain(value: Any) -> Any:
    """Text beyond ASCII as the bytes that it was: Pillow reads it as Latin-1 and would write question marks."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value
