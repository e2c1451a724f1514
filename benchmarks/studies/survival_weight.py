"""What a server holds after thousands of runs, and what a reader of events costs it."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.studies.serving import OVER, Asker, Server, Weight

CLIENTS = 8


async def weighed(
    server: Server, images: Sequence[bytes], marks: Sequence[int], options: dict[str, Any]
) -> list[tuple[int, Weight]]:
    """Let eight clients ask, follow and fetch without a pause; what the server holds after so many runs each."""
    numbers = iter(range(marks[-1]))
    done, found = 0, []

    async def client() -> None:
        nonlocal done
        asker = Asker(server.address)
        for number in numbers:
            id = await asker.submit(images[number % len(images)], seed=number, **options)
            if id is None:
                raise RuntimeError("refused, though there is room")
            await asker.follow(id)
            await asker.image(id)
            done += 1
            if done in marks:
                found.append((done, server.weight()))
        await asker.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return found


async def readers(
    server: Server, image: bytes, rounds: int, runs: int, options: dict[str, Any]
) -> dict[str, tuple[float, int]]:
    """Seconds of CPU time that a run takes of the server, and bytes sent, by who reads its events; in turns.

    Every run is also asked after ten times a second, by all alike. The median of the rounds counts.
    """
    arms: dict[str, tuple[str, ...]] = {
        "nobody": (),
        "one reader": ("",),
        "one reader, with pictures": ("?pictures=png",),
        "eight readers": ("",) * 8,
    }
    took: dict[str, list[float]] = {name: [] for name in arms}
    sent: dict[str, int] = dict.fromkeys(arms, 0)
    asker = Asker(server.address)
    for turn in range(rounds + 1):
        for name, queries in arms.items():
            began = server.cpu()
            for number in range(runs):
                id = await asker.submit(image, seed=number, **options)
                assert id is not None
                read = [asyncio.create_task(asker.follow(id, query)) for query in queries]
                while (known := await asker.known(id)) is None or known["state"] not in OVER:
                    await asyncio.sleep(0.1)
                sent[name] = sum([await one for one in read])
            if turn:  # the first one warms up
                took[name].append((server.cpu() - began) / runs)
    await asker.close()
    return {name: (statistics.median(took[name]), sent[name]) for name in arms}
