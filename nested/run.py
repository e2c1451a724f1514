"""A nested run as a value: where it stands after any evaluation, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from nested.adaptive import Adaptive
from nested.allocation import checked_rest
from nested.record import Act, Reallocation
from solvers import InnerRun, NoiseSource
from solvers.schedule import outer_levels

OTHER_RUN = (
    "this is the state of another run (prior, measurement, solver settings or allocation differ); "
    "repeat that run's settings or start without it"
)


Onward = Callable[[Sequence[int], Sequence[int]], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Run:
    """A run's position after any evaluation. A value: going on from it does not change it.

    Args:
        x_k: (B, C, H, W) float32, at the noise level where the newest inner run started, or the next one starts.
        outer_step: completed outer steps, 0 … len(allocation).
        nfe: network evaluations spent in completed outer steps, per image; ``inner_step`` more were spent since.
        allocation: inner steps of every outer step.
        seeds: one an image.
        noise: one generator's state an image, as ``NoiseSource.state()``.
        device: kind of device whose noise stream this is ("cpu", "cuda").
        identities: one an image: SHA-256 of everything that decides its run but for seeds and allocation.
        levels: the noise levels from which inner runs start, and 0.
        inner: the unfinished inner run; None between two of them.
        x0: the newest completed estimate, None before the first.
        record: every choice, edit and change of the allocation, in order; of a run that was taken out of others,
            theirs.
        y: what counts as measured (B, …), in the sampler's units, since a trusted edit; None: what was measured.
        effort: that decides, whenever an inner run has ended, what comes after it: ``allocation`` and ``levels``
            are then what has been decided so far, and at most what is to come. None where all is settled.

    Raises:
        ValueError: an effort that decides for several images at once.
    """

    x_k: Tensor
    outer_step: int
    nfe: int
    allocation: tuple[int, ...]
    seeds: tuple[int, ...]
    noise: tuple[Tensor, ...]
    device: str
    identities: tuple[str, ...]
    levels: tuple[int, ...]
    inner: InnerRun | None = None
    x0: Tensor | None = None
    record: tuple[Act, ...] = ()
    y: Tensor | None = None
    effort: Adaptive | None = None

    def __post_init__(self) -> None:
        if self.effort is not None and len(self.x_k) != 1:
            raise ValueError(
                f"an adaptive run is of one image, so that none depends on its neighbours: got {len(self.x_k)}; "
                "run them one by one (their questions can share a call of the network)"
            )

    def __len__(self) -> int:
        return len(self.x_k)

    @property
    def finished(self) -> bool:
        """Whether every outer step is done."""
        return self.outer_step == len(self.allocation)

    @property
    def inner_step(self) -> int:
        """Evaluations spent in the unfinished inner run."""
        return 0 if self.inner is None else self.allocation[self.outer_step] - len(self.inner.levels)

    @property
    def spent(self) -> int:
        """Network evaluations spent, per image."""
        return self.nfe + self.inner_step

    @property
    def total_nfe(self) -> int:
        """Network evaluations of the whole run, per image."""
        return sum(self.allocation)

    @property
    def reallocations(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Every change of the allocation, in order: evaluations spent then, and what it was before."""
        return tuple((act.nfe, act.allocation) for act in self.record if isinstance(act, Reallocation))

    def take(self, which: int | slice | Sequence[int]) -> Self:
        """The run of the selected images, which goes on exactly as it would in the batch."""
        if isinstance(which, slice):
            which = range(len(self))[which]
        chosen = [which] if isinstance(which, int) else list(which)
        index = torch.as_tensor(chosen, device=self.x_k.device)
        return replace(
            self,
            x_k=self.x_k[index],
            seeds=tuple(self.seeds[i] for i in chosen),
            noise=tuple(self.noise[i] for i in chosen),
            identities=tuple(self.identities[i] for i in chosen),
            inner=None if self.inner is None else self.inner.take(index),
            x0=None if self.x0 is None else self.x0[index],
            y=None if self.y is None else self.y[index],
        )

    def expand(self, n: int, seeds: Sequence[int] | None = None) -> Self:
        """n copies of the run of one image; with seeds each goes on with noise of its own, else all alike.

        Raises:
            ValueError: a run of several images, n below 1, or not n seeds.
        """
        if len(self) != 1 or n < 1:
            raise ValueError(f"only the run of one image can be expanded, at least once: got {len(self)} and {n}")
        copies = self.take([0] * n)
        if seeds is None:
            return copies
        if len(seeds) != n:
            raise ValueError(f"seeds must be {n}, one a copy: got {len(seeds)}")
        noise = NoiseSource(seeds, self.x_k.device)
        return replace(copies, seeds=noise.seeds, noise=noise.state())

    @classmethod
    def stack(cls, runs: Sequence[Self]) -> Self:
        """Runs that stand at the same place of the same allocation, as one; their samplers are stacked likewise.

        Raises:
            ValueError: none, or runs of other shapes, allocations, places or devices.
        """
        places = {(run._place, tuple(run.x_k.shape[1:]), run.device) for run in runs}
        if len(places) != 1:
            raise ValueError(
                "runs must be at least one, of images of one shape, at the same place of one allocation: got "
                f"{sorted(map(str, places))}"
            )
        first = runs[0]
        inner = None
        if first.inner is not None:
            parts = [run.inner for run in runs if run.inner is not None]
            carried = zip(*(part.carry for part in parts), strict=True)
            carry = tuple(torch.cat(tensors) for tensors in carried)
            inner = replace(parts[0], x=torch.cat([part.x for part in parts]), carry=carry)
        ends = [run.x0 for run in runs if run.x0 is not None]
        moved = [run.y for run in runs if run.y is not None]
        return replace(
            first,
            x_k=torch.cat([run.x_k for run in runs]),
            seeds=tuple(seed for run in runs for seed in run.seeds),
            noise=tuple(state for run in runs for state in run.noise),
            identities=tuple(identity for run in runs for identity in run.identities),
            inner=inner,
            x0=torch.cat(ends) if ends else None,
            y=torch.cat(moved) if moved else None,
        )

    @property
    def _place(self) -> tuple[object, ...]:
        inner = None if self.inner is None else (self.inner.levels, len(self.inner.carry))
        history = self.allocation, self.record, self.y is None, self.effort
        return self.outer_step, self.nfe, history, self.levels, inner, self.x0 is None

    def reallocated(self, allocation: Sequence[int], onward: Onward | None = None) -> Self:
        """The run with another allocation for the steps not yet begun; ``reallocations`` remembers the change.

        Args:
            allocation: inner steps of every outer step; those begun must be as they were.
            onward: the sampler's ``onward``, which spreads the outer levels not yet reached; None spreads them
                evenly between where the run stands and 0.

        Raises:
            ValueError: a finished run, steps changed that have begun, or none left for a run between two of them.
        """
        begun = self.outer_step + (self.inner is not None)
        steps = tuple(allocation)
        if self.finished or steps[:begun] != self.allocation[:begun] or len(steps) <= self.outer_step:
            raise ValueError(
                f"allocation must begin with the steps begun, {self.allocation[:begun]}, and go on after "
                f"{self.outer_step} completed ones: got {steps}"
            )
        rest, passed = steps[self.outer_step :], self.levels[: self.outer_step + 1]
        levels = outer_levels(passed[-1], len(rest)) if onward is None else onward(passed, rest)
        checked_rest(rest, levels)
        return replace(
            self,
            allocation=steps,
            levels=(*self.levels[: self.outer_step], *levels),
            record=(*self.record, Reallocation(self.spent, self.allocation, self.effort)),
            effort=None,
        )

    def refuse_other(self, allocation: Sequence[int] | Adaptive, identities: Sequence[str]) -> None:
        """ValueError unless this is a run with that allocation of images with those identities, or one for all.

        Args:
            allocation: or the effort that decides it.
            identities: as in the run.
        """
        wanted = tuple(identities) * len(self) if len(identities) == 1 else tuple(identities)
        own = self.effort if isinstance(allocation, Adaptive) else self.allocation
        asked = allocation if isinstance(allocation, Adaptive) else tuple(allocation)
        if own != asked or self.identities != wanted:
            raise ValueError(OTHER_RUN)
