"""The work behind ``restore``: options checked, a prior loaded, and every input restored."""

from __future__ import annotations

from restoration.commands.delivery import Delivery, StateFile
from restoration.commands.display import Display, DownloadBar
from restoration.commands.interrupt import INTERRUPTED, Interrupt
from restoration.commands.settings import PriorSettings, SamplerSettings, Settings
from restoration.errors import OutputError, RestorationError
from restoration.events import Event, Failed
from restoration.pictures import images, outputs
from restoration.pictures.writing import losses
from restoration.priors import DiffusionPrior, load_prior
from restoration.recipe import Recipe
from restoration.restorer import check_limits
from restoration.session import Session
from restoration.tasks import MASKED, Task, known_pixels
from solvers import SAMPLERS, Spectral, settings_of
from solvers.noise import SEED_LIMIT


def run(settings: Settings) -> int:
    """Do it all; the exit code: 0 done, 1 some inputs of a batch failed, 130 interrupted with inputs left.

    Raises:
        RestorationError, ValueError, OSError: nothing could be done; the message is one line.
    """
    task = Task(settings.task.name, settings.task.sigma, settings.task.simulate, settings.task.fit)
    files, batch = outputs.expand(settings.inputs)
    _check(settings, task, batch)
    output = settings.output
    targets = outputs.plan(files, output.path, batch)
    deliveries = [Delivery(file, target, output.previews) for file, target in targets.items()]
    outputs.spare(
        [*files, settings.task.mask],
        [output.state, *(path for delivery in deliveries for path in delivery.written(settings.effort))],
    )
    recipe = _recipe(settings, task)
    interrupt, failed = Interrupt(), 0
    with Display(output.json) as display, interrupt.heard():
        for position, delivery in enumerate(deliveries):
            if interrupt.asked:
                display.warn(f"{len(deliveries) - position} inputs are left")
                return INTERRUPTED
            try:
                _restore(settings, recipe, delivery, display, interrupt)
            except (RestorationError, ValueError, OSError) as error:
                name = str(delivery.file)
                display.show(Failed(name, str(error)))
                if not batch:
                    raise
                failed += 1
                display.warn(f"restore: {error}" if name in str(error) else f"restore: {name}: {error}")
    if failed:
        display.warn(f"restore: {failed} of {len(deliveries)} inputs failed")
    return 1 if failed else 0


def sampler_of(settings: SamplerSettings) -> Spectral.Settings:
    """The sampler that was asked for, with its settings.

    Raises:
        ValueError: an unknown sampler, a setting that it does not have, or a wrong value.
    """
    if settings.name not in SAMPLERS:
        raise ValueError(f"--sampler must be {' or '.join(SAMPLERS)}: got {settings.name!r}")
    try:
        return settings_of(settings.name).replaced(settings.changed)
    except TypeError as error:  # it has no such setting
        raise ValueError(str(error)) from None


def _restore(
    settings: Settings, recipe: Recipe, delivery: Delivery, display: Display, interrupt: Interrupt
) -> None:
    """Restore one input, unless its result is there already."""
    output, file = settings.output, delivery.file
    sha256 = outputs.sha256(file)
    stored = None if output.state is None else StateFile(output.state, display.warn, recipe.effort.max_nfe)
    state = None if stored is None else stored.load(recipe.prior.device, redo=output.overwrite)
    if not output.overwrite:
        # a stopped run with a state is continued, so that only a finished one is done
        limits = recipe.limits() if output.state is None else None
        skipped = delivery.skipped(recipe.effort, recipe.identity(sha256, state), limits)
        if skipped is not None:
            display.show(skipped)
            return
    picture = images.read(file)
    session = Session(recipe, str(file), picture, sha256, state, str(output.state))
    for note in (*session.notes, *losses(session.given, delivery.target.suffix)):
        display.say(f"{file.name}: {note}")
    if session.reallocated is not None:
        display.warn(f"{file.name}: {session.reallocated}")

    def watch(event: Event) -> bool:
        if stored is not None:
            stored.follow(event)
        display.show(delivery.deliver(event, display.warn))
        return interrupt.asked

    with display.bar(file.name, sum(recipe.effort.steps)):
        session.run(watch)


def _recipe(settings: Settings, task: Task) -> Recipe:
    """What the inputs share, with its prior and mask loaded."""
    sampler = sampler_of(settings.sampler)
    path = settings.task.mask
    mask = None if path is None else images.load(path)
    mask_sha256 = None if path is None else outputs.sha256(path)
    if mask is not None:
        known_pixels(mask, str(path))
    prior = _load_prior(settings.prior)
    return Recipe(task, prior, sampler, settings.effort, settings.tiles, mask, mask_sha256)


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
    effort, output, mask = settings.effort, settings.output, settings.task.mask
    if output.state is not None and batch:
        raise ValueError("--state holds one input's run: give one file, not a batch")
    if effort.samples < 1:
        raise ValueError(f"--samples must be at least 1: got {effort.samples}")
    check_limits(effort.deadline, effort.max_nfe)
    last = SEED_LIMIT - effort.samples
    if effort.seed is not None and not 0 <= effort.seed <= last:
        raise ValueError(f"--seed must be from 0 to {last}: got {effort.seed}")
    if mask is not None and not task.kind.takes_mask:
        raise ValueError(f"--mask is for {MASKED}, not for {task.name}")
    if task.kind.takes_mask and mask is None and not task.simulate:
        raise ValueError(f"{task.name} needs --mask, a picture whose white marks what to fill (or --simulate)")
    if output.previews is not None:
        outputs.probe(output.previews, may_be_made=True)
    if output.state is not None:
        outputs.probe(output.state.parent, may_be_made=False)
        if output.state.is_dir():
            raise OutputError(f"--state {output.state} is a folder: give a file")
