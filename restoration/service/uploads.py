"""What clients send: read within bounds, and told from what cannot be meant."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from restoration.service.problems import ProblemError
from restoration.service.schema import Options, json_object, options_from

UPLOAD_S = 120.0
"""Seconds that a request's body may take to come."""
_PARTS = ("image", "mask")


@dataclass(frozen=True)
class Upload:
    """What a request brought.

    Args:
        options: how the picture is to be restored.
        image: bytes of a picture file.
        mask: of a mask's, if there is one.
        name: what the client calls the picture: for messages only, never a path.
    """

    options: Options
    image: bytes
    mask: bytes | None = None
    name: str = "the picture"


async def received(request: Request, query: Mapping[str, Any]) -> Upload:
    """The restoration that a request asks for, in multipart form or JSON.

    Args:
        query: options in the address.

    Raises:
        ProblemError: what cannot be read, in one sentence.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(UPLOAD_S):
            if kind == "multipart/form-data":
                return await _from_form(request, query)
            if kind == "application/json":
                return _from_json(await request.body(), query)
    except TimeoutError:
        raise ProblemError(408, f"the request did not come within {UPLOAD_S:g} s") from None
    except ClientDisconnect:
        raise ProblemError(400, "the client left before the request had come") from None
    raise ProblemError(415, "send multipart/form-data with a part image, or application/json")


async def _from_form(request: Request, query: Mapping[str, Any]) -> Upload:
    try:
        form = await request.form(max_files=2, max_fields=64, max_part_size=64 << 10)
    except MultiPartException as error:
        raise ProblemError(400, f"the form cannot be read: {error.message}") from None
    except (ValueError, KeyError, LookupError, AssertionError) as error:  # a name in no charset, no boundary
        raise ProblemError(400, f"the form cannot be read: {error or 'it has no boundary'}") from None
    try:
        files: dict[str, bytes] = {}
        texts: dict[str, Any] = {}
        name = ""
        for key, value in form.multi_items():
            if key in files or key in texts:
                raise ProblemError(422, f"{key[:60]} is given twice")
            if isinstance(value, UploadFile):
                if key not in _PARTS:
                    raise ProblemError(422, f"a file must be called image or mask: got {key[:60]!r}")
                files[key] = await value.read()
                name = (value.filename or "") if key == "image" else name
            else:
                texts[key] = value
    finally:
        await form.close()
    told = json_object(texts.pop("options"), "options") if "options" in texts else {}
    if "image" not in files:
        hint = ": send it as a file, curl -F image=@face.png" if "image" in texts else ""
        raise ProblemError(422, f"missing image, the picture to restore{hint}")
    options = options_from((query, told, texts))
    return Upload(options, files["image"], files.get("mask"), _plain(name) or "the picture")


def _from_json(body: bytes, query: Mapping[str, Any]) -> Upload:
    told = json_object(body, "the body")
    files = {key: _decoded(told.pop(key), key) for key in _PARTS if told.get(key) is not None}
    told = {key: value for key, value in told.items() if key not in _PARTS}
    if "image" not in files:
        raise ProblemError(422, "missing image, the picture to restore, in base64")
    return Upload(options_from((query, told)), files["image"], files.get("mask"))


def _decoded(text: object, name: str) -> bytes:
    if isinstance(text, str):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise ProblemError(422, f"{name} must be a file in base64")


def _plain(name: str) -> str:
    """A client's name of a file as something to show: its last part, without what cannot be printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:80]
