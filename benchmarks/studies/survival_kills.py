"""A server under load that is killed again and again: every accepted run ends, as if nothing had been."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.studies.serving import OVER, Asker, Server

OPEN = 6
"""Restorations that are under way at any time."""


@dataclass
class Account:
    """What became of all accepted runs.

    Args:
        accepted: answered with 202.
        lost: not done in the end.
        differing: whose picture is not, bit for bit, the one of a server that nobody killed.
        starting: kills that met a server before it was ready.
        open: unfinished runs at each kill.
        orphans: processes that outlived their server by more than ten seconds.
    """

    accepted: int = 0
    lost: int = 0
    differing: int = 0
    starting: int = 0
    open: list[int] = field(default_factory=list)
    orphans: int = 0


async def killed(
    context: ForkServerContext,
    prior: str,
    folder: Path,
    images: Sequence[bytes],
    kills: int,
    options: dict[str, Any],
) -> Account:
    """Kill a server so many times, at moments drawn evenly from a fifth of its start's time to thrice that."""

    def start(place: str, port: int | None) -> Server:
        # Calls of one picture: only then has every call of a run the same size, whatever else is there.
        return Server(context, prior, folder / place, ("--batch", "1", "--per-client", "64"), port)

    server = start("whole", None)
    server.wait()
    wanted = [await _alone(server, image, seed, options) for seed, image in enumerate(images)]
    server.kill()

    told, draw = Account(), random.Random(0)
    runs: dict[str, tuple[int, str | None]] = {}
    server = start("broken", server.port)
    ready = server.wait()
    asker = Asker(server.address)
    client = asyncio.create_task(_load(asker, images, options, runs))
    for _ in range(kills):
        await asyncio.sleep(draw.uniform(0.2 * ready, 3 * ready))
        told.starting += not await _is_ready(asker)
        told.open.append(sum(over is None for _, over in runs.values()))
        started = server.processes()
        await asyncio.to_thread(server.kill)
        told.orphans += await asyncio.to_thread(_outlived, started)
        server = start("broken", server.port)
    client.cancel()
    with suppress(asyncio.CancelledError):
        await client
    await asyncio.to_thread(server.wait)
    while any(over is None for _, over in runs.values()):
        await _look(asker, runs)
        await asyncio.sleep(0.05)
    told.accepted = len(runs)
    for id, (seed, over) in runs.items():
        if over != "done":
            told.lost += 1
        elif not np.array_equal(await asker.image(id), wanted[seed]):
            told.differing += 1
    await asker.close()
    server.kill()
    return told


async def _alone(server: Server, image: bytes, seed: int, options: dict[str, Any]) -> np.ndarray[Any, Any]:
    asker = Asker(server.address)
    id = await asker.submit(image, seed=seed, **options)
    assert id is not None
    await asker.follow(id)
    picture = await asker.image(id)
    await asker.close()
    return picture


async def _load(
    asker: Asker, images: Sequence[bytes], options: dict[str, Any], runs: dict[str, tuple[int, str | None]]
) -> None:
    """Keep so many restorations under way, whatever becomes of the server."""
    number = 0
    while True:
        with suppress(httpx.TransportError):
            await _look(asker, runs)
            while sum(over is None for _, over in runs.values()) < OPEN:
                seed = number % len(images)
                id = await asker.submit(images[seed], seed=seed, **options)
                if id is None:
                    break
                runs[id] = seed, None
                number += 1
        await asyncio.sleep(0.1)


async def _look(asker: Asker, runs: dict[str, tuple[int, str | None]]) -> None:
    """Find out which runs have ended; one that is not there any more is lost."""
    for id, (seed, over) in runs.items():
        if over is None:
            try:
                known = await asker.known(id)
            except RuntimeError as error:
                runs[id] = seed, str(error)
                continue
            if known is not None and known["state"] in OVER:
                runs[id] = seed, known["state"]


async def _is_ready(asker: Asker) -> bool:
    with suppress(httpx.TransportError):
        return (await asker.http.get("/readyz")).status_code == 200
    return False


def _outlived(pids: Sequence[int]) -> int:
    """How many processes are there ten seconds later."""
    end = time.monotonic() + 10
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    return len(left)
