"""Options of ``restore`` that do not fit each other, found before any work."""

from __future__ import annotations

from restoration.commands.settings import OutputSettings, Settings
from restoration.errors import OutputError
from restoration.pictures import images, outputs
from restoration.restorer import check_limits
from restoration.tasks import MASKED, Task
from solvers.noise import SEED_LIMIT

MOST_GROWN, MOST_SAMPLES, MOST_CANDIDATES = 10_000, 1000, 64


def check(settings: Settings, task: Task, batch: bool) -> None:
    """ValueError or OutputError for options that do not fit the task, each other or a batch."""
    effort, output, mask = settings.effort, settings.output, settings.task.mask
    if output.state is not None and batch:
        raise ValueError("--state holds one input's run: give one file, not a batch")
    if not 1 <= effort.samples <= MOST_SAMPLES:
        raise ValueError(f"--samples must be from 1 to {MOST_SAMPLES}: got {effort.samples}")
    check_limits(effort.deadline, effort.max_nfe, effort.until)
    _check_steering(settings, batch)
    last = SEED_LIMIT - effort.samples
    if effort.seed is not None and not 0 <= effort.seed <= last:
        raise ValueError(f"--seed must be from 0 to {last}: got {effort.seed}")
    if mask is not None and not task.kind.takes_mask:
        raise ValueError(f"--mask is for {MASKED}, not for {task.name}")
    if task.kind.takes_mask and mask is None and not task.simulate:
        raise ValueError(f"{task.name} needs --mask, a picture whose white marks what to fill (or --simulate)")
    if mask is None and (settings.task.invert_mask or settings.task.grow_mask or settings.task.resize_mask):
        raise ValueError("--invert-mask, --grow and --resize-mask need --mask")
    if not 0 <= settings.task.grow_mask <= MOST_GROWN:
        raise ValueError(f"--grow must be from 0 to {MOST_GROWN} pixels: got {settings.task.grow_mask}")
    if output.previews is not None:
        outputs.probe(output.previews)
    if output.state is not None:
        outputs.probe(output.state.parent)
        if output.state.exists() and not output.state.is_file():
            kind = "a folder" if output.state.is_dir() else "no regular file"
            raise OutputError(f"--state {output.state} is {kind}: give a file")


def check_form(output: OutputSettings, folder: bool) -> None:
    """ValueError for a format of results that is none, or has no meaning here."""
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


def _check_steering(settings: Settings, batch: bool) -> None:
    steering, effort = settings.steering, settings.effort
    if steering.candidates is None:
        if steering.choices or steering.interactive:
            raise ValueError("--choose and --interactive need --candidates, how many are to be chosen from")
    else:
        if not 1 <= steering.candidates <= MOST_CANDIDATES:
            raise ValueError(f"--candidates must be from 1 to {MOST_CANDIDATES}: got {steering.candidates}")
        limited = (effort.deadline, effort.max_nfe, effort.until, steering.edit)
        if effort.samples > 1 or any(one is not None for one in limited):
            raise ValueError(
                "--candidates goes without --samples, --deadline, --max-nfe, --until and --edit: use --interactive"
            )
        if batch:
            raise ValueError("--candidates are of one input: give one file, not a batch")
        if len(steering.choices) > len(effort.steps):
            given, steps = len(steering.choices), len(effort.steps)
            raise ValueError(f"--choose must have at most a choice a preview, {steps} here: got {given}")
        most = max((number for choice in steering.choices for number in choice), default=1)
        if most > steering.candidates:
            raise ValueError(f"--choose must name candidates from 1 to {steering.candidates}: got {most}")
    if steering.edit is not None and (settings.output.state is None or effort.samples > 1):
        raise ValueError("--edit needs --state, a run of one sample that has come to a preview")
    if steering.trust and steering.edit is None:
        raise ValueError("--trust-edit needs --edit")
