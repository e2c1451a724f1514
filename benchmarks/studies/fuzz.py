"""Damage files of every kind that we read, and see that each is read or refused in one line.

``python -m benchmarks.studies.fuzz`` runs all cases and exits 1 where one ends in a traceback, takes more than
5 s or 2 GB beyond what was there, or runs anything in a file. Every case is decided by the seed, its kind and its
number alone, and is run in a child process of its own; ``--only picture:17`` repeats one and shows the traceback.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.studies.fuzz_corpus import KINDS, sound_files
from benchmarks.studies.fuzz_damage import copy, damage
from restoration.commands.console import OUT_OF_MEMORY, mendable

SECONDS, MEMORY = 5.0, 2 << 30
TOTAL = sum(count for _, _, count in KINDS.values())


class Outcome(StrEnum):
    """How a case ended; the first two are as they should be."""

    READ = "read"
    REFUSED = "refused"
    TRACEBACK = "traceback"
    HANG = "hang"
    MEMORY = "memory"
    DIED = "died"
    PAYLOAD = "payload run"


SOUND = (Outcome.READ, Outcome.REFUSED)


@dataclass(frozen=True)
class Case:
    """One damaged file or folder.

    Args:
        kind: of the corpus.
        number: with kind and seed it decides everything.
    """

    kind: str
    number: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


def cases(total: int = TOTAL, seed: int = 0) -> list[Case]:
    """So many cases, of every kind its share, at least one."""
    shares = {kind: max(1, round(total * count / TOTAL)) for kind, (_, _, count) in KINDS.items()}
    return [Case(kind, number, seed) for kind, count in shares.items() for number in range(count)]


def run(
    chosen: Sequence[Case], corpus: Path, watch: Callable[[Case, Outcome], object] = lambda case, outcome: None
) -> dict[Case, Outcome]:
    """Run cases, each in a child.

    Args:
        corpus: written by ``sound_files``.
        watch: told every outcome as it comes.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            place = Path(folder) / "case"
            place.mkdir()
            found[case] = _in_child(case, corpus, place)
            watch(case, found[case])
            shutil.rmtree(place)
    return found


def prepare(case: Case, corpus: Path, place: Path) -> Path:
    """Copy a sound file or folder to a place and damage it; what is to be read."""
    draw = random.Random(f"{case.seed} {case.kind} {case.number}")
    sound = sorted((corpus / case.kind).iterdir())
    chosen = draw.choice(sound)
    target = place / chosen.name
    copy(chosen, target)
    others = [path for path in sorted((corpus / case.kind).rglob("*")) if path.is_file()]
    files = [path for path in sorted(target.rglob("*")) if path.is_file()] if target.is_dir() else [target]
    for file in draw.sample(files, draw.choice((1, 1, 1, 2)) if len(files) > 1 else 1):
        damage(file, draw, others, place / "proof")
    return target


def _in_child(case: Case, corpus: Path, place: Path) -> Outcome:
    target = prepare(case, corpus, place)
    child = os.fork()
    if not child:
        _act(case, target)  # does not return
    end = time.monotonic() + SECONDS
    while True:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome.HANG
        time.sleep(0.001)
    if (place / "proof").exists():
        return Outcome.PAYLOAD
    codes = dict(enumerate(Outcome))
    return codes[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else Outcome.DIED


def _act(case: Case, target: Path) -> None:
    """What a child does: read, and leave with the outcome's number."""
    outcome = Outcome.TRACEBACK
    try:
        _bound()
        outcome = attempt(case, target)
    finally:
        os._exit(list(Outcome).index(outcome))


def attempt(case: Case, target: Path, *, show: bool = False) -> Outcome:
    """Read what is damaged, as the command does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            KINDS[case.kind][1](target)
        except Exception as error:
            if show:
                traceback.print_exc()
            if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
                return Outcome.MEMORY
            return Outcome.TRACEBACK if mendable("restore", error) is None else Outcome.REFUSED
    return Outcome.READ


def _bound() -> None:
    """No more memory than is there and ``MEMORY``, and silence."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no file system of anybody's
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)


def main(
    total: Annotated[int, typer.Option("--cases", min=1, help="How many in all.")] = TOTAL,
    seed: Annotated[int, typer.Option(help="Of all damage.")] = 0,
    kind: Annotated[str | None, typer.Option(help="Of files; all by default.")] = None,
    only: Annotated[str | None, typer.Option(metavar="KIND:NUMBER", help="Repeat one, and show it.")] = None,
) -> None:
    """Damage files of every kind that we read, and see that each is read or refused in one line."""
    torch.set_num_threads(1)
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        kinds = [only.partition(":")[0]] if only else [kind] if kind else list(KINDS)
        if any(name not in KINDS for name in kinds):
            raise typer.BadParameter(f"kinds are {', '.join(KINDS)}: got {only or kind}")
        sound_files(corpus, kinds)
        if only:
            case = Case(kinds[0], int(only.partition(":")[2]), seed)
            (place := Path(folder) / "case").mkdir()
            target = prepare(case, corpus, place)
            console.print(f"{case} ({target.name}): {attempt(case, target, show=True)}", markup=False)
            return
        began = time.monotonic()

        def watch(case: Case, outcome: Outcome) -> None:
            if outcome not in SOUND:
                console.print(f"{case} {outcome}", markup=False)

        found = run([case for case in cases(total, seed) if case.kind in kinds], corpus, watch)
    table = Table("kind", "cases", *Outcome)
    for name in kinds:
        counted = Counter(outcome for case, outcome in found.items() if case.kind == name)
        table.add_row(name, str(counted.total()), *(str(counted[outcome]) for outcome in Outcome))
    console.print(table)
    wrong = [f"{case} {outcome}" for case, outcome in found.items() if outcome not in SOUND]
    console.print(f"{len(found):,} cases in {time.monotonic() - began:.0f} s; wrong: {', '.join(wrong) or 'none'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
