"""The outer loop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nested.allocation import checked, outer_levels
from nested.state import NestedState
from solvers import InnerProcess, NoiseSource, ddim_update


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is known after one network evaluation.

    Args:
        x0: raw x̂₀ (B, C, H, W), unclipped, in the prior's units.
        nfe, total_nfe: evaluations spent, and in the whole run, per image.
        outer_step, inner_step: which evaluation this was, both counted from 1.
        complete: an inner run has ended with it, so x0 is a sample and not a posterior mean.
        state: where to go on from: after the outer update if complete, else where this inner run started.
    """

    x0: Tensor
    nfe: int
    total_nfe: int
    outer_step: int
    inner_step: int
    complete: bool
    state: NestedState


class NestedDiffusion:
    """An outer deterministic DDIM loop whose x̂₀ at every step is made by a complete inner run.

    One outer step is the plain inner process; one inner step per outer step is DDIM on the inner estimate.

    Args:
        inner: e.g. ``DDRM(prior, measurement)`` or ``DDIM(prior)``.
        allocation: inner steps of each outer step, e.g. ``uniform(3, 10)`` or (16, 8, 6).

    Raises:
        ValueError: an outer step with no evaluation, or with more than there are noise levels.

    Source: Elata et al., *Nested Diffusion Processes for Anytime Image Generation*, 2024, Algorithms 2 and 3.
    """

    def __init__(self, inner: InnerProcess, allocation: Sequence[int]) -> None:
        self.inner = inner
        self.schedule = inner.schedule
        self.allocation = checked(allocation, self.schedule.K)
        self.levels = outer_levels(self.schedule.K, len(self.allocation))
        self.total_nfe = sum(self.allocation)
        self.configuration = hashlib.sha256(f"nested {self.allocation} {inner.fingerprint()}".encode()).hexdigest()

    def start(self, x_K: Tensor, noise: NoiseSource) -> NestedState:
        """The state before the first outer step, from x_K at level K (B, C, H, W) and a noise source."""
        if x_K.ndim != 4 or len(x_K) != len(noise.seeds):
            raise ValueError(
                f"x_K must be (B, C, H, W) with one seed an image: got {tuple(x_K.shape)} and "
                f"{len(noise.seeds)} seeds"
            )
        return NestedState(
            x_k=x_K,
            outer_step=0,
            nfe=0,
            allocation=self.allocation,
            seeds=noise.seeds,
            noise=noise.state(),
            device=noise.device.type,
            configuration=self.configuration,
        )

    def run(self, state: NestedState) -> Iterator[Estimate]:
        """Go on from a state; an estimate after every network evaluation, until closed or done.

        Raises:
            ValueError: at once, for the state of another run or of another kind of device.
        """
        state.refuse_other(self.configuration)
        noise = NoiseSource(state.seeds, state.x_k.device)
        if noise.device.type != state.device:
            raise ValueError(
                f"a run started on {state.device} goes on there, since noise streams differ between devices: "
                f"got a state on {noise.device.type}"
            )
        noise.restore(state.noise)
        return self._run(state, noise)

    def _run(self, state: NestedState, noise: NoiseSource) -> Iterator[Estimate]:
        for outer in range(state.outer_step, len(self.allocation)):
            n, nfe, inner = self.allocation[outer], state.nfe, 0
            for inner, x0 in enumerate(self.inner.sample(state.x_k, self.levels[outer], n, noise), start=1):
                complete = inner == n
                if complete:
                    state = self._advance(state, x0, noise)
                yield Estimate(x0, nfe + inner, self.total_nfe, outer + 1, inner, complete, state)
            if inner != n:
                raise ValueError(f"an inner process must yield one estimate a step, {n} here: got {inner}")

    def _advance(self, state: NestedState, x0: Tensor, noise: NoiseSource) -> NestedState:
        k, k_next = self.levels[state.outer_step : state.outer_step + 2]
        alpha_bar, alpha_bar_next = self.schedule.alpha_bar(k), self.schedule.alpha_bar(k_next)
        return replace(
            state,
            x_k=ddim_update(state.x_k, x0, alpha_bar, alpha_bar_next),
            outer_step=state.outer_step + 1,
            nfe=state.nfe + self.allocation[state.outer_step],
            noise=noise.state(),
            x0=x0,
        )
