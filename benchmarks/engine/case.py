"""What is measured: a task with its noise and its mask, filed under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.engine import paper
from benchmarks.engine.masks import Given, Hole, Mask, Scratches
from restoration.pictures import images
from restoration.tasks import Task, known_pixels

NOISE = 0.05
"""σ of tasks that are given none and have none in the paper, [0, 1] units."""


@dataclass(frozen=True)
class Case:
    """A simulated task, the mask it is posed with, and where its results lie.

    Args:
        task: what is done to every picture.
        mask: of inpainting; None is the task's own, half of the pixels at random.
        title: of its tables; the task's name where none is given.
        name: of its results; the title where none is given.
    """

    task: Task
    mask: Mask | None = None
    title: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.task.name)
        object.__setattr__(self, "name", self.name or self.title)

    def fitted(self, fit: bool) -> Case:
        """The same with pictures cropped and shrunk, or taken as they are.

        Pictures of the prior's size are periodic where A mixes what is around them: there is no room for it.
        """
        return replace(self, task=replace(self.task, fit=fit or self.task.kind.margin > 0))


def cases_of(tasks: Mapping[str, Task]) -> dict[str, Case]:
    """Tasks as they are, filed under their own names."""
    return {name: Case(task) for name, task in tasks.items()}


def cases(names: Sequence[str], sigma: float | None = None, mask: Path | None = None) -> dict[str, Case]:
    """Cases by name, of tasks as a command line names them: TASK or TASK:SIGMA.

    Beside the tasks of ``restore`` there are "inpaint-scratch", "inpaint-holeN" with a square of N pixels in the
    middle, and "inpaint-mask" with the mask of a file. Results are filed under the name and the noise, "sr4-0.05".

    Args:
        names: as typed.
        sigma: noise of tasks that do not bring their own, [0, 1] units; None is the paper's 0.5 for denoising, and
            ``NOISE`` for others.
        mask: a file for "inpaint-mask", white where to fill.

    Raises:
        ValueError: a task, a mask's name or a σ that is none; a mask's file that is missing or not wanted.
        ImageError: the mask's file is no mask.
    """
    found = [_case(name, sigma, mask) for name in names]
    if mask is not None and not any(isinstance(case.mask, Given) for case in found):
        raise ValueError(f"--mask is for the task inpaint-mask: got tasks {','.join(names)}")
    return {case.name: case for case in found}


def _case(text: str, sigma: float | None, file: Path | None) -> Case:
    title, number = text, sigma
    if ":" in text:
        title, _, told = text.rpartition(":")
        try:
            number = float(told)
        except ValueError:
            raise ValueError(f"--tasks must be TASK or TASK:SIGMA: got {text!r}") from None
    mask = _mask(title, file)
    (task,) = paper.chosen(["inpaint" if mask else title]).values()
    if not task.kind.takes_sigma:  # jpeg's noise is its own
        return Case(task, mask, title, title)
    number = (task.sigma or NOISE) if number is None else number
    return Case(replace(task, sigma=number), mask, title, f"{title}-{number:g}")


def _mask(title: str, file: Path | None) -> Mask | None:
    if title == "inpaint-scratch":
        return Scratches()
    if hole := re.fullmatch(r"inpaint-hole([1-9][0-9]{0,4})", title):
        return Hole(int(hole[1]))
    if title == "inpaint-mask":
        if file is None:
            raise ValueError("--tasks inpaint-mask needs --mask FILE, white where to fill")
        known_pixels(images.load(file), str(file))
        return Given(file)
    return None
