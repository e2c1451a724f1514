"""One run inside an engine: what it asks, what it has reached, and when it must end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from nested import Adaptive, Budget, Effort, Estimate, Fixed, NestedDiffusion, NestedState
from restoration.priors.tiled import TiledPrior, Windows, prior_for
from restoration.restorer import Preview, Restoration, Restorer, StoppedBy, expected_change, given_away, informed
from restoration.service.planning import Demand, Policy, Waiting, split
from restoration.service.work import Ended, Event, Improved, Lost, Watch, Work
from solvers import NoiseSource, Prior, Question


class Running:
    """A run that an engine answers. Its engine's thread alone changes it, but for ``wishes`` and ``ending``.

    Args:
        id: of its ticket.
        work: what is to be done.
        prior: the engine's, of the network's own size.
        policy: of the engine.
        now: the engine's clock at submission.
        watch: told every event.

    Raises:
        TypeError, ValueError: work that does not fit the prior, or another run's state.
    """

    def __init__(self, id: int, work: Work, prior: Prior, policy: Policy, now: float, watch: Watch | None) -> None:
        measurement = work.measurement
        shape = measurement.operator.image_shape
        self.id, self.work, self._watch = id, work, watch
        self.policy = self._given_policy = policy
        self.submitted = now
        self.deadline = math.inf if work.deadline is None else now + work.deadline
        self.tiles = TiledPrior(prior, shape, work.overlap)
        restorer = Restorer(prior_for(prior, shape, work.overlap), work.settings, work.clamp)
        posterior = restorer.posterior(measurement.expand(work.samples))
        self.shown = restorer.shown
        self.planned = work.effort is None and work.deadline is not None
        self.max_nfe = work.max_nfe
        calibration = getattr(prior, "calibration", None)
        self.change = calibration.change(measurement, restorer.settings) if calibration else None
        effort = work.effort or Budget(policy.most)
        if isinstance(effort, Adaptive):
            effort = informed(effort, work.state, self.change)
        if self.planned:
            effort = Fixed(split(policy.most, 0, policy))
        if work.state is not None and work.effort is None:
            effort = Fixed(work.state.allocation)
        self.nested = NestedDiffusion(posterior, effort)
        self.run = self._begin(work)
        self.per_evaluation = len(self.tiles.windows(self.run.levels[0])) * work.samples
        self.windows: Windows | None = None
        self.answered = 0  # pieces of the question asked now
        self.spare = False  # what it asks for now is not part of the plan
        self.settled_for = -1 if self.run.inner is None else self.run.outer_step  # outer step of chosen length
        self.estimate: tuple[Estimate, float] | None = None
        self._best: Preview | None = None
        self.first_preview: float | None = None  # when it was there
        self.wishes: list[Callable[[], None]] = []  # of its ticket, granted at the next call
        self.ending: StoppedBy | Exception | None = None
        self.outcome: Restoration | Exception | None = None
        self.over = threading.Event()
        if self.run.x0 is not None:
            self._best = self._preview(self.run.x0, self.run.nfe, self.run.outer_step, True, 0.0)

    def _begin(self, work: Work) -> NestedState:
        state = work.state
        if state is None:
            seeds = range(work.seed, work.seed + work.samples)
            return self.nested.begin(NoiseSource(seeds, self.nested.inner.prior.device))
        if self.nested.effort is None and state.allocation != self.nested.allocation:
            state.refuse_other(state.allocation, self.nested.inner.identities())
            state = self.nested.reallocated(state, self.nested.allocation)
        self.nested.refuse_other(state)
        return state

    # what it wants

    @property
    def at_boundary(self) -> bool:
        """Whether an inner run is about to begin, so that its length can still be chosen."""
        return self.run.inner is None and not self.answered and not self.run.finished

    @property
    def left(self) -> int:
        """Evaluations left of the inner run; of one whose length can still be chosen, of the shortest."""
        run = self.run
        if run.finished:
            return 0
        if self.planned and self.settled_for != run.outer_step:
            return self.policy.least
        return run.allocation[run.outer_step] - run.inner_step

    def demand(self, now: float) -> Demand:
        """What it still wants, for a plan."""
        run, left = self.run, self.left
        first = 0 if run.outer_step else left
        begun = left if run.outer_step and run.inner is not None else 0
        to_come = self.policy.most - run.spent if self.planned else run.total_nfe - run.spent
        more = max(to_come - first - begun, 0)
        return Demand(self.id, self.per_evaluation, self.deadline - now, first, begun, more)

    def waiting(self) -> Waiting:
        """What it asks for now."""
        return Waiting(
            self.id,
            self._asked().count - self.answered,
            self.deadline,
            promised=self.run.outer_step == 0,
            planned=not self.spare,
            ends=self.run.outer_step,
            arrived=self.id,
        )

    def settle(self, share: int, first: int | None = None) -> bool:
        """Choose how long the inner run is that is about to begin; whether that changes the allocation.

        Args:
            share: evaluations that it can have.
            first: of the first inner run, which is had in any case.
        """
        run = self.run
        rest = split(share, run.spent, self.policy)
        if first is not None:
            rest = (first, *split(share - first, first, self.policy))
        self.spare, self.settled_for = not rest, run.outer_step
        left_over = self.policy.most - run.spent - sum(rest)
        if left_over >= self.policy.least:  # not finished by then: there may be time to spare
            rest = (*rest, self.policy.least)
        steps = (*run.allocation[: run.outer_step], *rest)
        if steps == run.allocation:
            return False
        self.run, self.windows = self.nested.reallocated(run, steps), None
        return True

    def expected(self, share: int) -> tuple[int, ...]:
        """The allocation that it is likely to have, with so many evaluations beyond those promised and begun."""
        run = self.run
        if not self.planned:
            return run.allocation
        if not run.spent:
            return split(self.policy.least + share, 0, self.policy)
        begun = run.allocation[: run.outer_step + (run.inner is not None)]
        return (*begun, *split(share, sum(begun), self.policy))

    def _asked(self) -> Windows:
        """The pieces of its question."""
        if self.windows is None:
            question = self.nested.ask(self.run)
            assert question is not None  # else it would have ended
            self.windows, self.answered = self.tiles.split(question), 0
        return self.windows

    def part(self, count: int) -> Question:
        """The next so many pieces of its question."""
        return self._asked().part(self.answered, self.answered + count)

    def put(self, count: int, x0: Tensor) -> bool:
        """Take the answer to :meth:`part`; whether the evaluation is complete."""
        assert self.windows is not None
        self.windows.put(self.answered, self.answered + count, x0)
        self.answered += count
        return self.answered == self.windows.count

    def advance(self, now: float) -> None:
        """One evaluation on, its question being answered; tells what it brought.

        Raises:
            ValueError: the network answered NaN.
            What the sampler or the watcher raises.
        """
        assert self.windows is not None
        x0, self.windows, self.answered = self.windows.x0, None, 0
        if bool(x0.isnan().any()):
            raise ValueError("the network answered NaN; another precision (fp32, bf16) may do")
        self.run, estimate = self.nested.answer(self.run, x0)
        elapsed = now - self.submitted
        if estimate.complete:
            self._best = self._preview(estimate.x0, estimate.nfe, estimate.outer_step, True, elapsed)
            self.estimate = None
            if self.first_preview is None:
                self.first_preview = now
            self.tell(Improved(given_away(self._best)))
            return
        self.estimate = estimate, elapsed
        if self.work.every:
            self.tell(Improved(self._running(estimate, elapsed)))

    # what it has reached

    @property
    def best(self) -> Preview | None:
        """What it would return if it were stopped now; None before the first evaluation."""
        newest = self.estimate  # before _best: the engine's thread sets that first
        if self._best is None and newest is not None:
            return self._running(*newest)
        return self._best

    def _running(self, estimate: Estimate, elapsed: float) -> Preview:
        with torch.no_grad():
            image = self.nested.shown(estimate)
        return self._preview(image, estimate.nfe, estimate.outer_step, False, elapsed, estimate.state)

    def _preview(
        self,
        x0: Tensor,
        nfe: int,
        outer_step: int,
        complete: bool,
        elapsed: float,
        run: NestedState | None = None,
    ) -> Preview:
        run = self.run if run is None else run
        expected = expected_change(self.change, run, nfe, complete)
        return Preview(self.shown(x0), nfe, run.total_nfe, outer_step, complete, elapsed, run, expected)

    # how it ends, and goes on

    @property
    def ended(self) -> StoppedBy | None:
        """Why nothing more is to be done, if so."""
        run = self.run
        if run.finished:
            return StoppedBy.FINISHED
        if self.max_nfe is not None and run.spent >= self.max_nfe and self.best_is_there:
            return StoppedBy.MAX_NFE
        if self.planned and run.outer_step and run.inner is None:
            return StoppedBy.FINISHED if self.policy.most - run.spent < self.policy.least else None
        return None

    @property
    def best_is_there(self) -> bool:
        """Whether there is anything to return."""
        return self._best is not None or self.estimate is not None

    def go_on(self, effort: Effort | None, deadline: float | None, now: float) -> None:
        """Take on more, from where it stands.

        Raises:
            ValueError: no noise level is left, or a step of more evaluations than levels.
        """
        run, policy = self.run, replace(self._given_policy, most=self.run.spent + self._given_policy.most)
        steps = run.allocation
        if effort is not None:
            steps = (*steps, *effort.allocation())
        elif run.finished or self.planned:
            begun = run.outer_step + (run.inner is not None)
            steps = (*steps[:begun], *split(policy.most, run.spent, policy))
        if steps != run.allocation:
            self.run = self.nested.extended(run, steps)
            self.windows, self.answered = None, 0
        self.deadline = math.inf if deadline is None else now + deadline
        self.planned = effort is None and deadline is not None
        self.policy, self.max_nfe, self.spare = policy, None, False

    def reopen(self) -> None:
        """Take back that it has ended."""
        self.outcome = self.ending = None
        self.over.clear()

    def end(self, why: StoppedBy | Exception, now: float) -> None:
        """Keep what was reached and tell it; with an error there is no result."""
        best, self.windows, self.answered = self.best, None, 0
        if isinstance(why, StoppedBy) and best is not None:
            run = self.run
            self.outcome = Restoration(
                best.image, run.spent, run.total_nfe, now - self.submitted, run.seeds, why, best
            )
            last: Event = Ended(self.outcome)
        else:
            self.outcome = (
                why
                if isinstance(why, Exception)
                else InterruptedError("stopped before the first evaluation had ended: nothing is restored")
            )
            last = Lost(self.outcome)
        self.over.set()
        with suppress(Exception):  # there is nothing left that it could end
            self.tell(last)

    def tell(self, event: Event) -> None:
        """Call the watcher."""
        if self._watch is not None:
            self._watch(event)
