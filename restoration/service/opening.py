"""From what a client sent to what an engine does: the command's own way from files and options to a problem."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nested import Adaptive, Budget, Fixed, NestedDiffusion, NestedState
from nested.effort import LEAST, Effort
from restoration.commands.job import check_work, opened, sampler_of, strokes_of, task_of, with_mask
from restoration.errors import ImageError, RestorationError
from restoration.events import Output, Previewed, Restored
from restoration.medical.volume import Volume
from restoration.pictures import images, outputs
from restoration.priors import DiffusionPrior
from restoration.recipe import Recipe
from restoration.restorer import Preview, Restoration, StoppedBy, check_limits, resolve_seeds
from restoration.service.choosing import check_candidates, next_choice
from restoration.service.schema import Options
from restoration.service.work import Work
from restoration.session import Session
from restoration.steering import Steered
from solvers import Spectral

TYPICAL = 10
"""Evaluations of an inner run of those that a run goes on with."""
LARGEST_KERNEL = 129
"""Pixels a side of a blur that may be asked for by its numbers."""
MOST_SAMPLES = 64
"""Restorations drawn of one picture."""


@dataclass(frozen=True)
class Bounds:
    """What one restoration may ask for.

    Args:
        pixels: of the restored picture, padding and samples counted.
        nfe: network evaluations.
        deadline: seconds.
    """

    pixels: int = 4_000_000
    nfe: int = 1000
    deadline: float = 3600.0


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture that is ready to be restored.

    Args:
        session: its measurement, and how results of it are recorded.
        settings: of the sampler.
        options: as they were asked for.
        notes: what was done to the picture and its mask on the way.
    """

    session: Session
    settings: Spectral.Settings
    options: Options
    notes: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """That an engine holds of it."""
        _, rows, columns = self.session.problem.measurement.operator.image_shape
        return int(rows * columns * self.options.count)

    def work(
        self,
        seed: int,
        deadline: float | None,
        state: NestedState | None = None,
        effort: Effort | Adaptive | None = None,
        *,
        free: bool = False,
    ) -> Work:
        """What an engine is to do.

        Args:
            seed: of the first sample.
            deadline: seconds from now.
            state: to go on from.
            effort: another one than was asked for.
            free: the evaluations that were asked for at most do not bound it.
        """
        recipe, options = self.session.recipe, self.options
        if options.candidates is not None:
            effort = Fixed(recipe.effort.steps if state is None else state.allocation)
            end = next_choice(state, effort.allocation())
            count = options.candidates if state is None else len(state)
            return Work(
                self.session.problem.measurement,
                self.settings,
                seed,
                effort,
                None,
                end,
                count,
                state,
                options.overlap,
                every=True,
            )
        if effort is None and not options.planned:
            spending = recipe.spending
            effort = spending if isinstance(spending, Adaptive) else Fixed(spending)
        return Work(
            self.session.problem.measurement,
            self.settings,
            seed,
            effort,
            deadline,
            None if free else options.max_nfe,
            options.samples,
            state,
            options.overlap,
            every=True,
        )

    def further(self, state: NestedState, nfe: int) -> NestedState:
        """Where a run stands, with so many evaluations more to come, or a few more: inner runs are whole.

        Raises:
            ValueError: no noise level is left to go on from.
        """
        begun = state.outer_step + (state.inner is not None)
        rest = max(nfe - (state.allocation[begun - 1] - state.inner_step if state.inner is not None else 0), LEAST)
        more = Budget(rest, max(rest // TYPICAL, 1)).allocation()
        return self.loop(state).extended(state, (*state.allocation[:begun], *more))

    def loop(self, state: NestedState) -> NestedDiffusion:
        """The outer loop of a run of this picture."""
        many = self.session.problem.measurement.expand(len(state))
        return NestedDiffusion(self.session.restorer.posterior(many), state.allocation)

    def previewed(self, preview: Preview) -> Previewed:
        """A preview as it is to be kept."""
        event = self.session.previewed(preview)
        output = replace(event.output, record=self._record(event.output.record, preview.state))
        return replace(event, output=output)

    def restored(self, done: Restoration) -> Restored:
        """A result as it is to be kept."""
        event = self.session.restored(done)
        state = done.preview.state
        return replace(
            event,
            outputs=tuple(replace(output, record=self._record(output.record, state)) for output in event.outputs),
        )

    def candidates(self, state: NestedState) -> list[Output]:
        """The candidates at a completed preview, to be kept, numbered from 1: "010-2"."""
        session = self.session
        assert state.x0 is not None
        pictures = session.problem.finished(session.restorer.shown(state.x0))
        record = {**session.record, "seeds": list(state.seeds), "shows": "a candidate", "nfe": state.spent}
        return [
            Output(f"{state.spent:03d}-{i}", session.given.like(picture), record)
            for i, picture in enumerate(pictures, start=1)
        ]

    def chosen(self, state: NestedState) -> Restored:
        """The one candidate that is left of a finished run, as its result is to be kept, as the command would."""
        session, node = self.session, Steered(self.session.restorer, self.session.problem.measurement, state)
        preview = Preview(node.candidates, state.spent, state.total_nfe, state.outer_step, True, 0.0, state, None)
        seeds = (session.seeds[0],)
        done = Restoration(node.candidates, state.spent, state.total_nfe, 0.0, seeds, StoppedBy.FINISHED, preview)
        return session.restored(done, session.chosen_record(state, self.options.candidates or 1))

    def _record(self, record: Mapping[str, Any], state: NestedState) -> dict[str, Any]:
        """A record with the allocation that was run in the place of the one that was not decided."""
        return {**record, "allocation": list(state.allocation)} if self.options.planned else dict(record)


def check(options: Options, bounds: Bounds, *, masked: bool, stroked: bool = False) -> None:
    """Find out what is wrong with options before a picture is looked at.

    Args:
        options: that were asked for.
        bounds: of this server.
        masked: there is a mask.
        stroked: there are strokes.

    Raises:
        ValueError: one sentence, the command's.
    """
    asked = replace(
        options.task_settings(),
        mask=Path("mask") if masked else None,
        strokes=Path("strokes") if stroked else None,
    )
    _check_kernel(options)
    effort = options.effort_settings()
    if effort.samples > MOST_SAMPLES:
        raise ValueError(f"samples must be at most {MOST_SAMPLES} here: got {effort.samples}")
    check_work(asked, effort, task_of(asked))
    check_limits(effort.deadline, effort.max_nfe)
    sampler_of(options.sampler_settings(), options.count)
    check_candidates(options)
    if options.deadline is not None and options.deadline > bounds.deadline:
        raise ValueError(f"deadline must be at most {bounds.deadline:g} s here: got {options.deadline:g}")
    if not options.planned and sum(effort.steps) > bounds.nfe:
        raise ValueError(f"a run may have at most {bounds.nfe} evaluations here: got {sum(effort.steps)}")


def _check_kernel(options: Options) -> None:
    """ValueError for a blur too large for this server, before it is made: in an option or in a task's name."""
    for text in (options.kernel or "", options.task):
        for shape, numbers in re.findall(r"(gaussian|motion|disk|uniform)[:-]([-+0-9.eE,]+)", text):
            sides = [
                _number(part) * _SIDES[shape] for part in numbers.split(",")[: 2 if shape == "gaussian" else 1]
            ]
            if max(sides) > LARGEST_KERNEL:
                raise ValueError(
                    f"a kernel may have at most {LARGEST_KERNEL} pixels a side here: got {max(sides):g} of {text}"
                )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # told where the kernel is made
        return 0.0


_SIDES = {"gaussian": 8.0, "disk": 2.0, "motion": 1.0, "uniform": 1.0}  # pixels a side, of the first number


def open_picture(
    options: Options,
    image: Path,
    mask: Path | None,
    name: str,
    prior: DiffusionPrior,
    bounds: Bounds,
    seed: int,
    strokes: Path | None = None,
) -> Opened:
    """Read a picture and its mask, and pose what is to be restored.

    Args:
        options: how, checked by :func:`check`.
        image, mask: files, found harmless by ``decoding.Decoder``.
        name: what messages call the picture.
        prior: what clean pictures look like.
        bounds: of this server.
        seed: of the first sample.
        strokes: a file, found harmless, too.

    Raises:
        RestorationError, ValueError: a picture or mask that cannot be restored so; one sentence.
    """
    asked = replace(options.task_settings(), mask=mask, strokes=strokes)
    settings = sampler_of(options.sampler_settings(), options.count)
    effort = replace(options.effort_settings(), seed=seed)
    try:
        painted = None
        if strokes is not None:
            painted = strokes_of(asked, images.read(strokes), "the picture of strokes", outputs.sha256(strokes))
        recipe = Recipe(task_of(asked), prior, settings, effort, options.tile_settings(), strokes=painted)
        notes: tuple[str, ...] = ()
        if mask is not None:
            recipe, notes = with_mask(asked, recipe, image)
        recipe, picture = opened(recipe, image, strip=options.strip)
        if isinstance(picture, Volume):
            raise ImageError(f"{image}: has {len(picture)} slices; extract the one to restore")
        _, height, width = picture.pixels.shape
        factor = 1 if options.simulate or options.fit else recipe.task.kind.factor
        if height * width * factor**2 * options.count > bounds.pixels:
            raise ValueError(_too_many(height * width * factor**2, options.count, bounds))
        session = Session(recipe, name, picture, outputs.sha256(image))
    except (RestorationError, ValueError) as error:
        raise type(error)(named(str(error), image, mask, name)) from None
    found = Opened(session, settings, options, (*notes, *session.notes))
    if found.pixels > bounds.pixels:
        raise ValueError(_too_many(found.pixels // options.count, options.count, bounds))
    return found


def named(message: str, image: Path, mask: Path | None, name: str) -> str:
    """A message with the client's names in the place of ours."""
    message = message if mask is None else message.replace(str(mask), "the mask")
    return message.replace(str(image), name)


def drawn_seed(options: Options) -> int:
    """The seed that was asked for, or one that is drawn."""
    return resolve_seeds(None, 1)[0] if options.seed is None else options.seed


def _too_many(pixels: int, samples: int, bounds: Bounds) -> str:
    times = "" if samples == 1 else f" × {samples} samples"
    return f"a restoration may have at most {bounds.pixels:,} pixels here: got {pixels:,}{times}"
