"""The work behind ``restore``: options checked, a prior loaded, and every input restored."""

from __future__ import annotations

from nested.allocation import checked
from restoration import images, outputs
from restoration.display import Display, DownloadBar
from restoration.errors import OutputError, RestorationError
from restoration.interrupt import INTERRUPTED, Interrupt
from restoration.job import Job, Settings, written
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.tiled import check_tiling
from restoration.restorer import Restorer, check_limits
from restoration.tasks import MASKED, Task, known_pixels
from solvers import SAMPLERS, Spectral, settings_of
from solvers.noise import SEED_LIMIT


def run(settings: Settings) -> int:
    """Do it all; the exit code: 0 done, 1 some inputs of a batch failed, 130 interrupted with inputs left.

    Raises:
        RestorationError, ValueError, OSError: nothing could be done; the message is one line.
    """
    task = Task(settings.task, settings.sigma, settings.simulate, settings.fit)
    files, batch = outputs.expand(settings.inputs)
    _check(settings, task, batch)
    targets = outputs.plan(files, settings.output, batch)
    outputs.spare(
        [*files, settings.mask],
        [settings.state, *(path for file in targets for path in written(settings, file, targets[file]))],
    )
    mask = None if settings.mask is None else images.load(settings.mask)
    mask_sha256 = None if settings.mask is None else outputs.sha256(settings.mask)
    if mask is not None:
        known_pixels(mask, str(settings.mask))
    prior = _load_prior(settings)
    restorer = Restorer(prior, sampler_of(settings))
    steps = (sum(settings.allocation),) if settings.vanilla else settings.allocation
    allocation = checked(steps, prior.schedule.K)
    check_tiling(prior, settings.overlap, settings.tile_batch)
    if task.fit:
        task.kind.check_fit(prior.image_shape)
    interrupt, failed = Interrupt(), 0
    with Display(settings.json) as display, interrupt.heard():
        job = Job(settings, task, mask, mask_sha256, prior, restorer, allocation, display, interrupt)
        for position, (file, target) in enumerate(targets.items()):
            if interrupt.asked:
                display.warn(f"{len(targets) - position} inputs are left")
                return INTERRUPTED
            try:
                job.restore(file, target)
            except (RestorationError, ValueError, OSError) as error:
                if not batch:
                    raise
                failed += 1
                display.warn(f"restore: {error}" if str(file) in str(error) else f"restore: {file}: {error}")
                display.event("error", input=str(file), message=str(error))
    if failed:
        display.warn(f"restore: {failed} of {len(targets)} inputs failed")
    return 1 if failed else 0


def sampler_of(settings: Settings) -> Spectral.Settings:
    """The sampler that was asked for, with its settings.

    Raises:
        ValueError: an unknown sampler, a setting that it does not have, or a wrong value.
    """
    if settings.sampler not in SAMPLERS:
        raise ValueError(f"--sampler must be {' or '.join(SAMPLERS)}: got {settings.sampler!r}")
    changed = {name: value for name, value in settings.sampler_settings.items() if value is not None}
    try:
        return settings_of(settings.sampler).replaced(changed)
    except TypeError as error:  # it has no such setting
        raise ValueError(str(error)) from None


def _load_prior(settings: Settings) -> DiffusionPrior:
    with DownloadBar() as bar:
        return load_prior(
            settings.prior,
            settings.device,
            settings.precision,
            class_label=settings.class_label,
            config=settings.prior_config,
            compile=settings.compile,
            progress=bar.advance,
        )


def _check(settings: Settings, task: Task, batch: bool) -> None:
    if settings.state is not None and batch:
        raise ValueError("--state holds one input's run: give one file, not a batch")
    if settings.samples < 1:
        raise ValueError(f"--samples must be at least 1: got {settings.samples}")
    check_limits(settings.deadline, settings.max_nfe)
    last = SEED_LIMIT - settings.samples
    if settings.seed is not None and not 0 <= settings.seed <= last:
        raise ValueError(f"--seed must be from 0 to {last}: got {settings.seed}")
    if settings.mask is not None and not task.kind.takes_mask:
        raise ValueError(f"--mask is for {MASKED}, not for {task.name}")
    if task.kind.takes_mask and settings.mask is None and not settings.simulate:
        raise ValueError(f"{task.name} needs --mask, a picture whose white marks what to fill (or --simulate)")
    if settings.previews is not None:
        outputs.probe(settings.previews, may_be_made=True)
    if settings.state is not None:
        outputs.probe(settings.state.parent, may_be_made=False)
        if settings.state.is_dir():
            raise OutputError(f"--state {settings.state} is a folder: give a file")
