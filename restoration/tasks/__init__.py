"""Tasks by name, one a file, and the way from a picture to the measurement that a prior can restore.

What needs torch is imported when first used (PEP 562): the help texts of the commands list the tasks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from restoration.tasks.kind import Kind, Shape
from restoration.tasks.registry import (
    HELP,
    KINDS,
    MARKED,
    MASKED,
    NOISY,
    STROKED,
    TASKS,
    calibration_key,
    kind_of,
    takers,
)
from restoration.tasks.seeds import derived_seed
from restoration.tasks.task import Task

if TYPE_CHECKING:
    from restoration.tasks.masks import known_pixels, mask_of, width_of_holes
    from restoration.tasks.posing import Problem, fit_to, pose, with_channels
    from restoration.tasks.strokes import Strokes

__all__ = [
    "HELP",
    "KINDS",
    "MARKED",
    "MASKED",
    "NOISY",
    "STROKED",
    "TASKS",
    "Kind",
    "Problem",
    "Shape",
    "Strokes",
    "Task",
    "calibration_key",
    "derived_seed",
    "fit_to",
    "kind_of",
    "known_pixels",
    "mask_of",
    "pose",
    "takers",
    "width_of_holes",
    "with_channels",
]
_HOME = {
    "known_pixels": "masks",
    "mask_of": "masks",
    "width_of_holes": "masks",
    "Strokes": "strokes",
    "Problem": "posing",
    "fit_to": "posing",
    "pose": "posing",
    "with_channels": "posing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'restoration.tasks' has no attribute {name!r}")
    value = getattr(import_module(f"restoration.tasks.{_HOME[name]}"), name)
    globals()[name] = value
    return value
