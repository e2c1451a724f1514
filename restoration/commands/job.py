"""The work behind ``restore``: options checked, a prior loaded, and every input restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from nested import NestedState
from restoration.cluster import count_of, require_ray
from restoration.commands import scans
from restoration.commands.checks import check_steering
from restoration.commands.delivery import Delivery, StateFile
from restoration.commands.display import Display, DownloadBar
from restoration.commands.interrupt import INTERRUPTED, Interrupt
from restoration.commands.prepared import Prepare, Prepared, Tally
from restoration.commands.settings import (
    EffortSettings,
    OutputSettings,
    PriorSettings,
    SamplerSettings,
    ScanSettings,
    Settings,
    TaskSettings,
)
from restoration.editing import EditFile
from restoration.errors import ImageError, OutputError
from restoration.events import Event, LeftOut, Noted, Restored
from restoration.marking import Marks
from restoration.medical.volume import Volume
from restoration.pictures import images, inputs, outputs
from restoration.pictures.names import stem_of, suffix_of
from restoration.pictures.picture import Picture
from restoration.pictures.writing import losses
from restoration.priors import DiffusionPrior, load_prior
from restoration.recipe import Recipe
from restoration.restorer import check_limits
from restoration.session import Session, Watch
from restoration.tasks import MASKED, STROKED, Strokes, Task, known_pixels, mask_of
from solvers import FIRE, SAMPLERS, Spectral, settings_of
from solvers.noise import SEED_LIMIT

ANSWER = "restore: stopping; what has been reached is kept (Ctrl-C again: at once)"
MOST_GROWN, MOST_SAMPLES = 10_000, 1000


def run(settings: Settings) -> int:
    """Do it all; the exit code: 0 done, 1 some inputs of a batch failed, 130 interrupted with inputs left.

    Raises:
        RestorationError, ValueError, OSError: nothing could be done; the message is one line.
    """
    task = task_of(settings.task)
    output = settings.output
    own = [path for path in (output.path, output.previews) if path is not None and path.is_dir()]
    found = inputs.expand(settings.inputs, output.recursive, own, task.kind.suffixes(task.simulate))
    deliveries = _deliveries(settings, task, found)
    interrupt = Interrupt(ANSWER)
    shared = len(deliveries) > 1 and settings.workers != "here"
    recipe = None if shared else recipe_of(settings, task)  # else each worker's own
    with Display(output.json) as display, interrupt.heard():
        for path, why in found.left_out:
            display.show(LeftOut(str(path), why))
        tally = Tally(display, found.batch)
        once = scans.Once()
        alone = settings.batch == 1 or settings.effort.deadline is not None or settings.effort.until is not None
        if recipe is None:
            from restoration.commands.sharded import Sharded

            left = Sharded(settings, deliveries, display, interrupt, tally).restore()
        elif len(deliveries) > 1 and not alone:
            from restoration.commands.together import Together  # with the engine, which one input does without

            prepare = partial(prepared_of, settings, recipe, display=display, once=once)
            everything = Together(recipe, deliveries, prepare, display, interrupt, tally)
            left = everything.restore(settings.batch)
        else:
            prepare = partial(prepared_of, settings, recipe, display=display, once=once)
            left = _one_by_one(deliveries, prepare, display, interrupt, tally)
        if interrupt.asked and left is not None:
            if left:
                display.warn(f"{left} inputs are left")
            return INTERRUPTED
    if tally.failed:
        display.warn(f"restore: {tally.failed} of {len(deliveries)} inputs failed")
    return 1 if tally.failed else 0


def _one_by_one(
    deliveries: Sequence[Delivery], prepare: Prepare, display: Display, interrupt: Interrupt, tally: Tally
) -> int | None:
    """Restore inputs one after another; None, or how many are left where it was interrupted before their end."""
    for position, delivery in enumerate(deliveries):
        if interrupt.asked:
            return len(deliveries) - position
        try:
            prepared = prepare(delivery)
            if prepared is None:
                continue
            with display.bar(delivery.file.name, sum(prepared.session.recipe.effort.steps)):
                work = prepared.steered or prepared.session
                work.run(_watch(prepared, interrupt), lambda: interrupt.asked)
        except InterruptedError as error:  # before the first evaluation had ended
            tally.unfinished(delivery, error)
            return 0
        except Exception as error:
            tally.lost(delivery, error)
    return None


def _watch(prepared: Prepared, interrupt: Interrupt) -> Watch:
    def watch(event: Event) -> bool:
        prepared.tell(event)
        return interrupt.asked

    return watch


def _deliveries(settings: Settings, task: Task, found: inputs.Found) -> list[Delivery]:
    """Where each input's files go.

    Raises:
        OutputError, ValueError: they cannot go there, or options that do not fit.
    """
    output, effort = settings.output, settings.effort
    _check(settings, task, found.batch)
    check_steering(settings, found.batch)
    folder = outputs.is_folder(output.path, batch=found.batch, typed_so=output.is_folder)
    _check_form(output, folder)
    targets = outputs.plan(
        found.inputs, output.path, folder=folder, form=output.format, name_suffix=output.name_suffix
    )
    suffixes = {suffix_of(target) for target in targets.values()}
    if output.quality is not None and not suffixes & {".jpg", ".jpeg", ".webp"}:
        raise ValueError(f"--output-quality is for JPEG and WebP: results are {', '.join(sorted(suffixes))}")
    deliveries = [
        Delivery(
            given.file,
            target,
            None if output.previews is None else output.previews / given.below,
            stem_of(target) if folder else None,
            output.quality,
        )
        for given, target in targets.items()
    ]
    mask = settings.task.mask
    steering = settings.steering
    read = [None if mask is None or mask.is_dir() else mask, settings.task.strokes]
    read += [steering.edit, steering.right, steering.wrong]
    outputs.spare(
        [*(given.file for given in found.inputs), *(path for path in read if path is not None)],
        [output.state, *(path for delivery in deliveries for path in delivery.written(effort))],
    )
    return deliveries


def _check_form(output: OutputSettings, folder: bool) -> None:
    form = output.format
    if form is not None and form != "same" and f".{form}" not in images.WRITTEN:
        kinds = ", ".join(suffix[1:] for suffix in images.WRITTEN)
        raise ValueError(f"--format must be same, or one of {kinds}: got {form!r}")
    if not folder and (form is not None or output.name_suffix):
        raise ValueError(f"--format and --suffix are for folders of results: {output.path} is one file's name")
    if "/" in output.name_suffix or "\0" in output.name_suffix:
        raise ValueError(f"--suffix must be a part of a file's name: got {output.name_suffix!r}")
    if output.quality is not None and not 1 <= output.quality <= 100:
        raise ValueError(f"--output-quality must be from 1 to 100: got {output.quality}")


def sampler_of(settings: SamplerSettings, samples: int = 1) -> Spectral.Settings:
    """The sampler that was asked for, with its settings; for several samples, one whose samples differ.

    Raises:
        ValueError: an unknown sampler, a setting that it does not have, or a wrong value.
    """
    if settings.kind not in SAMPLERS:
        raise ValueError(f"--sampler must be {' or '.join(SAMPLERS)}: got {settings.kind!r}")
    try:
        sampler = settings_of(settings.kind).replaced(settings.changed)
        several = samples > 1 and settings.aim is None and isinstance(sampler, FIRE.Settings)
        return sampler.replaced({"aim": "natural"}) if several else sampler
    except TypeError as error:  # it has no such setting
        raise ValueError(str(error)) from None


def prepared_of(
    settings: Settings,
    recipe: Recipe,
    delivery: Delivery,
    *,
    display: Display,
    once: scans.Once | None = None,
) -> Prepared | None:
    """One input, ready to be restored; None where its result is there already."""
    output, file = settings.output, delivery.file
    name = str(file)
    sha256 = outputs.sha256(file)
    notes: tuple[str, ...] = ()
    if recipe.mask is None and settings.task.mask is not None:
        recipe, notes = with_mask(settings.task, recipe, file, settings.scan)
    steering = settings.steering
    if steering.marked:
        recipe, output, told = with_marks(settings, recipe)
        notes = (*notes, told)
    edit = None if steering.edit is None else EditFile.read(steering.edit, steering.trust)
    stored = None if output.state is None else StateFile(output.state, display.warn, recipe.effort.max_nfe)
    redo = output.overwrite and edit is None
    state = None if stored is None else stored.load(recipe.prior.device, redo=redo)
    if edit is not None and state is None:
        raise ValueError(f"--edit needs a run that has come to a preview: there is no --state {output.state}")
    if not output.overwrite:
        # a stopped run with a state is continued, so that only a finished one is done
        limits = recipe.limits() if output.state is None else None
        expected = edit.told(state) if edit is not None and state is not None else state
        identity = recipe.identity(sha256, expected, steering.candidates, steering.choices)
        if steering.interactive and delivery.target.exists():
            raise OutputError(f"{delivery.target} exists; choose another output, or --overwrite")
        skipped = delivery.skipped(recipe.effort, identity, limits)
        if skipped is not None:
            display.show(skipped)
            return None
    recipe, picture = opened(recipe, file, strip=output.strip)
    scans.check_target(picture, delivery.target)
    _check_steered(settings, picture)
    alone = None if steering.candidates is not None else state
    session = Session(recipe, name, picture, sha256, alone, str(output.state), edit)
    steered = None
    if steering.candidates is not None:
        from restoration.commands.steer import Steering  # with what draws sheets of candidates

        steered = Steering(session, steering, delivery, state, stored, display.ask, overwrite=output.overwrite)
    lost = losses(session.given, suffix_of(delivery.target)) if isinstance(session.given, Picture) else ()
    for note in (
        *(once or scans.Once()).warning(picture),
        *session.notes[: len(picture.notes)],
        *notes,
        *session.notes[len(picture.notes) :],
        *lost,
    ):
        display.show(Noted(name, note))
    if session.reallocated is not None:
        display.warn(f"{file.name}: {session.reallocated}")

    def tell(event: Event) -> None:
        if stored is not None:
            stored.follow(event)
        if isinstance(event, Restored) and (output.strict or recipe.effort.deadline is None):
            event = _judged(session, event, display, strict=output.strict)
        display.show(delivery.deliver(event, display.warn))

    return Prepared(session, tell, steered)


def _judged(session: Session, event: Restored, display: Display, *, strict: bool) -> Restored:
    """A result, with a word in its files where the prior has probably never seen such pictures.

    Raises:
        ImageError: it has not, and ``strict``.
    """
    rare = session.unfamiliar(event)
    if rare is None:
        return event
    told = f"{session.recipe.prior.name} has probably never seen such pictures, and may make things up"
    if strict:
        raise ImageError(f"{session.name}: {told}: nothing is written (--strict)")
    display.show(Noted(session.name, told))
    outputs = (replace(one, record={**one.record, "unfamiliar": round(rare, 4)}) for one in event.outputs)
    return replace(event, outputs=tuple(outputs))


def _check_steered(settings: Settings, given: Picture | Volume) -> None:
    if settings.steering.edit is not None and not (isinstance(given, Picture) and given.scan is None):
        raise ImageError("--edit is for pictures, not for scans")
    if settings.steering.marked and not (isinstance(given, Picture) and given.scan is None):
        raise ImageError("--right and --wrong are for pictures, not for scans")
    if settings.steering.candidates is not None and isinstance(given, Volume):
        raise ImageError(f"--candidates are of one picture: this is a scan of {len(given)} slices")


def opened(recipe: Recipe, file: Path, *, strip: bool = False) -> tuple[Recipe, Picture | Volume]:
    """The picture or scan in a file, and the recipe with what that file tells of its task.

    Raises:
        ImageError: a file that cannot be used.
    """
    scan = scans.read(file, recipe.scan, recipe.task)
    if scan is not None:
        return recipe, scan
    scans.check_plain(file, recipe.scan)
    picture = scans.plain(recipe.task.read(file), recipe.scan)
    picture = picture.stripped() if strip else picture
    task, pixels = recipe.task.opened(file, picture.pixels)
    return replace(recipe, task=task), replace(picture, pixels=pixels)


def recipe_of(settings: Settings, task: Task) -> Recipe:
    """What the inputs share, with its prior and mask loaded.

    Raises:
        RestorationError, ValueError, OSError: a sampler, mask or prior that cannot be used.
    """
    sampler = sampler_of(settings.sampler, settings.steering.candidates or settings.effort.samples)
    path = settings.task.mask
    if path is not None and not path.is_dir():
        _known(_mask(settings.task, path, None, settings.scan)[0], path)  # before the prior is loaded
    strokes = _strokes(settings.task)
    prior = _load_prior(settings.prior)
    return Recipe(task, prior, sampler, settings.effort, settings.tiles, strokes=strokes, scan=settings.scan)


def _strokes(asked: TaskSettings) -> Strokes | None:
    """What was painted, read before the prior is loaded."""
    path = asked.strokes
    return None if path is None else strokes_of(asked, images.read(path), str(path), outputs.sha256(path))


def strokes_of(asked: TaskSettings, picture: Picture, name: str, sha256: str) -> Strokes:
    """The strokes in a picture, with the settings that were asked for; ImageError, ValueError where none are."""
    given = {"sigma": asked.strokes_sigma, "spread": asked.strokes_spread}
    return Strokes.of(
        picture, name, sha256=sha256, **{key: value for key, value in given.items() if value is not None}
    )


def with_mask(
    settings: TaskSettings, recipe: Recipe, file: Path, scan: ScanSettings | None = None
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of one picture, with its mask, and what is to be said of that."""
    path = settings.mask
    assert path is not None
    if path.is_dir():
        path = _mask_beside(path, file)
    size = None
    if settings.resize_mask:
        _, height, width = images.read(file).pixels.shape
        size = height, width
    mask, notes = _mask(settings, path, size, scan or ScanSettings())
    _known(mask, path)
    changes = {"invert": settings.invert_mask, "grow": settings.grow_mask, "resize": settings.resize_mask}
    recipe = replace(
        recipe,
        mask=mask,
        mask_sha256=outputs.sha256(path),
        mask_changes=changes if any(changes.values()) else None,
    )
    return recipe, tuple(f"{path.name}: {note}" for note in notes)


def with_marks(settings: Settings, recipe: Recipe) -> tuple[Recipe, OutputSettings, str]:
    """The recipe of a run that measures what is right in a stored preview, where that goes, and in words.

    The state that the preview is of is left as it is; the new run has one of its own beside it.
    """
    path, steering = settings.output.state, settings.steering
    assert path is not None
    if not path.exists():
        raise ValueError(f"--right and --wrong need a run that has come to a preview: there is no --state {path}")
    state = NestedState.load(path, device=recipe.prior.device)
    marks = Marks.read(state, steering.right, steering.wrong, str(path))
    beside = marks.beside(path, recipe.effort.seed)
    told = f"{path} is left as it is; this run is stored in {beside}"
    return replace(recipe, marks=marks), replace(settings.output, state=beside), told


def _known(mask: Tensor, path: Path) -> None:
    """ImageError for a mask that leaves no task. One of a scan's slices was looked at when it was read."""
    if mask.ndim == 3:
        known_pixels(mask, str(path))


def _mask(
    settings: TaskSettings, path: Path, size: tuple[int, int] | None, scan: ScanSettings
) -> tuple[Tensor, tuple[str, ...]]:
    slices = scans.mask_of(path, settings, scan)
    if slices is not None:
        return slices, ()
    return mask_of(images.read(path), str(path), invert=settings.invert_mask, grow=settings.grow_mask, size=size)


def _mask_beside(folder: Path, file: Path) -> Path:
    """The mask in a folder that is named as a picture, whatever its format.

    Raises:
        ImageError: none is, or several are.
    """
    named = [path for path in images.find(folder) if stem_of(path) == stem_of(file)]
    same = [path for path in named if path.name == file.name]
    if len(same or named) != 1:
        how = "no mask is" if not named else f"{len(named)} masks are"
        raise ImageError(f"{file}: {how} named {file.stem} in {folder}")
    return (same or named)[0]


def _load_prior(settings: PriorSettings) -> DiffusionPrior:
    with DownloadBar() as bar:
        return load_prior(
            settings.name,
            settings.device,
            settings.precision,
            class_label=settings.class_label,
            config=settings.config,
            compile=settings.compile,
            progress=bar.advance,
        )


def _check(settings: Settings, task: Task, batch: bool) -> None:
    effort, output = settings.effort, settings.output
    if settings.batch is not None and settings.batch < 1:
        raise ValueError(f"--batch must be at least 1, or auto: got {settings.batch}")
    if settings.batch not in (None, 1) and effort.deadline is not None:
        raise ValueError("--deadline is the time of one input: leave --batch away, whose inputs share the time")
    if settings.batch not in (None, 1) and effort.until is not None:
        raise ValueError("--until stops one input at a time: leave --batch away")
    if settings.workers != "here":
        count_of(settings.workers)
        require_ray()
        if settings.batch != 1:
            raise ValueError("--workers restore an input each: leave --batch away")
    if output.state is not None and batch:
        raise ValueError("--state holds one input's run: give one file, not a batch")
    if settings.task.strokes is not None and batch:
        raise ValueError("--strokes are of one input: give one file, not a batch")
    check_work(settings.task, effort, task)
    scans.check(settings.scan)
    if output.strict and settings.steering.candidates is not None:
        raise ValueError("--strict goes without --candidates, of which a person judges")
    if output.previews is not None:
        outputs.probe(output.previews)
    if output.state is not None:
        outputs.probe(output.state.parent)
        if output.state.exists() and not output.state.is_file():
            kind = "a folder" if output.state.is_dir() else "no regular file"
            raise OutputError(f"--state {output.state} is {kind}: give a file")


def check_work(asked: TaskSettings, effort: EffortSettings, task: Task) -> None:
    """ValueError where effort or mask are not what the task can be done with."""
    mask = asked.mask
    if not 1 <= effort.samples <= MOST_SAMPLES:
        raise ValueError(f"--samples must be from 1 to {MOST_SAMPLES}: got {effort.samples}")
    if effort.interval is not None and not 0 < effort.interval < 1:
        raise ValueError(f"--interval must be a percentage between 0 and 100: got {100 * effort.interval:g}")
    if effort.interval is not None and effort.samples == 1:
        raise ValueError("--interval needs --samples, of which it is made: 8, for instance")
    check_limits(effort.deadline, effort.max_nfe)
    if effort.tolerance is not None and effort.vanilla:
        raise ValueError("--vanilla is one plain run: leave --effort adaptive away")
    if effort.tolerance is not None and effort.samples > 1:
        raise ValueError("--effort adaptive decides for one picture at a time: leave --samples away")
    last = SEED_LIMIT - effort.samples
    if effort.seed is not None and not 0 <= effort.seed <= last:
        raise ValueError(f"--seed must be from 0 to {last}: got {effort.seed}")
    if mask is not None and not task.kind.takes_mask:
        raise ValueError(f"--mask is for {MASKED}, not for {task.name}")
    if task.kind.takes_mask and mask is None and not task.simulate:
        raise ValueError(f"{task.name} needs --mask, a picture whose white marks what to fill (or --simulate)")
    if asked.strokes is not None and not task.kind.takes_strokes:
        raise ValueError(f"--strokes is for {STROKED}, not for {task.name}")
    if asked.strokes is None and not (asked.strokes_sigma is None and asked.strokes_spread is None):
        raise ValueError("--strokes-sigma and --strokes-spread need --strokes")
    if mask is None and (asked.invert_mask or asked.grow_mask or asked.resize_mask):
        raise ValueError("--invert-mask, --grow and --resize-mask need --mask")
    if not 0 <= asked.grow_mask <= MOST_GROWN:
        raise ValueError(f"--grow must be from 0 to {MOST_GROWN} pixels: got {asked.grow_mask}")


def task_of(asked: TaskSettings) -> Task:
    """The task that was asked for; ValueError where its options do not fit."""
    return Task(
        asked.name,
        asked.sigma,
        asked.simulate,
        asked.fit,
        sigma_auto=asked.sigma_auto,
        kernel=asked.kernel,
        quality=asked.quality,
        pattern=asked.pattern,
        acceleration=asked.acceleration,
        center_fraction=asked.center_fraction,
        mask_kind=asked.mask_kind,
        slice=asked.slice,
    )
