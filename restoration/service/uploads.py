"""What clients send: read within bounds, and first decoded where a hostile file can do no harm."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import multiprocessing
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from restoration.errors import ImageError
from restoration.service.problems import ProblemError
from restoration.service.schema import Options, json_object, options_from

UPLOAD_S = 120.0
"""Seconds that a request's body may take to come."""
DECODE_S = 20.0
"""Seconds that a picture may take to be decoded."""
MEMORY = 3 << 30
"""Bytes that decoding may take beyond what its process has at its start."""
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


class Decoder:
    """A process that decodes pictures first: one that fills the memory, hangs or crashes ends only it.

    It answers whether a picture can be read, and its size; who asks then reads the same bytes again, which have
    been found harmless. Nothing but JSON comes back.
    """

    def __init__(self, seconds: float = DECODE_S, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._lock = threading.Lock()
        self._process: Any = None
        self._ours: Connection | None = None

    def start(self) -> None:
        """Start the process now, which takes seconds, and not with the first picture."""
        with self._lock:
            self._started()

    def check(self, image: Path, mask: Path | None, most_pixels: int, *, coefficients: bool = False) -> None:
        """Decode a picture and its mask; blocks.

        Args:
            image, mask: files.
            most_pixels: that each may have.
            coefficients: read a JPEG's own numbers, too.

        Raises:
            ImageError: they cannot be read within bounds.
        """
        with self._lock:
            connection = self._started()
            asked = {
                "files": [str(path) for path in (image, mask) if path is not None],
                "most": most_pixels,
                "coefficients": coefficients,
            }
            try:
                connection.send_bytes(json.dumps(asked).encode())
                if not connection.poll(self._seconds):
                    self._end()
                    raise ImageError(f"{image}: takes more than {self._seconds:g} s to decode")
                answer = json.loads(connection.recv_bytes(1 << 16))
            except (EOFError, OSError):
                self._end()
                raise ImageError(f"{image}: cannot be decoded here: the decoder gave up") from None
        if answer["error"] is not None:
            raise ImageError(answer["error"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> Connection:
        if self._ours is None or not self._process.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            self._ours, theirs = context.Pipe()
            self._process = context.Process(target=_decode_on, args=(theirs, self._memory), daemon=True)
            self._process.start()
            theirs.close()
        assert self._ours is not None
        return self._ours

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._ours is not None:
            self._ours.close()
        self._process = self._ours = None


def _decode_on(connection: Connection, memory: int) -> None:
    """What the process does until nobody asks any more."""
    import resource
    import signal

    import torch

    from restoration.pictures import images, jpeg

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the server's to answer
    torch.set_num_threads(1)
    try:
        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    except (OSError, ValueError):  # no Linux: time alone is bounded
        pass
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        error = None
        try:
            for file in asked["files"]:
                _, height, width = images.read(Path(file)).pixels.shape
                if height * width > asked["most"]:
                    raise ImageError(
                        f"{file}: is {width}×{height}; this server takes {asked['most']:,} pixels at most"
                    )
            if asked["coefficients"]:
                jpeg.read(Path(asked["files"][0]))
        except ImageError as found:
            error = str(found)
        except MemoryError:
            error = f"{asked['files'][0]}: needs more memory to decode than it may have here"
        except Exception as found:
            error = f"{asked['files'][0]}: cannot be decoded ({type(found).__name__})"
        connection.send_bytes(json.dumps({"error": None if error is None else error[:2000]}).encode())
