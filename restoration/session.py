"""One picture's or scan's restoration, from it and its task to events; where pictures go is for others to know.

    recipe = Recipe(Task("sr4"), load_prior("photos-64"))
    Session(recipe, "small.png", images.read(path), sha256).run(watch)

``watch`` is called with every event, stores and shows what it likes, and stops the run by returning True.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor

from degradations import Measurement
from nested import Adaptive, NestedDiffusion, NestedState
from nested.record import Choice
from restoration.editing import EditFile
from restoration.events import Advanced, Event, Noted, Output, Previewed, Restored, standing
from restoration.medical.volume import Volume
from restoration.pictures.frame import Frame
from restoration.pictures.picture import Picture
from restoration.pictures.scores import scores_of
from restoration.posed import posed, posed_scan, said_of
from restoration.priors import DiffusionPrior, TiledPrior, prior_for
from restoration.priors.coverage import Certainty
from restoration.priors.familiarity import ratio_of
from restoration.priors.volume import VolumePrior
from restoration.recipe import Recipe
from restoration.restorer import Preview, Restoration, Restorer
from restoration.results import outputs_of
from restoration.tasks import Problem
from restoration.tasks.slices import SliceProblem
from solvers import Prior, Spectral

Watch = Callable[[Event], bool | None]
"""Called with every event; returning True stops the run."""

DRAWN_TOGETHER = "neighbouring slices are drawn together, by a heuristic: what only one of them has is flattened"


class Session:
    """The restoration of one picture, or of all slices of a scan side by side.

    Slices of one sample share its seed: the noise that a run begins from and adds is the same in all of them, so
    that what is made up flickers less from slice to slice, and a slice does not depend on how many there are.

    Args:
        recipe: how it is restored.
        name: what events call it.
        picture: with all that its file said; outputs have it too. A volume is a scan's slices.
        sha256: of the bytes it came in.
        state: go on from there; its seeds are used, and the recipe's allocation for the outer steps not yet begun.
        state_name: what errors call the state.
        edit: goes on in place of the preview where the state stands, unless it is in it already.

    Attributes:
        seeds: one a sample.
        given: the picture that is restored.
        calls: of the network in one evaluation.
        notes: what was done to the picture on the way, a line each, for the user.
        reallocated: what has changed in the state's allocation, in words; None where nothing has.
        record: what every output of this run records.

    Raises:
        ImageError, ValueError: a picture or mask that cannot be restored so; a state of another seed, or of
            another allocation of outer steps that have begun.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        picture: Picture | Volume,
        sha256: str,
        state: NestedState | None = None,
        state_name: str = "the state",
        edit: EditFile | None = None,
    ) -> None:
        asked = recipe.asked_seeds()
        begun = (
            None if state is None else tuple(dict.fromkeys(state.seeds))
        )  # the slices of a sample share its seed
        if begun is not None and asked not in (None, begun):
            raise ValueError(f"{state_name} was begun with --seed {begun[0]}: repeat it, or leave --seed away")
        self.recipe, self.name, self._state_name = recipe, name, state_name
        self.seeds = begun or asked or recipe.drawn_seeds()
        self.given: Picture | Volume
        self.problem: Problem | SliceProblem
        if isinstance(picture, Volume):
            self.given, self.problem = posed_scan(recipe, picture, self.seeds[0])
        else:
            self.given, self.problem = posed(recipe, picture, self.seeds[0])
        slices, shape = len(self.problem.measurement), self.problem.measurement.operator.image_shape
        prior = prior_for(recipe.prior, shape, recipe.tiles.overlap, recipe.tiles.batch)
        if slices * recipe.effort.samples > recipe.tiles.batch and isinstance(picture, Volume):
            prior = TiledPrior(
                recipe.prior, shape, recipe.tiles.overlap, recipe.tiles.batch
            )  # bounds a call's images
        self._alone = prior  # of single slices
        if isinstance(self.problem, SliceProblem) and recipe.scan.together:
            prior = VolumePrior(prior, self.problem.which, recipe.scan.together)
        self._restorer = recipe.restorer(prior)
        self.calls = _calls(self._alone, recipe, slices)
        notes = (*self.given.notes, *self.problem.notes, *_tile_notes(recipe.prior, self._alone))
        if isinstance(prior, VolumePrior):
            notes = (*notes, DRAWN_TOGETHER)
        self.state, self.reallocated, told = self._going_on(state, edit)
        self.notes = (*notes, *told, *self._until_notes())
        made = {"seeds": list(self.seeds), **recipe.conditions()}
        if recipe.task.sigma_auto:
            made["sigma_estimated"] = self.problem.task.sigma
        made |= said_of(self.given)
        self.record: Mapping[str, Any] = {**recipe.identity(sha256, self.state), **recipe.limits(), **made}

    @property
    def single(self) -> tuple[Picture, Problem]:
        """The one picture that is restored, and the problem it is; TypeError of a scan of several slices."""
        if not isinstance(self.given, Picture) or not isinstance(self.problem, Problem):
            raise TypeError(f"{self.name} is a scan of several slices, not a picture")
        return self.given, self.problem

    @property
    def restorer(self) -> Restorer:
        """That restores it, with the prior in tiles where the picture is large."""
        return self._restorer

    def run(self, watch: Watch, stop: Callable[[], bool] | None = None) -> None:
        """Restore, and tell every event: ``Advanced`` and ``Previewed`` while it runs, ``Restored`` at its end.

        Args:
            watch: called with every event.
            stop: asked between any two calls of the network, of a large picture's tiles too; true stops the run.

        Raises:
            ValueError: the state is another run's, or the network answered NaN.
            What ``watch`` raises ends the run and is raised.
        """
        effort = self.recipe.effort
        try:
            restoration = self._restorer.restore(
                self.batch(),
                allocation=self.recipe.spending,
                seeds=[seed for seed in self.seeds for _ in range(len(self.problem.measurement))],
                deadline=effort.deadline,
                max_nfe=effort.max_nfe,
                state=self.state,
                watch=lambda preview: self.watched(preview, watch),
                stop=_Pace(self, watch, stop).asked,
                until=effort.until,
            )
        except ValueError as error:
            if self.state is None:
                raise
            raise ValueError(f"{self._state_name}: {error}") from None
        watch(self.restored(restoration))

    def posterior(self) -> Spectral:
        """The sampler of this picture's samples, as one batch."""
        return self._restorer.posterior(self.batch())

    def batch(self) -> Measurement:
        """The measurement of every sample, of every slice in turn where it is of a scan."""
        one = self.problem.measurement
        return one.take([*range(len(one))] * self.recipe.effort.samples)

    def _going_on(
        self, state: NestedState | None, edit: EditFile | None
    ) -> tuple[NestedState | None, str | None, tuple[str, ...]]:
        """The state with the edit and the recipe's allocation, and what these change in it."""
        steps, told = self.recipe.effort.steps, tuple[str, ...]()
        edit = None if edit is None or state is None or edit.is_in(state) else edit
        if state is None or (self._same(state) and edit is None):
            return state, None, told
        if self.recipe.effort.tolerance is not None and not self._same(state):
            raise ValueError(f"{self._state_name} is of a run that did not decide so: repeat its effort")
        posterior = self.posterior()
        try:
            state.refuse_other(state.allocation, posterior.identities())
            nested, changed = NestedDiffusion(posterior, state.allocation), state
            if edit is not None and isinstance(self.problem, Problem) and isinstance(self.given, Picture):
                changed, said = edit.put_in(state, nested, self._restorer, self.problem, self.given.depth)
                told = (said,)
            if self._same(state):
                return changed, None, told
            changed = nested.extended(changed, steps)
        except ValueError as error:
            raise ValueError(f"{self._state_name}: {error}") from None
        old, new = (",".join(map(str, allocation)) for allocation in (state.allocation, steps))
        return changed, f"goes on after {state.spent} evaluations with allocation {new} in place of {old}", told

    def _same(self, state: NestedState) -> bool:
        """Whether a run spends evaluations as the recipe does."""
        spending = self.recipe.spending
        if isinstance(spending, Adaptive):
            return state.effort is not None and spending.asks_as(state.effort)
        return state.effort is None and state.allocation == spending

    def _until_notes(self) -> list[str]:
        if self.recipe.effort.until is None or self._restorer.expects(self.problem.measurement) is not None:
            return []
        return ["how much previews of such a picture still change was not measured: --until stops nothing"]

    def watched(self, preview: Preview, watch: Watch) -> bool:
        """Tell what one evaluation brought, whoever made it; whether the watcher wants to stop."""
        stop = bool(watch(self._advanced(preview)))
        if preview.complete:
            stop = bool(watch(self.previewed(preview))) or stop
        return stop

    def _advanced(self, preview: Preview) -> Advanced:
        before, spent = 0 if self.state is None else self.state.spent, preview.state.spent
        pace = preview.elapsed / max(spent - before, 1)
        coming = next((end for end in accumulate(preview.state.allocation) if end > spent), None)
        wait = None if coming is None else (coming - spent) * pace
        return Advanced(self.name, spent, preview.total_nfe, wait, preview.complete, preview.state)

    def previewed(self, preview: Preview) -> Previewed:
        """What a preview of this picture's measurement is to be shown and stored as."""
        mean = self.problem.finished(preview.image).mean(dim=0)
        return Previewed(
            input=self.name,
            nfe=preview.nfe,
            total_nfe=preview.total_nfe,
            outer_step=preview.outer_step,
            complete=preview.complete,
            elapsed=preview.elapsed,
            output=Output(f"{preview.nfe:03d}", self.given.like(mean), {**self.record, **standing(preview)}),
            scores=self._scores(mean),
            expected_change=preview.expected_change,
        )

    def restored(self, done: Restoration, told: Mapping[str, Any] | None = None) -> Restored:
        """What the end of a run of this picture's measurement is to be stored as.

        Args:
            told: what its record says beside ``record``, and in place of it.
        """
        best, stopped_by = done.preview, done.stopped_by.value
        record = {**self.record, **(told or {}), **standing(best), "nfe": done.nfe, "stopped_by": stopped_by}
        if best.state.effort is not None:
            record["decided"] = list(best.state.allocation)
        images = self.problem.finished(done.image)
        certainty = self._certainty(best)
        outputs = outputs_of(self.given, images, tuple(dict.fromkeys(done.seeds)), record, certainty)
        return Restored(
            input=self.name,
            nfe=done.nfe,
            total_nfe=best.total_nfe,
            outer_step=best.outer_step,
            complete=best.complete,
            elapsed=done.elapsed,
            outputs=outputs,
            stopped_by=stopped_by,
            seeds=tuple(dict.fromkeys(done.seeds)),
            scores=self._scores(images.mean(dim=0)),
            expected_change=best.expected_change,
            certainty=certainty,
        )

    def unfamiliar(self, restored: Restored) -> float | None:
        """How rare it is among pictures that the prior knows to be as little known as this result; one evaluation.

        None where it is not rare, or was not measured for this prior.
        """
        calibration = self.recipe.prior.calibration
        if calibration is None or calibration.familiarity is None:
            return None
        image = restored.outputs[-1].image
        image = image if image.ndim == 3 else image[len(image) // 2]  # of a scan, the middle slice
        picture, prior = self.problem.task.kind.unturned(image), self._alone
        _, rows, columns = prior.image_shape
        frame = Frame.around(picture.shape[1], picture.shape[2], (rows, columns), 1)
        ratio = ratio_of(prior, frame.pad(picture))
        return calibration.familiarity.share(ratio) if calibration.familiarity.strange(ratio) else None

    def _certainty(self, best: Preview) -> Certainty | None:
        """What is known of the interval of the samples that are the result; None where none was asked for."""
        effort = self.recipe.effort
        if effort.interval is None or effort.samples == 1:
            return None
        calibration = self.recipe.prior.calibration
        if calibration is None or not best.complete or self._restorer.prior is not self.recipe.prior:
            return Certainty(effort.interval)
        return calibration.certainty(
            self.problem.measurement, self.recipe.sampler, effort.steps, best.nfe, effort.samples, effort.interval
        )

    def chosen_record(self, state: NestedState, candidates: int) -> dict[str, Any]:
        """What the result of choices records: what identifies it, the first candidate's seed and its own."""
        choices = [act for act in state.record if isinstance(act, Choice)]
        numbers = [tuple(one + 1 for one in act.kept) for act in choices]
        identity = self.recipe.identity(str(self.record["input_sha256"]), state, candidates, numbers)
        return {**identity, "seeds": [choices[0].candidates[0]], "seed_of_result": state.seeds[0]}

    def _scores(self, image: Tensor) -> dict[str, float]:
        """Of a picture, or the slices' mean of each."""
        if isinstance(self.problem, SliceProblem):
            clean = self.problem.originals
            if clean is None:
                return {}
            each = [scores_of(*pair) for pair in zip(clean, image[list(self.problem.which)], strict=True)]
            return {name: sum(one[name] for one in each) / len(each) for name in each[0]}
        facts, original = self.problem.task.kind.facts(image), self.problem.original
        return facts if original is None else {**scores_of(original, image), **facts}


class _Pace:
    """Hears who wants to stop, and tells early of a deadline that one evaluation of all tiles cannot keep."""

    def __init__(self, session: Session, watch: Watch, stop: Callable[[], bool] | None) -> None:
        self._watch, self._stop, self._name = watch, stop, session.name
        self._deadline, self._calls = session.recipe.effort.deadline, session.calls
        self._heard, self._begun = 0, 0.0

    def asked(self) -> bool:
        self._heard += 1
        if self._deadline is not None and 1 < self._heard <= 3 and self._calls > 3:
            now = time.perf_counter()  # the first call also warms up: the second is the pace
            takes = (now - self._begun) * self._calls
            if self._heard == 3 and takes > self._deadline:
                self._watch(Noted(self._name, _too_soon(self._deadline, takes)))
        self._begun = time.perf_counter()
        return self._stop is not None and self._stop()


def _too_soon(deadline: float, takes: float) -> str:
    return (
        f"the deadline of {deadline:g} s cannot be kept: the first evaluation, which is always made, takes about "
        f"{takes:.0f} s; Ctrl-C stops it, --fit or a smaller picture takes less"
    )


def _calls(prior: Prior, recipe: Recipe, slices: int) -> int:
    """Of the network in one evaluation."""
    if not isinstance(prior, TiledPrior):
        return 1
    windows = len(prior.windows(prior.schedule.K)) * recipe.effort.samples * slices
    return math.ceil(windows / recipe.tiles.batch)


def _tile_notes(prior: DiffusionPrior, used: Prior) -> list[str]:
    if not isinstance(used, TiledPrior) or tuple(used.image_shape) == tuple(prior.image_shape):
        return []
    (_, rows, columns), (_, height, width) = used.image_shape, prior.image_shape
    notes = [f"{columns}×{rows} in {len(used.windows(prior.schedule.K))} tiles of {width}×{height}"]
    if prior.crops is False:
        notes.append(
            f"{prior.name} knows whole pictures, not parts of them: better --fit, "
            "or a prior trained on crops, as photos-64 is"
        )
    return notes
