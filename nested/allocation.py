"""How many network evaluations each outer step gets."""

from __future__ import annotations

from collections.abc import Sequence

from solvers.schedule import outer_levels


def uniform(outer: int, inner: int) -> tuple[int, ...]:
    """The same number of inner steps for every outer step: ``uniform(3, 10)`` is (10, 10, 10)."""
    if outer != int(outer) or inner != int(inner) or outer < 1 or inner < 1:
        raise ValueError(f"outer and inner must be whole numbers of at least 1: got {outer} and {inner}")
    return (int(inner),) * int(outer)


def checked(allocation: Sequence[int], K: int) -> tuple[int, ...]:
    """``allocation`` as a tuple; ValueError where a step has no evaluation, or more than it has noise levels."""
    steps = tuple(allocation)
    return checked_rest(steps, outer_levels(K, len(steps)))


def checked_rest(allocation: Sequence[int], levels: Sequence[int]) -> tuple[int, ...]:
    """As :func:`checked`, of inner runs from the given noise levels."""
    steps = tuple(allocation)
    for n, level in zip(steps, levels, strict=False):
        if n != int(n) or n < 1:
            raise ValueError(f"allocation must be whole numbers of at least 1: got {steps}")
        if n > level:
            raise ValueError(
                f"an inner run from noise level {level} takes at most {level} steps: got {n} in {steps}"
            )
    return tuple(int(n) for n in steps)
