"""``restore --plan``: what could be had by then, of every input, and nothing is restored."""

from __future__ import annotations

from restoration.commands import scans
from restoration.commands.display import Display
from restoration.commands.job import check_work, opened, recipe_of, task_of, with_mask
from restoration.commands.settings import Settings
from restoration.events import LeftOut, Planned
from restoration.pictures import inputs
from restoration.planned import plan
from restoration.session import Session


def run(settings: Settings, seconds: float) -> int:
    """Tell what could be had of every input; the exit code.

    Raises:
        RestorationError, ValueError, OSError: an input, a task or options that do not fit, in one line.
    """
    task = task_of(settings.task)
    check_work(settings.task, settings.effort, task)
    scans.check(settings.scan)
    found = inputs.expand(settings.inputs, settings.output.recursive, [], task.kind.suffixes(task.simulate))
    shared = recipe_of(settings, task)
    with Display(settings.output.json) as display:
        for path, why in found.left_out:
            display.show(LeftOut(str(path), why))
        for given in found.inputs:
            recipe = shared
            if recipe.mask is None and settings.task.mask is not None:
                recipe, _ = with_mask(settings.task, recipe, given.file, settings.scan)
            recipe, picture = opened(recipe, given.file)
            session = Session(recipe, str(given.file), picture, "")
            made = plan(session.restorer, session.batch(), seconds)
            display.show(Planned(str(given.file), made))
    return 0
