"""All chunks of all tasks, measured once each: resumed after a kill, on this device or on many."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image

from benchmarks.engine.case import Case
from benchmarks.engine.chunk import Bench, Chunk, measure
from benchmarks.engine.results import Results
from restoration.errors import ImageError
from restoration.pictures.sources import Source

HEADER = 1 << 16
"""Bytes in which nearly every file tells its size; the whole file is read where they do not."""


class Named(Protocol):
    """A task, or what it is done to: results are filed under names."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)
S = TypeVar("S", bound=Named)


@dataclass(frozen=True)
class Piece(Generic[T, S]):
    """One chunk to be measured."""

    task: T
    index: int
    first: int
    sources: tuple[S, ...]


Job = Piece[Case, Source]
"""A chunk of pictures to be restored."""
Measured = Generator[tuple[Job, Chunk], None, None]
Measurer = Callable[[Sequence[Job]], Measured]
"""Measures jobs, in any order, each once; closing it ends what it has under way."""


def jobs(
    tasks: Sequence[T],
    sources: Sequence[S],
    size: int,
    results: Results,
    told: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
) -> list[Piece[T, S]]:
    """What is still to be done: chunks of `size` sources that the results do not have.

    From now on the results are of these sources, whatever others an earlier command left in the folder.

    Args:
        told: what readers of the results should know, such as which metric could not be had.
        argv: the command line that asks, program name first.
    """
    todo = []
    results.ask(-(-len(sources) // size), argv, **(told or {}))
    for task in tasks:
        for index, first in enumerate(range(0, len(sources), size)):
            some = tuple(sources[first : first + size])
            if not results.has(task.name, index, [source.name for source in some]):
                todo.append(Piece(task, index, first, some))
    return todo


def here(bench: Bench) -> Measurer:
    """In this process."""

    def measurer(todo: Sequence[Job]) -> Measured:
        for job in todo:
            yield job, measure(bench, job.task, job.sources, job.first)

    return measurer


def carry_out(
    todo: Sequence[Piece[T, S]],
    measurer: Callable[[Sequence[Piece[T, S]]], Generator[tuple[Piece[T, S], Chunk], None, None]],
    results: Results,
    watch: Callable[[Piece[T, S], Chunk], Any],
) -> None:
    """Measure and store, a chunk at a time; what was stored stays, whatever happens.

    Args:
        watch: called after every chunk; true ends the campaign.
    """
    with closing(measurer(todo)) as measured:
        for job, chunk in measured:
            results.write(job.task.name, job.index, chunk)
            if watch(job, chunk):
                return


def check_sizes(sources: Sequence[Source], wanted: tuple[int, int]) -> None:
    """Whether every readable picture is (H, W) as wanted, by headers alone.

    Raises:
        ImageError: one is not; what to do about it.
    """
    for source in sources:
        size = _size(source, HEADER) or _size(source, None)
        if size is not None and size != wanted:  # what cannot be read is counted later
            raise ImageError(
                f"{source.name} is {size[1]}×{size[0]}, and this prior makes {wanted[1]}×{wanted[0]}; "
                "--fit crops and shrinks every picture to that"
            )


def _size(source: Source, bytes_at_most: int | None) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(source.read(bytes_at_most))) as picture:
            return picture.height, picture.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
