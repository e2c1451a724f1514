"""What a server of restorations survives: crowds, slow and dying clients, thousands of runs, and its own death.

Run: ``python -m benchmarks.studies.survival [--faces faces.tar] [--only clients,memory,kills,events]``. Servers
are ``restore-serve`` itself, in processes of their own, on this machine alone. It exits 1 where an accepted run
was lost, a picture came to the wrong client, or a killed server's result differs in a bit.

- **clients**: each with a token of its own; every third reads slowly, or dies while it follows, uploads or waits.
- **memory**: resident memory, threads and open files while runs of two evaluations pass through.
- **kills**: SIGKILL at random moments under load, then another server on the same store.
- **events**: CPU time of the server for a run, with and without those who follow it, in turns.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.studies import survival_clients, survival_kills, survival_weight
from benchmarks.studies.kills import write_tiny_prior
from benchmarks.studies.serving import forking, serving, uploads, write_tokens
from benchmarks.studies.shared import show, tell

SIDE = 64
DENOISE = {"task": "denoise", "sigma": 0.1}
ROOM = ("--queue", "2000", "--per-client", "2000", "--connections", "2000", "--total-pixels", "100000000")


@dataclass(frozen=True)
class Setting:
    """What all parts share.

    Args:
        context: where servers are forked from.
        folder: for stores, tokens and priors.
        prior: of restorations that are compared.
        faces: a tar of pictures; None makes some.
    """

    context: ForkServerContext
    folder: Path
    prior: str
    faces: Path | None

    def small(self) -> str:
        """A network that takes little time: for what the server itself costs."""
        if not (place := self.folder / "small").exists():
            write_tiny_prior(place, SIDE)
        return str(place)


def crowd(setting: Setting, clients: int, rounds: int) -> int:
    """Tell of a hundred clients; how much was lost or went wrong."""
    tokens = write_tokens(setting.folder / "tokens", clients)
    options = ("--batch", "8", "--token-file", str(setting.folder / "tokens"), *ROOM)
    pictures, asked = uploads(setting.faces, clients, SIDE), {**DENOISE, "allocation": "2,2"}
    with serving(setting.context, setting.prior, setting.folder / "crowd", *options) as server:
        told = asyncio.run(survival_clients.crowd(server, tokens, pictures, rounds, asked))
        weight = server.weight()
    tell(
        f"{clients} clients, {rounds} requests each ({told.died} died in the middle, {told.slow} read slowly): "
        f"{told.accepted} accepted, {told.refused} refused, {told.lost} accepted runs lost, {told.wrong} wrong "
        f"pictures, {told.seen} seen by another client",
        f"{told.exact} pictures are those of the same request alone bit for bit, the others within "
        f"{survival_clients.ROUNDING} level of 255 (calls of other sizes round differently); the nearest two "
        f"clients' pictures are {told.nearest} levels apart",
        f"afterwards: {weight.threads} threads, {weight.files} open files",
    )
    return told.lost + told.wrong + told.seen


def memory(setting: Setting, runs: int) -> int:
    """Tell what a server holds after so many runs."""
    marks = sorted({runs // 40, runs // 10, runs // 4, runs // 2, runs})
    options, pictures = ("--batch", "8", "--keep", "0.05", *ROOM), uploads(setting.faces, 16, SIDE)
    with serving(setting.context, setting.small(), setting.folder / "memory", *options) as server:
        found = asyncio.run(survival_weight.weighed(server, pictures, marks, {**DENOISE, "allocation": "2"}))
    rows = [
        [f"{done}", f"{held.own:.0f}", f"{held.everything:.0f}", f"{held.threads}", f"{held.files}"]
        for done, held in found
    ]
    head = ["runs", "resident, MiB", "with its decoders", "threads", "open files"]
    show(head, rows, f"a small network, 2 evaluations of {SIDE}×{SIDE}, {survival_weight.CLIENTS} clients")
    return 0


def deaths(setting: Setting, kills: int) -> int:
    """Tell of a server that is killed so many times; how much was lost or differs."""
    pictures, asked = uploads(setting.faces, 6, SIDE), {**DENOISE, "allocation": "4,4,4"}
    told = asyncio.run(
        survival_kills.killed(setting.context, setting.prior, setting.folder, pictures, kills, asked)
    )
    tell(
        f"{kills} kills, {told.starting} of them before the server was ready, with {min(told.open)} to "
        f"{max(told.open)} unfinished runs (mean {sum(told.open) / len(told.open):.1f}): {told.accepted} "
        f"accepted, {told.lost} lost, {told.differing} differ from those of a server that nobody killed, "
        f"{told.orphans} processes left behind"
    )
    return told.lost + told.differing + told.orphans


def events(setting: Setting) -> int:
    """Tell what readers of events cost."""
    picture, asked = uploads(setting.faces, 1, SIDE)[0], {**DENOISE, "allocation": "10,10,10"}
    with serving(setting.context, setting.small(), setting.folder / "events", "--batch", "8") as server:
        arms = asyncio.run(survival_weight.readers(server, picture, 3, 5, asked))
    alone = arms["nobody"][0]
    rows = [
        [name, f"{1000 * cpu:.0f}", f"{1000 * (cpu - alone):+.0f}", f"{sent / 1024:.0f}"]
        for name, (cpu, sent) in arms.items()
    ]
    head = ["who reads", "CPU of a run, ms", "more", "KiB sent"]
    show(head, rows, f"a small network, 30 evaluations of {SIDE}×{SIDE}")
    return 0


def main(
    faces: Annotated[Path | None, typer.Option(help="A tar of faces; else smooth random pictures.")] = None,
    prior: Annotated[str, typer.Option(help="As restore-serve takes it.")] = "faces-64",
    only: Annotated[str, typer.Option(help="Which parts.")] = "clients,memory,kills,events",
    clients: Annotated[int, typer.Option(min=2)] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Requests of every client.")] = 2,
    runs: Annotated[int, typer.Option(min=40, help="For memory.")] = 2000,
    kills: Annotated[int, typer.Option(min=1)] = 20,
) -> None:
    """Tell what a server survives; exits 1 where something was lost."""
    parts: dict[str, Callable[[Setting], int]] = {
        "clients": lambda setting: crowd(setting, clients, rounds),
        "memory": lambda setting: memory(setting, runs),
        "kills": lambda setting: deaths(setting, kills),
        "events": events,
    }
    chosen = only.split(",")
    if not {*chosen} <= {*parts}:
        raise typer.BadParameter(f"--only must name {', '.join(parts)}: got {only}")
    with tempfile.TemporaryDirectory() as folder:
        setting, bad = Setting(forking(), Path(folder), prior, faces), 0
        for name in chosen:
            began = time.monotonic()
            tell(f"\n{name}\n")
            bad += parts[name](setting)
            tell(f"({time.monotonic() - began:.0f} s)")
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    typer.run(main)
