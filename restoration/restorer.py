"""The anytime restorer: from a measurement to previews that keep improving."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from degradations import Measurement
from nested import Estimate, NestedDiffusion, NestedState, uniform
from solvers import DDRM, NoiseSource, Prior

if TYPE_CHECKING:  # it comes with the prior, and diffusers with that
    from restoration.priors.calibration import Calibration, Change

ETA, ETA_B = 0.85, 1.0
"""DDRM's, as its paper's; with others a preview's expected change was not measured."""


class StoppedBy(StrEnum):
    """Why a restoration ended."""

    FINISHED = "finished"
    DEADLINE = "deadline"
    MAX_NFE = "max_nfe"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, eq=False)
class Preview:
    """A restoration that could be shown now.

    Args:
        image: (B, C, H, W) in [0, 1]. Of an inner run that has not ended, x̂₀ drawn towards the measurement.
        nfe, total_nfe: network evaluations spent, and in the whole run, per image.
        outer_step: the outer step it belongs to, counted from 1.
        complete: the inner run has ended: the image is a sample, not a blurred mean.
        elapsed: seconds since the stream started.
        state: where the run can go on from.
        expected_change: RMSE, in [0, 1] units, by which the run's end is expected to differ from it; None where
            that was not measured for the prior and a measurement like this.
    """

    image: Tensor
    nfe: int
    total_nfe: int
    outer_step: int
    complete: bool
    elapsed: float
    state: NestedState
    expected_change: float | None = None


@dataclass(frozen=True, eq=False)
class Restoration:
    """The best preview at the moment a restoration ended.

    Args:
        image: (B, C, H, W) in [0, 1]: of the newest completed inner run, before the first of the newest x̂₀.
        nfe, total_nfe: network evaluations spent, and in the whole run, per image.
        elapsed: seconds.
        seeds: one an image; with them the run can be repeated.
        stopped_by: why it ended.
        preview: the preview that ``image`` is.
    """

    image: Tensor
    nfe: int
    total_nfe: int
    elapsed: float
    seeds: tuple[int, ...]
    stopped_by: StoppedBy
    preview: Preview


class Restorer:
    """Restores measured images, anytime.

    Args:
        prior: what clean images look like, e.g. ``load_prior("faces-64")``.
        solver: the inner posterior sampler; ``"ddrm"``.
        eta, eta_b: DDRM's, 0 … 1.
        clamp: cut what is shown to [0, 1], as pictures are; False for images that may leave it, e.g. the real and
            imaginary parts of a complex one.
    """

    def __init__(
        self, prior: Prior, solver: str = "ddrm", eta: float = ETA, eta_b: float = ETA_B, clamp: bool = True
    ) -> None:
        if solver != "ddrm":
            raise ValueError(f"solver must be 'ddrm': got {solver!r}")
        for name, value in (("eta", eta), ("eta_b", eta_b)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1: got {value}")
        self.prior = prior
        self.eta, self.eta_b = eta, eta_b
        self.clamp = clamp

    def posterior(self, measurement: Measurement) -> DDRM:
        """The inner sampler, in the network's units and on its device, of a measurement in [0, 1] units."""
        device = getattr(self.prior, "device", measurement.y.device)
        here = replace(measurement, y=measurement.y.float()).to(device)
        return DDRM(self.prior, here.in_model_units(), self.eta, self.eta_b)

    def stream(
        self,
        measurement: Measurement,
        outer: int = 3,
        inner: int = 10,
        allocation: Sequence[int] | None = None,
        vanilla: bool = False,
        seeds: Sequence[int] | None = None,
        deadline: float | None = None,
        max_nfe: int | None = None,
        state: NestedState | None = None,
    ) -> Generator[Preview, None, StoppedBy]:
        """A preview after every network evaluation; close it at any time. Returns why it ended.

        Args:
            measurement: in [0, 1] units, of images in the prior's shape.
            outer, inner: outer steps, and inner steps of each.
            allocation: inner steps of every outer step, e.g. (16, 8, 6), in their place.
            vanilla: one plain DDRM run of as many evaluations instead.
            seeds: one an image; None draws them.
            deadline: seconds from the first request. It stops when the next evaluation would not end in time,
                judged by the fastest so far (on a GPU but for the first, which also warms it up); one evaluation
                is always made.
            max_nfe: evaluations after which to stop, at least 1; those before ``state`` count.
            state: go on from there. Its newest completed estimate is the first preview.

        Raises:
            ValueError: at once, before any work, for arguments that do not fit, and for another run's state.
        """
        steps = tuple(uniform(outer, inner) if allocation is None else allocation)
        check_limits(deadline, max_nfe)
        posterior = self.posterior(measurement)
        nested = NestedDiffusion(posterior, (sum(steps),) if vanilla else steps)
        if state is None:
            noise = NoiseSource(resolve_seeds(seeds, len(measurement)), posterior.measurement.y.device)
            state = nested.start(posterior.initial(nested.schedule.K, noise), noise)
        elif seeds is not None and tuple(seeds) != state.seeds:
            raise ValueError(f"seeds must be those of the state, {state.seeds}: got {tuple(seeds)}")
        calibration: Calibration | None = getattr(self.prior, "calibration", None)
        as_measured = calibration is not None and (self.eta, self.eta_b) == (ETA, ETA_B)
        change = calibration.change(measurement) if calibration and as_measured else None
        return self._stream(nested, state, nested.run(state), deadline, max_nfe, change)

    def restore(
        self,
        measurement: Measurement,
        outer: int = 3,
        inner: int = 10,
        allocation: Sequence[int] | None = None,
        vanilla: bool = False,
        seeds: Sequence[int] | None = None,
        deadline: float | None = None,
        max_nfe: int | None = None,
        state: NestedState | None = None,
        watch: Callable[[Preview], bool | None] | None = None,
    ) -> Restoration:
        """Run :meth:`stream` to its end and keep the best preview.

        Args:
            watch: called with every preview; returning True stops the run (``StoppedBy.INTERRUPT``).
            The rest as in :meth:`stream`.
        """
        previews = self.stream(measurement, outer, inner, allocation, vanilla, seeds, deadline, max_nfe, state)
        best = newest = next(previews)
        stopped_by = None
        while stopped_by is None:
            if newest.complete or not best.complete:
                best = newest
            if watch is not None and watch(newest) and newest.nfe < newest.total_nfe:
                previews.close()
                stopped_by = StoppedBy.INTERRUPT
                break
            try:
                newest = next(previews)
            except StopIteration as end:
                stopped_by = end.value
        return Restoration(
            image=best.image,
            nfe=newest.nfe,
            total_nfe=newest.total_nfe,
            elapsed=newest.elapsed,
            seeds=newest.state.seeds,
            stopped_by=stopped_by,
            preview=best,
        )

    def _stream(
        self,
        nested: NestedDiffusion,
        state: NestedState,
        estimates: Iterator[Estimate],
        deadline: float | None,
        max_nfe: int | None,
        change: Change | None,
    ) -> Generator[Preview, None, StoppedBy]:
        first = nested.allocation[0]

        def expected(nfe: int, complete: bool) -> float | None:
            if change is None or not (complete or nfe < first):  # later x̂₀ are not shown, nor measured
                return None
            return change.at(nfe, nested.total_nfe, first, complete)

        start = before = time.perf_counter()
        fastest = math.inf
        if state.x0 is not None:
            yield Preview(
                self._shown(state.x0),
                state.nfe,
                nested.total_nfe,
                state.outer_step,
                True,
                0.0,
                state,
                expected(state.nfe, True),
            )
            if state.finished:
                return StoppedBy.FINISHED
            if max_nfe is not None and state.nfe >= max_nfe:
                return StoppedBy.MAX_NFE
        for estimate in estimates:
            x0 = estimate.x0 if estimate.complete else nested.inner.preview(estimate.x0)
            image = self._shown(x0)
            if bool(image.isnan().any()):
                raise ValueError("the network answered NaN; another precision (fp32, bf16) may do")
            synchronise(image.device)
            now = time.perf_counter()
            nfe, elapsed = estimate.nfe, now - start
            yield Preview(
                image,
                nfe,
                estimate.total_nfe,
                estimate.outer_step,
                estimate.complete,
                elapsed,
                estimate.state,
                expected(nfe, estimate.complete),
            )
            if nfe == estimate.total_nfe:
                break
            if max_nfe is not None and nfe >= max_nfe:
                return StoppedBy.MAX_NFE
            # On a GPU the first evaluation also warms up, so it does not say how long the next one takes.
            if nfe > state.nfe + 1 or image.device.type == "cpu":
                fastest = min(fastest, now - before)
            before = time.perf_counter()
            next_takes = 0.0 if fastest == math.inf else fastest
            if deadline is not None and before - start + next_takes >= deadline:
                return StoppedBy.DEADLINE
        return StoppedBy.FINISHED

    def _shown(self, x0: Tensor) -> Tensor:
        image = (x0 + 1) / 2
        return image.clamp(0, 1) if self.clamp else image


def check_limits(deadline: float | None, max_nfe: int | None) -> None:
    """ValueError unless there is time for one evaluation."""
    if deadline is not None and not deadline > 0:
        raise ValueError(f"deadline must be above 0 seconds: got {deadline}")
    if max_nfe is not None and max_nfe < 1:
        raise ValueError(f"max_nfe must be at least 1: got {max_nfe}")


def resolve_seeds(seeds: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """The given seeds, one for each of ``count`` images, or as many drawn from the system's randomness."""
    if seeds is None:
        return tuple(secrets.randbelow(2**31) for _ in range(count))
    if isinstance(seeds, int) or len(seeds) != count:
        raise ValueError(f"seeds must be a sequence of {count}, one an image: got {seeds}")
    return tuple(seeds)


def synchronise(device: torch.device) -> None:
    """Wait for what an accelerator was told to do, so that time can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
