"""One replica of ``restore-serve --ray`` against several, and one that is killed in the middle.

Run: ``python -m benchmarks.studies.ray_replicas [--faces faces.tar] [--replicas 1,2]``. All runs are submitted at
once to a server on this machine; restorations a second count from the first submission to the last result. Then
the same again while one replica's process gets a SIGKILL. It exits 1 where an accepted run is lost, or a picture
is not the undisturbed one bit for bit (calls are of one picture, so that all have the same size).
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.studies.serving import Asker, Server, forking, serving, uploads
from benchmarks.studies.shared import show, tell

SIDE = 64
ASKED = {"task": "denoise", "sigma": 0.1, "allocation": "4,4,4"}
ROOM = ("--batch", "1", "--device", "cpu", "--queue", "1000", "--per-client", "1000")


def replicas_of(server: Server) -> list[int]:
    """The processes of a server's replicas: descendants of its own that Ray has named so."""
    found, left = [], [server.process.pid]
    while left:
        pid = left.pop()
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            for task in Path(f"/proc/{pid}/task").iterdir():
                left += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        except OSError:  # it has just ended
            continue
        if b"ServeReplica" in title and pid is not None:
            found.append(pid)
    return found


async def restored(
    server: Server, images: Sequence[bytes], kill_after: float | None = None
) -> tuple[float, list[np.ndarray[Any, Any] | None]]:
    """Seconds from the first submission to the last result, and the pictures; None of a run that was lost."""
    asker, began = Asker(server.address), time.monotonic()
    ids = [await asker.submit(image, seed=seed, **ASKED) for seed, image in enumerate(images)]
    ended = asyncio.gather(*(asker.follow(id) for id in ids if id is not None))
    if kill_after is not None:
        await asyncio.sleep(kill_after)
        os.kill(replicas_of(server)[0], signal.SIGKILL)
    await ended
    took = time.monotonic() - began
    found: list[np.ndarray[Any, Any] | None] = []
    for id in ids:
        known = None if id is None else await asker.known(id)
        done = known is not None and known["state"] == "done"
        found.append(await asker.image(str(id)) if done else None)
    await asker.close()
    return took, found


def main(
    faces: Annotated[Path | None, typer.Option(help="A tar of faces; else smooth random pictures.")] = None,
    prior: Annotated[str, typer.Option(help="As restore-serve takes it.")] = "faces-64",
    replicas: Annotated[str, typer.Option(help="How many, in turn; the last ones lose one.")] = "1,2",
    runs: Annotated[int, typer.Option(min=1, help="At once.")] = 24,
) -> None:
    """Measure, kill, compare; exits 1 where a run was lost or a bit differs."""
    context, images, rows, lost, differing = forking(), uploads(faces, runs, SIDE), [], 0, 0
    wanted: list[np.ndarray[Any, Any] | None] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in replicas.split(","):
            options = ("--ray", "--replicas", count, *ROOM)
            with serving(context, prior, Path(folder) / f"store-{count}", *options) as server:
                asyncio.run(restored(server, images[: 2 * int(count)]))  # warms up
                took, found = asyncio.run(restored(server, images))
                wanted = wanted or found
                arms = [("", took, found)]
                if count == replicas.split(",")[-1]:
                    killed_took, after = asyncio.run(restored(server, images, took / 3))
                    arms.append((", one killed after a third", killed_took, after))
            for name, seconds, pictures in arms:
                lost += sum(picture is None for picture in pictures)
                pairs = zip(wanted, pictures, strict=True)
                differing += sum(a is not None and b is not None and not np.array_equal(a, b) for a, b in pairs)
                rows.append([f"{count}{name}", f"{runs / seconds:.2f}", f"{seconds:.1f}"])
    show(
        ["replicas", "restorations a second", "seconds"],
        rows,
        f"{runs} runs of 12 evaluations of {SIDE}×{SIDE} at once, {prior}, CPU",
    )
    tell(f"{lost} accepted runs lost, {differing} pictures differ in a bit")
    raise typer.Exit(1 if lost or differing else 0)


if __name__ == "__main__":
    typer.run(main)
