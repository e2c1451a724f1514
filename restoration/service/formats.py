"""In which format a picture is sent: what the client accepts, made from the file that is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from restoration.pictures import images, png, writing
from restoration.service.problems import ProblemError

TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "tif": "image/tiff"}
"""Media types by the command's names of formats."""
_FORMS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/tiff": "TIFF"}
_SAME = {"jpeg": "jpg", "tiff": "tif"}


def asked_type(accept: str | None, form: str | None) -> str:
    """The media type that a request wants.

    Args:
        accept: its Accept header.
        form: "png" and the like, which goes first.

    Raises:
        ProblemError: 406, or 422 for an unknown format: there is none of ours among them.
    """
    if form is not None:
        name = form.lower().removeprefix(".")
        if _SAME.get(name, name) not in TYPES:
            raise ProblemError(422, f"format must be one of {', '.join(TYPES)}: got {form[:40]!r}")
        return TYPES[_SAME.get(name, name)]
    weights: dict[str, float] = {}
    for part in (accept or "*/*")[:2000].split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[name] = weight

    def weight_of(kind: str) -> float:
        return weights.get(kind, weights.get("image/*", weights.get("*/*", 0.0)))

    best = max(_FORMS, key=weight_of)  # the first of several: PNG keeps everything
    if not weight_of(best) > 0:
        raise ProblemError(406, f"pictures are sent as {', '.join(_FORMS)}: got Accept: {(accept or '')[:120]}")
    return best


def own_type(path: Path) -> str:
    """The media type of a file that is kept."""
    return "image/tiff" if path.suffix == ".tif" else "image/png"


def converted(kept: Path | bytes, media_type: str, quality: int | None) -> bytes:
    """A kept picture in another format, with its record and all that the format holds.

    Args:
        kept: its file, or the bytes of one.
        media_type: of the format.
        quality: of JPEG and WebP.

    Raises:
        ProblemError: 422: a format that cannot hold it.
    """
    picture = images.read_bytes(kept, "the picture") if isinstance(kept, bytes) else images.read(kept)
    record = _record(kept)
    try:
        return writing.encode(picture, _FORMS[media_type], json.dumps(record), quality)
    except ValueError as error:
        raise ProblemError(422, f"the picture cannot be sent so: {error}") from None


def _record(kept: Path | bytes) -> dict[str, Any]:
    if isinstance(kept, Path):
        return images.read_record(kept) or {}
    text = png.text_of(io.BytesIO(kept), writing.SOFTWARE.encode())
    return dict(json.loads(text)) if text else {}
