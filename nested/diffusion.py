"""The outer loop: it asks, is answered, and run alone it asks its own prior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from nested.adaptive import Adaptive
from nested.allocation import checked_rest
from nested.effort import Effort, steps_of
from nested.record import Reallocation
from nested.run import Run
from nested.state import NestedState
from solvers import InnerRun, NoiseSource, Posterior, Question


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is known after one network evaluation.

    Args:
        x0: raw x̂₀ (B, C, H, W), unclipped, in the prior's units.
        nfe, total_nfe: evaluations spent, and in the whole run, per image.
        outer_step, inner_step: which evaluation this was, both counted from 1.
        complete: an inner run has ended with it, so x0 is a sample and not a posterior mean.
        state: the run after it: where to go on from.
    """

    x0: Tensor
    nfe: int
    total_nfe: int
    outer_step: int
    inner_step: int
    complete: bool
    state: NestedState


class _Ending(Protocol):
    @property
    def complete(self) -> bool: ...


def supersedes(newest: _Ending, best: _Ending) -> bool:
    """Whether a run that is stopped now returns the newest estimate in place of the best so far.

    It returns the newest end of an inner run; before the first of these, the newest estimate.
    """
    return newest.complete or not best.complete


class NestedDiffusion:
    """An outer deterministic DDIM loop whose x̂₀ at every step is made by a complete inner run.

    One outer step is the plain inner process; one inner step per outer step is DDIM on the inner estimate.
    :meth:`ask` and :meth:`answer` are pure; :meth:`run` is their loop with the sampler's own prior.

    Args:
        inner: e.g. ``DDRM(prior, measurement)`` or ``DDIM(prior)``.
        allocation: inner steps of each outer step, e.g. ``uniform(3, 10)`` or (16, 8, 6), or an effort, e.g.
            ``Budget(30)``, or ``Adaptive(0.004)`` for runs of one image.

    Raises:
        ValueError: an outer step with no evaluation, or with more than there are noise levels.

    Source: Elata et al., *Nested Diffusion Processes for Anytime Image Generation*, 2024, Algorithms 2 and 3.
    """

    def __init__(self, inner: Posterior, allocation: Effort | Adaptive | Sequence[int]) -> None:
        self.inner = inner
        self.schedule = inner.schedule
        self.effort = allocation if isinstance(allocation, Adaptive) else None
        if isinstance(allocation, Adaptive):
            ahead = allocation.begin(inner)
            steps, self.levels = ahead.steps, ahead.levels
        else:
            steps = tuple(steps_of(allocation))
            self.levels = inner.starts(steps)
        self.allocation = checked_rest(steps, self.levels)
        self.total_nfe = sum(self.allocation)
        self.configuration = self.effort or self.allocation, inner.identities()
        self._moved: tuple[Tensor, Posterior] | None = None

    def start(self, x_K: Tensor, noise: NoiseSource) -> NestedState:
        """The run before its first evaluation, from x_K at level K (B, C, H, W) and a noise source."""
        if x_K.ndim != 4 or len(x_K) != len(noise.seeds):
            raise ValueError(
                f"x_K must be (B, C, H, W) with one seed an image: got {tuple(x_K.shape)} and "
                f"{len(noise.seeds)} seeds"
            )
        _, identities = self.configuration
        if len(identities) not in (1, len(x_K)):
            raise ValueError(f"x_K must hold as many images as were measured, {len(identities)}: got {len(x_K)}")
        return NestedState(
            x_k=x_K,
            outer_step=0,
            nfe=0,
            allocation=self.allocation,
            seeds=noise.seeds,
            noise=noise.state(),
            device=noise.device.type,
            identities=identities * len(x_K) if len(identities) == 1 else identities,
            levels=self.levels,
            effort=self.effort,
        )

    def begin(self, noise: NoiseSource) -> NestedState:
        """The run before its first evaluation, from where the sampler itself begins."""
        return self.start(self.inner.initial(self.levels[0], noise), noise)

    def ask(self, run: Run) -> Question | None:
        """What the run needs next; None when it is finished."""
        return None if run.finished else self.inner.question(self._inner(run))

    def sampler(self, run: Run) -> Posterior:
        """The inner sampler of a run: with what counts as measured since a trusted edit of it."""
        if run.y is None:
            return self.inner
        if self._moved is None or self._moved[0] is not run.y:  # made once an edit
            self._moved = run.y, self.inner.remeasured(run.y)
        return self._moved[1]

    @torch.no_grad()
    def answer(self, run: NestedState, x0: Tensor) -> tuple[NestedState, Estimate]:
        """The run one evaluation on, and what is known then.

        Args:
            run: unfinished.
            x0: the prior's answer to :meth:`ask`, (B, C, H, W).
        """
        noise = NoiseSource(run.seeds, run.x_k.device)
        noise.restore(run.noise)
        outer, sampler = run.outer_step, self.sampler(run)
        inner, estimate = sampler.answer(self._inner(run), x0, noise)
        spent, step = run.spent + 1, run.inner_step + 1
        complete = not inner.levels
        if complete:
            run = self._decided(run, estimate)
            k, k_next = run.levels[outer : outer + 2]
            moved = sampler.restart(run.x_k, estimate, k, k_next, noise)
            after = replace(
                run, x_k=moved, outer_step=outer + 1, nfe=spent, noise=noise.state(), inner=None, x0=estimate
            )
        else:
            after = replace(run, inner=inner, noise=noise.state())
        return after, Estimate(estimate, spent, after.total_nfe, outer + 1, step, complete, after)

    def _decided(self, run: NestedState, x0: Tensor) -> NestedState:
        """The run, whose inner run has ended at x₀, with what its effort decides to come after it."""
        if run.effort is None:
            return run
        ahead, done = run.effort.onward(run, x0), run.outer_step + 1
        checked_rest(ahead.steps, ahead.levels)
        return replace(
            run,
            allocation=(*run.allocation[:done], *ahead.steps),
            levels=(*run.levels[:done], *ahead.levels),
        )

    def run(self, state: NestedState) -> Iterator[Estimate]:
        """Go on from a state; an estimate after every network evaluation, until closed or done.

        Raises:
            ValueError: at once, for the state of another run or of another kind of device.
        """
        self.refuse_other(state)
        return self._run(state)

    def refuse_other(self, run: Run) -> None:
        """ValueError for the run of another sampler, allocation or kind of device."""
        run.refuse_other(*self.configuration)
        shape = tuple(self.inner.prior.image_shape)
        if tuple(run.x_k.shape[1:]) != shape:
            raise ValueError(f"a run's images must be {shape}: got a state of {tuple(run.x_k.shape[1:])}")
        if run.x_k.device.type != run.device:
            raise ValueError(
                f"a run started on {run.device} goes on there, since noise streams differ between devices: "
                f"got a state on {run.x_k.device.type}"
            )

    def reallocated(self, run: NestedState, allocation: Effort | Sequence[int]) -> NestedState:
        """The run with another allocation for the steps not yet begun, the outer levels spread by the sampler.

        Raises:
            ValueError: as :meth:`Run.reallocated`.
        """
        return run.reallocated(steps_of(allocation), self.inner.onward)

    @torch.no_grad()
    def extended(self, run: NestedState, allocation: Effort | Sequence[int]) -> NestedState:
        """As :meth:`reallocated`, also of a finished run: it is taken up again at half its last outer level.

        Args:
            run: goes on with noise from its own generators.
            allocation: inner steps of every outer step, those done as they were.

        Raises:
            ValueError: as :meth:`reallocated`; no noise level is left to go on from.
        """
        steps = tuple(steps_of(allocation))
        if not run.finished or run.x0 is None:
            return self.reallocated(run, steps)
        done = len(run.allocation)
        if steps[:done] != run.allocation or len(steps) == done:
            raise ValueError(
                f"allocation must begin with the steps done, {run.allocation}, and go on: got {steps}"
            )
        passed = run.levels[:-1]
        k = max(passed[-1] // 2, steps[done])
        if k >= passed[-1]:
            raise ValueError(f"no noise level is left to go on from below {passed[-1]}, for {steps[done]} steps")
        levels = self.inner.onward((*passed, k), steps[done:])
        checked_rest(steps[done:], levels)
        noise = NoiseSource(run.seeds, run.x0.device)
        noise.restore(run.noise)
        return replace(
            run,
            x_k=self.sampler(run).again(run.x0, k, noise),
            noise=noise.state(),
            allocation=steps,
            levels=(*passed, *levels),
            record=(*run.record, Reallocation(run.spent, run.allocation, run.effort)),
            effort=None,
        )

    def shown(self, estimate: Estimate) -> Tensor:
        """What this evaluation brought, as a picture to show: x₀ where an inner run ended, else x̂₀'s preview."""
        return estimate.x0 if estimate.complete else self.sampler(estimate.state).preview(estimate.x0)

    def _run(self, state: NestedState) -> Iterator[Estimate]:
        while (question := self.ask(state)) is not None:
            with torch.no_grad():
                x0 = self.inner.prior.denoise(question.x, question.k)
            state, estimate = self.answer(state, x0)
            del x0
            yield estimate

    def _inner(self, run: Run) -> InnerRun:
        """The unfinished inner run, or the one that begins."""
        if run.inner is not None:
            return run.inner
        n, k = run.allocation[run.outer_step], run.levels[run.outer_step]
        levels = self.inner.levels(k, n)
        if len(levels) != n:
            raise ValueError(f"an inner process must yield one estimate a step, {n} here: got {len(levels)}")
        return self.inner.begin(run.x_k, levels)
