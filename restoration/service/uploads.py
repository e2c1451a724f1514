"""What clients send: read within bounds, and told from what cannot be meant."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from restoration.service.problems import ProblemError
from restoration.service.schema import Edit, Options, json_object, options_from, sentence

UPLOAD_S = 120.0
"""Seconds that a request's body may take to come."""
_PARTS = ("image", "mask", "strokes")


@dataclass(frozen=True)
class Upload:
    """What a request brought.

    Args:
        options: how the picture is to be restored.
        image: bytes of a picture file.
        mask: of a mask's, if there is one.
        strokes: of a picture of strokes, if there is one.
        name: what the client calls the picture: for messages only, never a path.
    """

    options: Options
    image: bytes
    mask: bytes | None = None
    strokes: bytes | None = None
    name: str = "the picture"


@dataclass(frozen=True)
class ChangedPreview:
    """An edit that a request brought.

    Args:
        image: bytes of a picture file.
        candidate: which it was made of, from 1.
        trust: keep what contradicts the measurement, too.
    """

    image: bytes
    candidate: int = 1
    trust: bool = False


async def received(request: Request, query: Mapping[str, Any]) -> Upload:
    """The restoration that a request asks for, in multipart form or JSON.

    Args:
        query: options in the address.

    Raises:
        ProblemError: what cannot be read, in one sentence.
    """
    content = await _content(request, _PARTS)
    if isinstance(content, bytes):
        return _from_json(content, query)
    return _from_form(content, query)


async def received_edit(request: Request) -> ChangedPreview:
    """The changed preview that a request brings, in multipart form or JSON; ProblemError as :func:`received`."""
    content = await _content(request, ("image",))
    told = json_object(content, "the body") if isinstance(content, bytes) else {**content.texts, **content.files}
    if "image" not in told:
        raise ProblemError(422, "missing image, the changed preview")
    if not isinstance(content, bytes):
        told["image"] = ""
    try:
        edit = Edit.model_validate(told)
    except ValidationError as error:
        raise ProblemError(422, sentence(error)) from None
    image = _decoded(edit.image, "image") if isinstance(content, bytes) else content.files["image"]
    return ChangedPreview(image, edit.candidate, edit.trust_edit)


@dataclass(frozen=True)
class _Form:
    """The parts of a form: files by name, texts by name, and what the client calls its picture."""

    files: dict[str, bytes]
    texts: dict[str, Any]
    name: str


async def _content(request: Request, parts: Sequence[str]) -> _Form | bytes:
    """A form with files of those names, or the body of a JSON request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(UPLOAD_S):
            if kind == "multipart/form-data":
                return await _form(request, parts)
            if kind == "application/json":
                return await request.body()
    except TimeoutError:
        raise ProblemError(408, f"the request did not come within {UPLOAD_S:g} s") from None
    except ClientDisconnect:
        raise ProblemError(400, "the client left before the request had come") from None
    raise ProblemError(415, "send multipart/form-data with a part image, or application/json")


async def _form(request: Request, parts: Sequence[str]) -> _Form:
    try:
        form = await request.form(max_files=len(parts), max_fields=64, max_part_size=64 << 10)
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
                if key not in parts:
                    raise ProblemError(422, f"a file must be called {' or '.join(parts)}: got {key[:60]!r}")
                files[key] = await value.read()
                name = (value.filename or "") if key == "image" else name
            else:
                texts[key] = value
    finally:
        await form.close()
    if "image" in texts:
        raise ProblemError(
            422, "missing image, the picture to restore: send it as a file, curl -F image=@face.png"
        )
    return _Form(files, texts, name)


def _from_form(form: _Form, query: Mapping[str, Any]) -> Upload:
    files, texts, name = form.files, dict(form.texts), form.name
    told = json_object(texts.pop("options"), "options") if "options" in texts else {}
    if "image" not in files:
        raise ProblemError(422, "missing image, the picture to restore")
    options = options_from((query, told, texts))
    return Upload(options, files["image"], files.get("mask"), files.get("strokes"), _plain(name) or "the picture")


def _from_json(body: bytes, query: Mapping[str, Any]) -> Upload:
    told = json_object(body, "the body")
    files = {key: _decoded(told.pop(key), key) for key in _PARTS if told.get(key) is not None}
    told = {key: value for key, value in told.items() if key not in _PARTS}
    if "image" not in files:
        raise ProblemError(422, "missing image, the picture to restore, in base64")
    return Upload(options_from((query, told)), files["image"], files.get("mask"), files.get("strokes"))


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
