"""Steering: pure functions on a run that stands between two inner runs, at a completed preview.

    run = chosen(run, 2, 4)                  # four candidates forked from the third
    nested = NestedDiffusion(sampler_of_four, run.allocation)
    run = edited(nested, run, x0).run        # another x̂₀ goes on in its place
    run = more(nested, run, Budget(10))      # ten evaluations from here

Each returns another run and leaves the one it was given. What was done stands in ``run.record``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nested.diffusion import NestedDiffusion
from nested.effort import Effort, steps_of
from nested.record import Choice, Edit, Reallocation, digest
from nested.run import Run
from nested.state import NestedState
from solvers import NoiseSource, Posterior


def chosen(
    run: NestedState, i: int | Sequence[int], n: int = 1, seeds: Sequence[int] | None = None
) -> NestedState:
    """The candidate or candidates that are kept, and n forked from each, which differ by their noise from here on.

    Args:
        run: of several candidates for one picture, at a completed preview.
        i: position among them, counted from 0, or several.
        n: candidates forked from each that is kept.
        seeds: of the n forks of the first that is kept, then of the next. One that is the kept one's own goes on
            with its noise, another one begins noise of its own. None: the first fork of each goes on, the others'
            are derived from its seed, so that the same choice gives the same forks.

    Returns:
        The run of all forks; its sampler is that of as many candidates, ``sampler.take([i] * n)``.

    Raises:
        ValueError: a run within an inner run, no such candidate, one twice, n below 1, or not n seeds for each.
    """
    _at_preview(run, "a choice")
    kept = (i,) if isinstance(i, int) else tuple(i)
    if not kept or len(set(kept)) < len(kept) or not all(0 <= one < len(run) for one in kept):
        raise ValueError(f"i must be one or several of 0 … {len(run) - 1}, each once: got {i}")
    if n != int(n) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1: got {n}")
    origin = [one for one in kept for _ in range(n)]
    own = [run.seeds[one] for one in origin]
    if seeds is None:
        seeds = [_derived(seed, run.spent, j % n) if j % n else seed for j, seed in enumerate(own)]
    if len(seeds) != len(own):
        raise ValueError(f"seeds must be {len(own)}, {n} for each that is kept: got {len(seeds)}")
    forks = run.take(origin)
    fresh = NoiseSource(seeds, run.x_k.device)
    noise = zip(own, fresh.seeds, forks.noise, fresh.state(), strict=True)
    return replace(
        forks,
        seeds=fresh.seeds,
        noise=tuple(old if seed == new else begun for seed, new, old, begun in noise),
        record=(*run.record, Choice(run.spent, run.seeds, kept, fresh.seeds)),
    )


@dataclass(frozen=True, eq=False)
class Edited:
    """A run that goes on from an edited preview.

    Args:
        run: its ``x0`` is the edit as far as it was kept.
        in_range: (B,) share of the edit's energy in what was measured, 0 … 1: this much of it says something else
            than the measurement. 0 where nothing was changed.
    """

    run: NestedState
    in_range: Tensor


@torch.no_grad()
def edited(
    nested: NestedDiffusion, run: NestedState, x0: Tensor, *, trust: bool = False, sha256: str | None = None
) -> Edited:
    """The run had its newest inner run ended at another x̂₀: the outer update is made again, with the same noise.

    The outer update is affine in x̂₀, so x_k moves by what it makes of the change: √ᾱ_k times it with FIRE, and
    √ᾱ_k (1 − σ_k/σ_{k−}) times it with DDIM's outer step from level k−. Where the measurement is less noisy than
    level k, at which the next inner run starts, it stands and the change vanishes; where it is noisier, the
    sampler's own restart draws it back as it does any x̂₀.

    Args:
        nested: the loop of the run.
        run: at a completed preview.
        x0: (B, C, H, W), or (1, C, H, W) for all, in the prior's units, unclipped.
        trust: keep all of the change, also against the measurement: what counts as measured moves by A·change
            (``run.y``), so that later inner runs do not undo it.
        sha256: what the record calls the edit; None is ``nested.record.digest(x0)``.

    Raises:
        ValueError: a run within an inner run or of another measurement, an image of another shape or not finite.

    Source: Elata et al., Nested Diffusion, 2024, its section on human feedback.
    """
    nested.refuse_other(run)
    before = _at_preview(run, "an edit")
    if x0.ndim != 4 or len(x0) not in (1, len(run)) or x0.shape[1:] != before.shape[1:]:
        raise ValueError(f"x0 must be {tuple(before.shape)}, or one image for all: got {tuple(x0.shape)}")
    if not bool(x0.isfinite().all()):
        raise ValueError("x0 must be finite: got NaN or infinity")
    asked, sampler = x0.to(before) - before, nested.sampler(run)
    in_range = _energy(sampler.measured_part(asked)) / _energy(asked).clamp(min=torch.finfo(asked.dtype).tiny)
    k, k_next = run.levels[run.outer_step - 1 : run.outer_step + 1]
    if trust:
        y = sampler.moved(asked)
        after = replace(run, x0=before + asked, y=run.y if y is None else y)
    else:
        after = replace(run, x0=before + asked - sampler.measured_part(asked, k_next))
    act = Edit(run.spent, digest(x0) if sha256 is None else sha256, bool(trust))
    moved = _restarted(nested, after, k, k_next) - _restarted(nested, run, k, k_next)
    return Edited(replace(after, x_k=run.x_k + moved, record=(*run.record, act)), in_range.clamp(0, 1))


def more(nested: NestedDiffusion, run: NestedState, effort: Effort | Sequence[int]) -> NestedState:
    """The run with other work ahead: of a finished one so much more, else this in place of what is not yet begun.

    Args:
        nested: a loop with the run's sampler.
        run: a finished one is taken up again at half its last outer level, see :meth:`NestedDiffusion.extended`.
        effort: from here, or from the end of the inner run that has begun, e.g. ``Budget(10)`` or (6, 4).

    Raises:
        ValueError: no noise level is left to go on from, or too few for so many evaluations.
    """
    begun = run.outer_step + (run.inner is not None)
    return nested.extended(run, (*run.allocation[:begun], *steps_of(effort)))


@torch.no_grad()
def replayed(
    inner_of: Callable[[int], Posterior], run: Run, x0_of: Callable[[str, NestedState], Tensor] | None = None
) -> NestedState:
    """The run made anew from its record: the same bits, where the device and the software are the same.

    Args:
        inner_of: the sampler of so many candidates, of what was measured before any edit.
        run: only its seeds, allocation, record and place are used.
        x0_of: of an edited run: what was put in, by its SHA-256 in the record and the run then, as :func:`edited`
            was given it.

    Raises:
        ValueError: an edited run without ``x0_of``, or one that was taken out of others after a choice.
    """
    seeds = next((act.candidates for act in run.record if isinstance(act, Choice)), run.seeds)
    changes = [act for act in run.record if isinstance(act, Reallocation)]
    efforts = [*((act.allocation, act.effort) for act in changes), (run.allocation, run.effort)]
    allocation, effort = efforts.pop(0)
    nested = NestedDiffusion(inner_of(len(seeds)), effort or allocation)
    again = nested.begin(NoiseSource(seeds, run.x_k.device))
    for act in run.record:
        again = _at(nested, again, act.nfe)
        if isinstance(act, Choice):
            if again.seeds != act.candidates:
                raise ValueError(f"the record is of other candidates: seeds {again.seeds}, not {act.candidates}")
            again = chosen(again, act.kept, len(act.seeds) // len(act.kept), act.seeds)
            nested = NestedDiffusion(inner_of(len(again)), again.allocation)
        elif isinstance(act, Edit):
            if x0_of is None:
                raise ValueError(f"x0_of must give the image that was put in: {act.sha256}")
            x0 = x0_of(act.sha256, again)
            again = edited(nested, again, x0, trust=act.trust, sha256=act.sha256).run
        else:
            again = nested.extended(again, efforts.pop(0)[0])
            nested = NestedDiffusion(nested.inner, again.allocation)
    return _at(nested, again, run.spent)


def _at(nested: NestedDiffusion, run: NestedState, nfe: int) -> NestedState:
    """The run once so many evaluations are spent."""
    while run.spent < nfe and (question := nested.ask(run)) is not None:
        run, _ = nested.answer(run, nested.inner.prior.denoise(question.x, question.k))
    if run.spent != nfe:
        raise ValueError(f"the record tells of evaluation {nfe}, at which the run does not stand")
    return run


def _at_preview(run: Run, what: str) -> Tensor:
    """The newest completed estimate; ValueError within an inner run."""
    if run.inner is not None or run.x0 is None:
        end = run.nfe + run.allocation[run.outer_step]
        raise ValueError(
            f"{what} is made at a completed preview: this run stands at evaluation {run.spent}, within an inner "
            f"run that ends at {end}"
        )
    return run.x0


def _restarted(nested: NestedDiffusion, run: NestedState, k: int, k_next: int) -> Tensor:
    """What the outer update makes of the newest estimate alone, with noise that is the same for the same seeds."""
    assert run.x0 is not None  # told by whoever calls
    noise = NoiseSource(run.seeds, run.x0.device)
    return nested.sampler(run).restart(torch.zeros_like(run.x0), run.x0, k, k_next, noise)


def _energy(image: Tensor) -> Tensor:
    return image.double().square().sum(dim=(1, 2, 3))


def _derived(seed: int, nfe: int, fork: int) -> int:
    """A seed of a fork's own."""
    return int.from_bytes(hashlib.sha256(f"fork {seed} {nfe} {fork}".encode()).digest()[:4]) // 2
