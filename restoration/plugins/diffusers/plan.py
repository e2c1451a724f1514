"""Which network call comes when: the nested loop unrolled, in diffusers' timesteps t = k − 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nested.allocation import checked
from solvers.schedule import outer_levels

SPACINGS = ("nested", "leading", "trailing", "linspace")


@dataclass(frozen=True)
class Call:
    """One network call.

    Args:
        t: the timestep the network is called with.
        outer, inner: which outer step and which call in it, both counted from 0.
        last: the inner run ends with this call.
    """

    t: int
    outer: int
    inner: int
    last: bool


@dataclass(frozen=True)
class Plan:
    """Every call of a run, in order.

    Args:
        runs: the falling timesteps of each inner run; outer step i goes from runs[i][0] to runs[i + 1][0].
    """

    runs: tuple[tuple[int, ...], ...]

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The runs, one after the other."""
        return tuple(
            Call(t, outer, inner, inner == len(run) - 1)
            for outer, run in enumerate(self.runs)
            for inner, t in enumerate(run)
        )

    def outer_step(self, outer: int) -> tuple[int, int | None]:
        """Timesteps from and to which the outer update of step ``outer`` goes; None: it ends the run."""
        following = self.runs[outer + 1][0] if outer + 1 < len(self.runs) else None
        return self.runs[outer][0], following


def spaced(k: int, n: int, spacing: str, offset: int = 0, final: int = 0) -> tuple[int, ...]:
    """The n falling timesteps of a run from noise level k.

    ``"nested"`` is this project's: levels from k to ``final`` + 1, rounded, so that the run starts where the outer
    step left it and its last call is at the lowest noise. The others are diffusers' own for a network of k levels
    ("leading" adds ``offset``). One single step is at level k in all of them.

    Raises:
        ValueError: more steps than levels, or an unknown spacing.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"timestep_spacing must be one of {', '.join(SPACINGS)}: got {spacing!r}")
    lowest = {"nested": final, "leading": offset}.get(spacing, 0)
    if n > k - lowest:
        raise ValueError(f"an inner run from noise level {k} takes at most {k - lowest} steps: got {n}")
    levels: NDArray[np.floating[Any]]
    if n == 1:
        levels = np.array([k], dtype=np.float64)
    elif spacing == "nested":
        levels = np.linspace(k, final + 1, n)
    elif spacing == "leading":
        levels = np.arange(n)[::-1] * (k // n) + offset + 1.0
    elif spacing == "trailing":
        levels = np.round(k - np.arange(n) * (k / n))
    else:
        levels = np.linspace(0, k - 1, n).round()[::-1] + 1
    return tuple(int(level) - 1 for level in np.rint(levels))


def plan(allocation: Sequence[int], K: int, spacing: str, offset: int = 0, final: int = 0) -> Plan:
    """The calls of a nested run over K noise levels.

    Args:
        allocation: inner steps of each outer step.
        K: noise levels of the network.
        spacing, offset, final: as in :func:`spaced`.

    Raises:
        ValueError: an outer step with no call, more steps than levels, or outer steps that do not fall.
    """
    steps = checked(allocation, K)
    levels = outer_levels(K, len(steps))
    runs = tuple(spaced(k, n, spacing, offset, final) for k, n in zip(levels, steps, strict=False))
    if any(run[0] <= after[0] for run, after in pairwise(runs)):
        raise ValueError(
            f"allocation {steps} with spacing {spacing!r} has inner runs that do not start ever lower"
        )
    return Plan(runs)


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        plan: the whole run.
        begin: the call it starts at: 0, or later for image-to-image.
        done: the calls of the plan that are over, those before ``begin`` too.
    """

    plan: Plan
    begin: int = 0
    done: int = 0

    @property
    def nfe(self) -> int:
        """Network evaluations so far, per image."""
        return self.done - self.begin

    @property
    def total_nfe(self) -> int:
        """Network evaluations of the whole run, per image."""
        return len(self.plan.calls) - self.begin

    @property
    def outer_steps(self) -> int:
        """Completed outer steps."""
        return sum(call.last for call in self.plan.calls[self.begin : self.done])

    @property
    def total_outer_steps(self) -> int:
        """Outer steps of the whole run."""
        return sum(call.last for call in self.plan.calls[self.begin :])

    @property
    def outer_step_complete(self) -> bool:
        """Whether the newest call ended an inner run."""
        return self.done > self.begin and self.plan.calls[self.done - 1].last

    @property
    def next(self) -> Call:
        """The call to come. ValueError after the last."""
        if self.done >= len(self.plan.calls):
            raise ValueError("no call is left in the plan: set_timesteps starts a run")
        return self.plan.calls[self.done]

    def start_at(self, index: int) -> Progress:
        """A run from a call where an outer step starts; ValueError elsewhere."""
        calls = self.plan.calls
        if not 0 <= index < len(calls) or calls[index].inner:
            raise ValueError(
                f"a run starts where an outer step starts: got call {index} of {len(calls)}; image-to-image "
                "strength needs equal inner steps and at least one outer step, and denoising_start is not offered"
            )
        return Progress(self.plan, index, index)

    def start_from(self, t: int) -> Progress:
        """A run whose first call is at timestep t, where an outer step starts; ValueError elsewhere."""
        if t == self.next.t:
            return self
        starts = {call.t: i for i, call in enumerate(self.plan.calls) if not call.inner}
        if t not in starts:
            raise ValueError(
                f"this run starts at timestep {self.next.t}: got {t}, where no outer step starts "
                f"({', '.join(map(str, starts))}); call set_begin_index first"
            )
        return self.start_at(starts[t])

    def after(self) -> Progress:
        """One call later."""
        return Progress(self.plan, self.begin, self.done + 1)
