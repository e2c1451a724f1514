"""Checkpoints come once, to the user's cache: resumed after a break, checked, and put in place whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock
from platformdirs import user_cache_path

from restoration.errors import PriorError
from restoration.priors.library.catalogue import Known

PIECE = 1 << 20
Progress = Callable[[str, int, int | None], None]
"""Told the file's name, bytes so far and bytes in all (None where the server does not say)."""


def cache_folder() -> Path:
    """``$NESTED_RESTORATION_CACHE``, else ``nested-restoration`` where the system keeps the user's caches."""
    if chosen := os.environ.get("NESTED_RESTORATION_CACHE"):
        return Path(chosen)
    return user_cache_path("nested-restoration", appauthor=False)


def fetch(known: Known, folder: Path, progress: Progress | None = None, timeout: float = 30) -> Path:
    """The file of a known checkpoint in ``folder``, downloaded if it is not there.

    A download that breaks leaves its part, and goes on from there the next time if the server still has the same
    file (by its ETag). The whole is checked against the announced size and against the published SHA-256 or MD5,
    where there is one, before it takes its name. One process downloads at a time; others wait for it.

    Raises:
        PriorError: one line: no connection (and which file to put where), or a file that is not the published one.
    """
    target = folder / known.file
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{known.file}.lock"):
            if not target.is_file():
                part = folder / f"{known.file}.part"
                _download(known, part, progress, timeout)
                _check(known, part)
                part.replace(target)
                _tag(part).unlink(missing_ok=True)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        reason = " ".join(str(reason).split()) or type(error).__name__
        raise PriorError(
            f"{known.name} cannot be downloaded ({reason}): get {known.file} from "
            f"{known.url} and put it into {folder}, or give its path as the prior"
        ) from None
    return target


def _tag(part: Path) -> Path:
    """Where the ETag of the file that a part belongs to is kept."""
    return part.with_name(f"{part.name}.etag")


def _download(known: Known, part: Path, progress: Progress | None, timeout: float) -> None:
    tag = _tag(part).read_text(encoding="utf-8") if _tag(part).is_file() else ""
    have = part.stat().st_size if tag and part.is_file() else 0  # without a tag, a part may be of any file
    headers = {"User-Agent": "nested-restoration"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    request = urllib.request.Request(known.url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # the part is the whole already
        part.unlink(missing_ok=True)
        raise
    with answer:
        if known.url.startswith("https:") and not answer.url.startswith("https:"):
            raise OSError(f"the server leads to {answer.url}, which is not encrypted")
        goes_on = answer.status == 206 and str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-")
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        _tag(part).write_text(answer.headers.get("ETag") or "", encoding="utf-8")
        with part.open("ab" if goes_on else "wb") as file:
            have = _copy(answer, file, have, total, known.file, progress)
    if total is not None and have != total:
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
            _tag(part).unlink(missing_ok=True)
            raise PriorError(
                f"{known.name}: what {known.url} sent is not the published file: its {kind} is {found}, "
                f"not {published}; it has been removed"
            )


def fetch_from_hub(repository: str, check: Callable[[Path], None]) -> Path:
    """The folder of a hub repository in diffusers format, from the hub's own cache or downloaded into it.

    Only its configurations and then its weights come, as safetensors where the repository has them.

    Args:
        repository: owner/name.
        check: raises where the configurations say that it is of no use, before weights are downloaded.

    Raises:
        PriorError: one line: no connection, or no such repository.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    settings = ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
    settings += ["config.json", "scheduler_config.json"]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=settings))
        check(folder)
        for weights in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"):
            wanted = [weights, f"unet/{weights}"]  # exact: a pattern's * would cross folders
            folder = Path(snapshot_download(repository, allow_patterns=[*settings, *wanted]))
            if any((folder / name).is_file() for name in wanted):
                break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        missing = status in (401, 403, 404)
        reason = "no such repository, or not a public one" if missing else f"status {status or 'none: offline'}"
        raise PriorError(
            f"{repository} is no file or folder here, and cannot be fetched from the hub ({reason}): download its "
            "folder elsewhere (in diffusers format) and give its path as the prior"
        ) from None
    return folder
