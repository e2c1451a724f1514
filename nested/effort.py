"""How much is done for a run, as a value: a fixed allocation, or a number of evaluations to be split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nested.adaptive import LEAST, Adaptive
from nested.allocation import uniform

__all__ = ["LEAST", "Adaptive", "Budget", "Effort", "Fixed", "steps_of"]


class Effort(Protocol):
    """Decides how many network evaluations each outer step gets."""

    def allocation(self) -> tuple[int, ...]:
        """Inner steps of every outer step, at least one."""
        ...


@dataclass(frozen=True)
class Fixed:
    """An allocation as it is given.

    Args:
        steps: inner steps of every outer step, e.g. (16, 8, 6).

    Raises:
        ValueError: no step, or one that is no whole number of at least 1.
    """

    steps: tuple[int, ...]

    def __init__(self, steps: Sequence[int]) -> None:
        given = tuple(steps)
        if not given or any(n != int(n) or n < 1 for n in given):
            raise ValueError(f"steps must be at least one whole number of at least 1: got {given}")
        object.__setattr__(self, "steps", tuple(int(n) for n in given))

    def allocation(self) -> tuple[int, ...]:
        """``steps``."""
        return self.steps


@dataclass(frozen=True)
class Budget:
    """A number of evaluations, split evenly: ``Budget(30)`` is (10, 10, 10), ``Budget(12)`` is (6, 6).

    Args:
        nfe: network evaluations of the whole run, at least 1.
        outer: outer steps at most; fewer where one would get less than ``least`` evaluations.
        least: evaluations of an outer step at least, where there are as many; what does not divide goes first.

    Raises:
        ValueError: a number below 1.
    """

    nfe: int
    outer: int = 3
    least: int = LEAST

    def __post_init__(self) -> None:
        for name in ("nfe", "outer", "least"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1: got {value}")

    def allocation(self) -> tuple[int, ...]:
        """Outer steps as equal as whole numbers allow, the longer ones first."""
        outer = max(min(self.outer, self.nfe // self.least), 1)
        even, left = divmod(self.nfe, outer)
        return tuple(n + (i < left) for i, n in enumerate(uniform(outer, even)))


def steps_of(effort: Effort | Sequence[int]) -> Sequence[int]:
    """The allocation of an effort, or the one that was given in its place.

    Raises:
        ValueError: an effort that decides as it goes.
    """
    if isinstance(effort, Adaptive):
        raise ValueError("an adaptive effort is of a whole run, from its beginning: got one for a part of it")
    return effort.allocation() if callable(getattr(effort, "allocation", None)) else effort  # type: ignore[return-value, union-attr]
