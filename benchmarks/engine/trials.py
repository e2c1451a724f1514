"""Trials: solver runs to be compared, and what each would have returned had it been stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nested import Estimate, NestedDiffusion, supersedes
from solvers import NoiseSource, Spectral
from solvers.units import from_model

Kind = Literal["returned", "newest", "drawn"]
KINDS: tuple[Kind, ...] = ("returned", "newest", "drawn")
"""The newest end of an inner run, or before the first one the newest x̂₀: what the paper calls anytime; the newest
x̂₀ at all, as the paper's Fig. 4; what ``restore`` shows, which draws an unfinished x̂₀ towards the measurement."""


@dataclass(frozen=True)
class Trial:
    """One way to spend network evaluations, and where it is looked at.

    Args:
        name: of its rows in every table.
        allocation: inner steps of every outer step; a single number is a plain run.
        stops: numbers of evaluations after which it is looked at as if it had been stopped there, rising.
        kinds: which of its pictures are looked at there.
    """

    name: str
    allocation: tuple[int, ...]
    stops: tuple[int, ...]
    kinds: tuple[Kind, ...] = ("returned",)

    def __post_init__(self) -> None:
        if not self.stops or list(self.stops) != sorted(set(self.stops)) or self.stops[0] < 1:
            raise ValueError(f"{self.name}: stops must be rising numbers of evaluations: got {self.stops}")
        if self.stops[-1] > sum(self.allocation):
            raise ValueError(f"{self.name}: {sum(self.allocation)} evaluations do not reach {self.stops[-1]}")


@dataclass(frozen=True)
class Look:
    """Where a picture of a trial was taken; ``run`` is the trial's name."""

    run: str
    kind: Kind
    nfe: int

    @property
    def key(self) -> str:
        """As in files."""
        return f"{self.run}|{self.kind}|{self.nfe}"


def plain_trial(total: int, stops: tuple[int, ...], kinds: tuple[Kind, ...] = ("returned",)) -> Trial:
    """One plain run of so many evaluations."""
    return Trial(f"plain {total}", (total,), stops, kinds)


def nested_trial(
    allocation: tuple[int, ...], stops: tuple[int, ...], kinds: tuple[Kind, ...] = ("returned",)
) -> Trial:
    """A nested run: named "nested 3x10" where all inner runs are equally long, else "nested 16,8,6"."""
    equal = len(set(allocation)) == 1
    name = f"{len(allocation)}x{allocation[0]}" if equal else ",".join(map(str, allocation))
    return Trial(f"nested {name}", allocation, stops, kinds)


def follow(trial: Trial, posterior: Spectral, seeds: list[int]) -> tuple[dict[Look, Tensor], Tensor]:
    """Pictures (B, C, H, W) in [0, 1] units, unclipped, at every look of a trial, and the final ones.

    Image i depends on ``seeds[i]`` alone.
    """
    nested = NestedDiffusion(posterior, trial.allocation)
    noise = NoiseSource(seeds, posterior.measurement.y.device)
    looks: dict[Look, Tensor] = {}
    kept: Estimate | None = None
    final = torch.empty(0)
    for estimate in nested.run(nested.begin(noise)):
        best = kept = estimate if kept is None or supersedes(estimate, kept) else kept
        final = estimate.x0
        if estimate.nfe not in trial.stops:
            continue
        for kind in trial.kinds:
            x0 = nested.shown(best) if kind == "drawn" else best.x0 if kind == "returned" else estimate.x0
            looks[Look(trial.name, kind, estimate.nfe)] = from_model(x0)
    return looks, from_model(final)
