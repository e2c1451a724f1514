"""Checkpoints come once, to the user's cache: resumed after a break, checked, and put in place whole."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from restoration.errors import PriorError
from restoration.priors.catalogue import Known

PIECE = 1 << 20
Progress = Callable[[str, int, int | None], None]
"""Told the file's name, bytes so far and bytes in all (None where the server does not say)."""


def cache_folder() -> Path:
    """``$NESTED_RESTORATION_CACHE``, else ``nested-restoration`` in the user's cache folder."""
    if chosen := os.environ.get("NESTED_RESTORATION_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nested-restoration"


def fetch(known: Known, folder: Path, progress: Progress | None = None, timeout: float = 30) -> Path:
    """The file of a known checkpoint in ``folder``, downloaded if it is not there.

    A download that breaks leaves its part, and goes on from there the next time; the whole file is checked against
    the published SHA-256 or MD5, where there is one, before it takes its name.

    Raises:
        PriorError: one line: no connection (and which file to put where), or a file that is not the published one.
    """
    target = folder / known.file
    if target.is_file():
        return target
    part = folder / f"{known.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(known, part, progress, timeout)
        _check(known, part)
        part.replace(target)
    except (
        OSError,
        ValueError,
    ) as error:  # URLError is an OSError; ValueError: what http.client says of a bad URL
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise PriorError(
            f"{known.name} cannot be downloaded ({' '.join(str(reason).split())}): get {known.file} from "
            f"{known.url} and put it into {folder}, or give its path as the prior"
        ) from None
    return target


def _download(known: Known, part: Path, progress: Progress | None, timeout: float) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "nested-restoration", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(known.url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is the whole already; the checksum will tell
            return
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        have = _copy(answer, file, have, total, known.file, progress)
    if total is not None and have < total:
        raise OSError(f"the connection broke after {have} of {total} bytes; the same command goes on from there")


def _copy(
    source: BinaryIO, file: BinaryIO, have: int, total: int | None, name: str, progress: Progress | None
) -> int:
    while piece := source.read(PIECE):
        file.write(piece)
        have += len(piece)
        if progress is not None:
            progress(name, have, total)
    return have


def _check(known: Known, part: Path) -> None:
    for kind, published in (("sha256", known.sha256), ("md5", known.md5)):
        if not published:
            continue
        with part.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != published:
            part.unlink()
            raise PriorError(
                f"{known.name}: what {known.url} sent is not the published file: its {kind} is {found}, "
                f"not {published}; it has been removed"
            )


def fetch_from_hub(repository: str) -> Path:
    """The folder of a hub repository in diffusers format, from the hub's own cache or downloaded into it.

    Only configurations and weights come, weights as safetensors where the repository has them.

    Raises:
        PriorError: one line: no connection, or no such repository.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        for weights in ("*.safetensors", "*.bin"):
            wanted = ["*.json", "unet/*.json", "scheduler/*.json", weights, f"unet/{weights}"]
            folder = Path(snapshot_download(repository, allow_patterns=wanted))
            if any(folder.glob(f"**/{weights}")):
                break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = (
            "no such repository, or it is not public" if "40" in str(getattr(error, "response", "")) else "offline"
        )
        raise PriorError(
            f"{repository} is no file or folder here, and cannot be fetched from the hub ({reason}): download its "
            "folder elsewhere (in diffusers format) and give its path as the prior"
        ) from None
    return folder
