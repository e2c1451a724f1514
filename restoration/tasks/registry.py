"""The list of all tasks, and what is made of it: names, help texts, the calibration's key of a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restoration.tasks.colorize import Colorize
from restoration.tasks.composite import Composite
from restoration.tasks.deblur import Deblur
from restoration.tasks.demosaic import Demosaic
from restoration.tasks.denoise import Denoise
from restoration.tasks.inpaint import Inpaint
from restoration.tasks.jpeg import Jpeg
from restoration.tasks.kind import Kind
from restoration.tasks.mri import Mri
from restoration.tasks.published import Published
from restoration.tasks.super_resolution import Enlarge

if TYPE_CHECKING:
    from degradations import Measurement

KINDS: tuple[type[Kind], ...] = (
    *(Denoise, Enlarge, Inpaint, Colorize, Deblur, Jpeg, Demosaic, Mri, Composite, Published),
)
TASKS = tuple(name for kind in KINDS for name in kind.names)
"""The names that are listed; ``kind_of`` takes more, e.g. "sr3"."""
MASKED = ", ".join(name for kind in KINDS if kind.takes_mask for name in kind.names)
"""The tasks that take a mask, for messages and help texts."""
STROKED = ", ".join(name for kind in KINDS if kind.takes_strokes for name in kind.names)
"""The tasks that take strokes of colour, for messages and help texts."""
MARKED = ", ".join(name for kind in KINDS if kind.takes_marks for name in kind.names)
"""The tasks of whose previews what is right can be measured, for messages and help texts."""
NOISY = ", ".join(name for kind in KINDS if kind.needs_sigma for name in kind.names)
"""The tasks that need sigma, for messages and help texts."""

OPTIONS = tuple(dict.fromkeys(option for kind in KINDS for option in kind.options))
"""What some task takes beside sigma and a mask."""


def takers(option: str) -> str:
    """The tasks that take an option, for messages and help texts."""
    return ", ".join(name for kind in KINDS if option in kind.options for name in kind.names)


def _told(kind: type[Kind]) -> str:
    return f"{' '.join([', '.join(kind.names), kind.others]).strip()} ({kind.help})"


HELP = "; ".join(map(_told, KINDS))
"""All tasks in one line, for help texts."""


def kind_of(name: str, argument: str = "task") -> Kind:
    """The task of that name.

    Args:
        argument: what the caller calls it, for the message.

    Raises:
        ValueError: there is none.
    """
    for kind in KINDS:
        if (found := kind.parse(name)) is not None:
            return found
    raise ValueError(f"{argument} must be one of {', '.join(TASKS)}: got {name!r}")


def calibration_key(measurement: Measurement) -> str | None:
    """The task's name under which a calibration holds for the measurement; None where no task's does."""
    return next((key for kind in KINDS if (key := kind.key(measurement)) is not None), None)
