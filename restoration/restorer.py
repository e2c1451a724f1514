"""The anytime restorer: from a measurement to previews that keep improving."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from degradations import Measurement
from degradations.arguments import number, whole
from nested import Adaptive, Effort, NestedDiffusion, NestedState, supersedes, uniform
from nested.effort import steps_of
from restoration.check_units import refuse_other_units
from restoration.evaluate import StoppedError, evaluate
from restoration.notebook import png_of
from solvers import FIRE, NoiseSource, Prior, Spectral, settings_of
from solvers.units import from_model

if TYPE_CHECKING:  # it comes with the prior, and diffusers with that
    from restoration.planned import Plan
    from restoration.priors.calibration import Calibration, Change
    from restoration.steering import Steered

DEFAULT = FIRE.Settings(aim="faithful")
"""The sampler where none is asked for: of those measured, the nearest to the truth (docs/samplers.md)."""


class StoppedBy(StrEnum):
    """Why a restoration ended."""

    FINISHED = "finished"
    DEADLINE = "deadline"
    MAX_NFE = "max_nfe"
    INTERRUPT = "interrupt"
    SETTLED = "settled"


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

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """What a notebook shows: its images side by side."""
        return png_of(self.image)


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

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """What a notebook shows: its images side by side."""
        return png_of(self.image)


class Restorer:
    """Restores measured images, anytime.

    Args:
        prior: what clean images look like, e.g. ``load_prior("faces-64")``.
        posterior: the inner sampler: its settings, e.g. ``DDRM.Settings(eta=0.85)``, its class, or its name.
            None is ``FIRE.Settings()``, or DDRM's where ``eta`` or ``eta_b`` is given. For several samples of one
            measurement, e.g. their spread, take ``FIRE.Settings(aim="natural")``.
        clamp: cut what is shown to [0, 1], as pictures are; False for images that may leave it, e.g. the real and
            imaginary parts of a complex one.
        eta, eta_b: of the settings, where they differ from ``posterior``'s; for samplers that have them.

    Raises:
        TypeError, ValueError: no sampler, one that is not known, or settings that it does not have.
    """

    def __init__(
        self,
        prior: Prior,
        posterior: Spectral.Settings | type[Spectral] | str | None = None,
        clamp: bool = True,
        eta: float | None = None,
        eta_b: float | None = None,
    ) -> None:
        if not callable(getattr(prior, "denoise", None)):
            raise TypeError(f"prior must be one that was loaded, as by load_prior(...): got {prior!r:.60}")
        for name, value in (("eta", eta), ("eta_b", eta_b)):
            if value is not None:
                number(name, value)
        self.prior = prior
        changed = {name: value for name, value in (("eta", eta), ("eta_b", eta_b)) if value is not None}
        chosen = posterior if posterior is not None else "ddrm" if changed else DEFAULT
        self.settings = settings_of(chosen).replaced(changed)
        self.clamp = clamp

    def posterior(self, measurement: Measurement) -> Spectral:
        """The inner sampler, in the network's units and on its device, of a measurement in [0, 1] units."""
        device = getattr(self.prior, "device", measurement.y.device)
        here = replace(measurement, y=measurement.y.float()).to(device)
        return self.settings.of(self.prior, here.in_model_units())

    def stream(
        self,
        measurement: Measurement,
        outer: int = 3,
        inner: int = 10,
        allocation: Sequence[int] | Effort | Adaptive | None = None,
        vanilla: bool = False,
        seeds: Sequence[int] | None = None,
        deadline: float | None = None,
        max_nfe: int | None = None,
        state: NestedState | None = None,
        stop: Callable[[], bool] | None = None,
        until: float | None = None,
    ) -> Generator[Preview, None, StoppedBy]:
        """A preview after every network evaluation; close it at any time. Returns why it ended.

        Args:
            measurement: in [0, 1] units, of images in the prior's shape.
            outer, inner: outer steps, and inner steps of each.
            allocation: inner steps of every outer step, e.g. (16, 8, 6), in their place, or an effort:
                ``Budget(30)``, or ``Adaptive()``, which decides as it goes, for a measurement of one image
                (docs/effort.md).
            vanilla: one plain run of the sampler of as many evaluations instead.
            seeds: one an image; None draws them.
            deadline: seconds from the first request. It stops when the next evaluation would not end in time,
                judged by the fastest so far (on a GPU but for the first, which also warms it up); one evaluation
                is always made. An evaluation of a large picture that would end late is dropped between its tiles.
            max_nfe: evaluations after which to stop, at least 1; those before ``state`` count.
            state: go on from there. Its newest completed estimate is the first preview.
            stop: asked between any two calls of the network, of a large picture's tiles too; true ends the stream
                (``StoppedBy.INTERRUPT``), and an evaluation begun is dropped.
            until: RMSE, in [0, 1] units: it stops at a completed preview that is expected to change by less
                (``StoppedBy.SETTLED``); without effect where that was not measured (:meth:`expects`).

        Raises:
            ValueError: at once, before any work, for arguments that do not fit, and for another run's state.
        """
        if not isinstance(measurement, Measurement):
            raise TypeError(f"measurement must be a Measurement: got {type(measurement).__name__}")
        if state is not None and not isinstance(state, NestedState):
            raise TypeError(f"state must be a NestedState (NestedState.load reads a file): got {state!r:.60}")
        effort = uniform(outer, inner) if allocation is None else _effort(allocation)
        if isinstance(effort, Adaptive):
            if vanilla:
                raise ValueError("vanilla is one plain run: an adaptive allocation decides how many there are")
            effort = informed(effort, state, self.expects(measurement))
        elif vanilla:
            effort = (sum(effort),)
        check_limits(deadline, max_nfe, until)
        if stop is not None and not callable(stop):
            raise TypeError(f"stop must be a function: got {stop!r:.60}")
        if self.clamp:
            refuse_other_units(measurement)
        posterior = self.posterior(measurement)
        nested = NestedDiffusion(posterior, effort)
        if state is None:
            noise = NoiseSource(resolve_seeds(seeds, len(measurement)), posterior.measurement.y.device)
            state = nested.begin(noise)
        elif seeds is not None and tuple(seeds) != state.seeds:
            raise ValueError(f"seeds must be those of the state, {state.seeds}: got {tuple(seeds)}")
        nested.refuse_other(state)
        return self._stream(nested, state, _Limits(deadline, max_nfe, stop, until), self.expects(measurement))

    def expects(self, measurement: Measurement) -> Change | None:
        """How much its previews of such a measurement still change; None where that was not measured."""
        calibration: Calibration | None = getattr(self.prior, "calibration", None)
        return calibration.change(measurement, self.settings) if calibration else None

    def plan(self, measurement: Measurement, seconds: float) -> Plan:
        """What could be had of a measurement by a given time; makes up to three evaluations to learn that.

        Args:
            measurement: in [0, 1] units, of images in the prior's shape.
            seconds: above 0, from a request on.

        Raises:
            ValueError: seconds that are not above 0; a measurement that does not fit.
        """
        from restoration.planned import plan

        return plan(self, measurement, seconds)

    def steer(
        self,
        measurement: Measurement,
        candidates: int = 4,
        outer: int = 3,
        inner: int = 10,
        allocation: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Steered:
        """Begin a restoration that a person steers, with several candidates; the first previews are ready.

        Args:
            measurement: of one image, in [0, 1] units.
            candidates: how many are shown at once; their samples differ with ``FIRE.Settings(aim="natural")``.
            outer, inner, allocation: as in :meth:`stream`.
            seeds: one a candidate, or the first one's, from which they count on; None draws it.

        Raises:
            ValueError: arguments that do not fit, a measurement of several images.
        """
        from restoration.steering import begun

        return begun(self, measurement, candidates, allocation or uniform(outer, inner), seeds).advance()

    def restore(
        self,
        measurement: Measurement,
        outer: int = 3,
        inner: int = 10,
        allocation: Sequence[int] | Effort | Adaptive | None = None,
        vanilla: bool = False,
        seeds: Sequence[int] | None = None,
        deadline: float | None = None,
        max_nfe: int | None = None,
        state: NestedState | None = None,
        watch: Callable[[Preview], bool | None] | None = None,
        stop: Callable[[], bool] | None = None,
        until: float | None = None,
    ) -> Restoration:
        """Run :meth:`stream` to its end and keep the best preview.

        Args:
            watch: called with every preview; returning True stops the run (``StoppedBy.INTERRUPT``).
            The rest as in :meth:`stream`.

        Raises:
            InterruptedError: stopped before the first evaluation had ended: there is nothing to keep.
        """
        if watch is not None and not callable(watch):
            raise TypeError(f"watch must be a function: got {watch!r:.60}")
        previews = self.stream(
            measurement, outer, inner, allocation, vanilla, seeds, deadline, max_nfe, state, stop, until
        )
        try:
            best = newest = next(previews)
        except StopIteration:
            raise InterruptedError("stopped before the first evaluation had ended: nothing is restored") from None
        stopped_by = None
        while stopped_by is None:
            if supersedes(newest, best):
                best = newest
            if watch is not None and watch(given_away(newest)) and newest.nfe < newest.total_nfe:
                previews.close()
                stopped_by = StoppedBy.INTERRUPT
                break
            try:
                newest = next(previews)
            except StopIteration as end:
                stopped_by = end.value
        return Restoration(
            image=best.image,
            nfe=newest.state.spent,
            total_nfe=newest.total_nfe,
            elapsed=newest.elapsed,
            seeds=newest.state.seeds,
            stopped_by=stopped_by,
            preview=best,
        )

    def _stream(
        self, nested: NestedDiffusion, run: NestedState, limits: _Limits, change: Change | None
    ) -> Generator[Preview, None, StoppedBy]:
        def preview(x0: Tensor, nfe: int, outer_step: int, complete: bool, elapsed: float) -> Preview:
            expected = expected_change(change, run, nfe, complete)
            return Preview(self.shown(x0), nfe, run.total_nfe, outer_step, complete, elapsed, run, expected)

        begun, spent_before = limits.start(), run.spent
        if run.x0 is not None:
            yield preview(run.x0, run.nfe, run.outer_step, True, 0.0)
        ended = StoppedBy.FINISHED if run.finished else None
        if ended is None and run.x0 is not None:
            settled = run.inner is None and limits.settled(expected_change(change, run, run.nfe, True))
            ended = StoppedBy.MAX_NFE if limits.spent(run.spent) else StoppedBy.SETTLED if settled else None
        while ended is None:
            question = nested.ask(run)
            assert question is not None  # it is not finished
            try:
                x0 = evaluate(self.prior, question, limits.heard if run.spent > spent_before else limits.asked)
            except StoppedError as stopped:
                return StoppedBy(stopped.why)
            run, estimate = nested.answer(run, x0)
            image = nested.shown(estimate)
            if bool(image.isnan().any()):
                raise ValueError("the network answered NaN; another precision (fp32, bf16) may do")
            synchronise(image.device)
            elapsed = time.perf_counter() - begun
            # On a GPU the first evaluation also warms up, so it does not say how long the next one takes.
            limits.took(elapsed, counts=run.spent > spent_before + 1 or image.device.type == "cpu")
            shown = preview(image, run.spent, estimate.outer_step, estimate.complete, elapsed)
            del x0, estimate, image, question
            yield shown
            ended = StoppedBy.FINISHED if run.finished else limits.reached(run.spent)
            if ended is None and shown.complete and limits.settled(shown.expected_change):
                ended = StoppedBy.SETTLED
            del shown
        return ended

    def shown(self, x0: Tensor) -> Tensor:
        """x₀ in the prior's units as it is shown, in [0, 1] units."""
        image = from_model(x0)
        return image.clamp(0, 1) if self.clamp else image


def informed(effort: Adaptive, state: NestedState | None, change: Change | None) -> Adaptive:
    """An adaptive effort with the calibration of its run: its state's own where it goes on, else what is known."""
    if state is not None and state.effort is not None and effort.asks_as(state.effort):
        return state.effort
    return effort if effort.expected or change is None else replace(effort, expected=tuple(change.complete))


def _effort(given: Sequence[int] | Effort | Adaptive) -> Sequence[int] | Adaptive:
    """An allocation that was given, or an effort.

    Raises:
        TypeError, ValueError: what is neither.
    """
    if isinstance(given, Adaptive):
        return given
    steps = steps_of(given) if callable(getattr(given, "allocation", None)) else given
    if isinstance(steps, str) or not isinstance(steps, Iterable):
        raise TypeError(f"allocation must be a sequence of whole numbers, or an effort: got {given!r}")
    return tuple(whole("allocation", n, 1) for n in steps)


def expected_change(change: Change | None, run: NestedState, nfe: int, complete: bool) -> float | None:
    """The RMSE by which a run's end is expected to differ from its preview at ``nfe`` evaluations, if measured."""
    first = run.allocation[0]
    if change is None or not (complete or nfe < first):  # of a later x̂₀ that is not shown nothing was measured
        return None
    return change.at(nfe, run.total_nfe, first, complete)


def given_away(preview: Preview) -> Preview:
    """For a watcher, who may write into the picture: the result is another one."""
    return replace(preview, image=preview.image.clone())


class _Limits:
    """What ends a run before its end, and the clock for that."""

    def __init__(
        self, deadline: float | None, max_nfe: int | None, stop: Callable[[], bool] | None, until: float | None
    ) -> None:
        self.deadline, self.max_nfe, self.stop, self.until = deadline, max_nfe, stop, until
        self.begun = self.before = 0.0
        self.fastest = math.inf

    def start(self) -> float:
        self.begun = self.before = time.perf_counter()
        return self.begun

    def took(self, elapsed: float, *, counts: bool) -> None:
        """An evaluation has ended."""
        if counts:
            self.fastest = min(self.fastest, self.begun + elapsed - self.before)

    def spent(self, nfe: int) -> bool:
        """Whether no more evaluations may be made."""
        return self.max_nfe is not None and nfe >= self.max_nfe

    def settled(self, expected: float | None) -> bool:
        """Whether so little is expected to change that no more is wanted."""
        return self.until is not None and expected is not None and expected < self.until

    def reached(self, nfe: int) -> StoppedBy | None:
        """Why to stop before the next evaluation, if so."""
        if self.spent(nfe):
            return StoppedBy.MAX_NFE
        self.before = time.perf_counter()
        next_takes = 0.0 if self.fastest == math.inf else self.fastest
        if self.deadline is not None and self.before - self.begun + next_takes >= self.deadline:
            return StoppedBy.DEADLINE
        return None

    def asked(self) -> StoppedBy | None:
        """Between two calls of the network in the first evaluation, which a deadline does not end."""
        return StoppedBy.INTERRUPT if self.stop is not None and self.stop() else None

    def heard(self) -> StoppedBy | None:
        """Between two calls of the network."""
        late = self.deadline is not None and time.perf_counter() - self.begun >= self.deadline
        return self.asked() or (StoppedBy.DEADLINE if late else None)


def check_limits(deadline: float | None, max_nfe: int | None, until: float | None = None) -> None:
    """ValueError unless there is time for one evaluation, and a change that can be waited for."""
    if deadline is not None and not number("deadline", deadline) > 0:
        raise ValueError(f"deadline must be above 0 seconds: got {deadline}")
    if max_nfe is not None and whole("max_nfe", max_nfe) < 1:
        raise ValueError(f"max_nfe must be at least 1: got {max_nfe}")
    if until is not None and not number("until", until) > 0:
        raise ValueError(f"until must be above 0, an RMSE in [0, 1] units: got {until}")


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
