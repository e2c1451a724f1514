"""Options of steering that do not fit, found before any work."""

from __future__ import annotations

from restoration.commands.settings import Settings
from restoration.restorer import check_limits
from restoration.tasks import MARKED, kind_of

MOST_CANDIDATES = 64


def check_steering(settings: Settings, batch: bool) -> None:
    """ValueError for options of steering that do not fit each other or a batch."""
    steering, effort = settings.steering, settings.effort
    check_limits(None, None, effort.until)
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
        if effort.tolerance is not None:
            raise ValueError("--effort adaptive decides for one picture at a time: leave --candidates away")
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
    if steering.marked:
        _check_marked(settings)
    if steering.trust and steering.edit is None:
        raise ValueError("--trust-edit needs --edit")


def _check_marked(settings: Settings) -> None:
    """ValueError where a marked preview has no place."""
    steering, task = settings.steering, settings.task
    if not kind_of(task.name).takes_marks:
        raise ValueError(f"--right and --wrong are for {MARKED}, not for {task.name}: --edit says it softly")
    if settings.output.state is None or settings.effort.samples > 1:
        raise ValueError("--right and --wrong need --state, a run of one sample that has come to a preview")
    if steering.candidates is not None or steering.edit is not None:
        raise ValueError("--right and --wrong begin a new run: leave --candidates and --edit away")
    if task.strokes is not None:
        raise ValueError("--right and --wrong go without --strokes: what they say is in the preview")
