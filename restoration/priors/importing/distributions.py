"""Which distribution brought which package, read from disk when somebody asks.

While it is imported diffusers reads the metadata of everything that is installed: 0.3 s with 100 distributions. It
asks only about a few optional packages, where they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata


class Distributions(Mapping[str, list[str]]):
    """What ``importlib.metadata.packages_distributions()`` gives, read at the first question."""

    def __init__(self, read: Callable[[], Mapping[str, list[str]]]) -> None:
        self._read = read

    @cached_property
    def _table(self) -> Mapping[str, list[str]]:
        return self._read()

    def __getitem__(self, package: str) -> list[str]:
        return self._table[package]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


@contextmanager
def read_later() -> Iterator[None]:
    """Make ``importlib.metadata.packages_distributions()`` in this block a table that is read when it is used."""
    read = metadata.packages_distributions
    metadata.packages_distributions = lambda: Distributions(read)
    try:
        yield
    finally:
        metadata.packages_distributions = read
