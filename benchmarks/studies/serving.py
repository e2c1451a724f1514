"""A ``restore-serve`` in a process of its own, for studies: started, asked over HTTP, weighed and killed."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.studies.load import read

PRELOADED = ["restoration.commands.serve", "restoration.service.server", "restoration.priors.library.loading"]
START_S = 600.0
"""Seconds that anything may take on a machine with much else to do."""
TICKS = os.sysconf("SC_CLK_TCK")
OVER = ("done", "failed")


class Server:
    """The command ``restore-serve``, under way, forked from a process that has imported PyTorch already.

    Args:
        context: of :func:`forking`.
        prior: what ``--prior`` takes.
        store: its folder.
        options: further ones.
        port: to listen at; None takes a free one.
    """

    def __init__(
        self,
        context: ForkServerContext,
        prior: str,
        store: Path,
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.address = f"http://127.0.0.1:{self.port}"
        arguments = ["--port", str(self.port), "--prior", prior, "--store", str(store), *options]
        self.process: BaseProcess = context.Process(target=_command, args=(arguments,))
        self.process.start()

    def wait(self) -> float:
        """Seconds until it takes restorations; RuntimeError where it never does."""
        began = time.monotonic()
        while time.monotonic() < began + START_S:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/readyz", timeout=5).status_code == 200:
                    return time.monotonic() - began
            if self.process.exitcode is not None:
                raise RuntimeError(f"restore-serve ended with {self.process.exitcode}")
            time.sleep(0.05)
        raise RuntimeError(f"restore-serve is not ready after {START_S:g} s")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.join()

    def processes(self) -> list[int]:
        """Its own process and those that it has started."""
        pid = self.process.pid
        assert pid is not None
        found = [pid]
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        return found

    def weight(self) -> Weight:
        """What it holds now."""
        pid = self.process.pid
        with Path(f"/proc/{pid}/status").open(encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        return Weight(
            _kilobytes(facts["VmRSS"]) / 1024,
            sum(_resident(pid) for pid in self.processes()) / 1024,
            int(facts["Threads"]),
            sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        )

    def cpu(self) -> float:
        """Seconds of CPU time that its own process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Weight:
    """What a server holds.

    Args:
        own, everything: MiB of resident memory, of its process and with those that it has started.
        threads, files: of its process.
    """

    own: float
    everything: float
    threads: int
    files: int


def forking() -> ForkServerContext:
    """Where servers are forked from: what they import, it has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def serving(context: ForkServerContext, prior: str, store: Path, *options: str) -> Iterator[Server]:
    """A server that is ready, and killed in the end."""
    server = Server(context, prior, store, options)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def _command(arguments: list[str]) -> None:
    from restoration.commands import serve

    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.argv = ["restore-serve", *arguments]
    serve.script()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def write_tokens(file: Path, count: int) -> list[str]:
    """So many tokens, also written to a file for ``--token-file``."""
    tokens = [secrets.token_urlsafe(24) for _ in range(count)]
    file.write_text("\n".join(tokens) + "\n", encoding="ascii")
    file.chmod(0o600)
    return tokens


def uploads(faces: Path | None, count: int, side: int) -> list[bytes]:
    """Different pictures (side × side) as PNG: the first faces of a tar, or smooth random ones."""
    if faces is not None:
        pixels = [picture.permute(1, 2, 0).numpy() for picture in read(faces, count, ((side, side),))]
    else:
        draw = np.random.default_rng(0)
        coarse = [Image.fromarray(draw.integers(0, 256, (4, 4, 3), np.uint8)) for _ in range(count)]
        pixels = [np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) / 255 for image in coarse]
    found = []
    for picture in pixels:
        Image.fromarray((255 * picture).round().astype(np.uint8)).save(buffer := io.BytesIO(), "PNG")
        found.append(buffer.getvalue())
    return found


def pixels_of(content: bytes) -> np.ndarray[Any, Any]:
    """(H, W, C) of a picture file, int16 so that differences are what they are."""
    return np.asarray(Image.open(io.BytesIO(content))).astype(np.int16)


class Asker:
    """Asks a server as one client does; every method but ``close`` may raise ``httpx.TransportError``.

    Args:
        address: of the server.
        token: to show, if any.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=address, headers=headers, timeout=START_S, trust_env=False)

    async def submit(self, image: bytes, **options: Any) -> str | None:
        """The id of an accepted restoration; None where it was not accepted."""
        answer = await self.http.post(
            "/v1/restorations", files={"image": ("a.png", image)}, data={"options": json.dumps(options)}
        )
        if answer.status_code == 202:
            return str(answer.json()["id"])
        if answer.status_code in (429, 503):
            return None
        raise RuntimeError(f"{answer.status_code}: {answer.text}")

    async def known(self, id: str) -> dict[str, Any] | None:
        """What is known of a restoration; None while the server is starting."""
        answer = await self.http.get(f"/v1/restorations/{id}")
        if answer.status_code == 503:
            return None
        if answer.status_code != 200:
            raise RuntimeError(f"{id}: {answer.status_code}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def image(self, id: str) -> np.ndarray[Any, Any]:
        """The best picture of it."""
        answer = await self.http.get(f"/v1/restorations/{id}/image", params={"format": "png"})
        if answer.status_code != 200:
            raise RuntimeError(f"{id}: {answer.status_code}: {answer.text}")
        return pixels_of(answer.content)

    async def follow(self, id: str, query: str = "") -> int:
        """Read its events to their end; bytes that came."""
        count = 0
        async with self.http.stream("GET", f"/v1/restorations/{id}/events{query}") as stream:
            async for part in stream.aiter_raw():
                count += len(part)
        return count

    async def close(self) -> None:
        """Close its connections."""
        await self.http.aclose()


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0])


def _resident(pid: int) -> int:
    with Path(f"/proc/{pid}/status").open(encoding="ascii") as file:
        return next((_kilobytes(line.split(":", 1)[1]) for line in file if line.startswith("VmRSS")), 0)
