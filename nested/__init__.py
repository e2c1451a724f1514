"""Nested Diffusion: an outer DDIM loop around complete inner diffusion runs."""

from nested.adaptive import Adaptive
from nested.allocation import uniform
from nested.diffusion import Estimate, NestedDiffusion, supersedes
from nested.effort import Budget, Effort, Fixed
from nested.files import atomic_write
from nested.run import Run
from nested.state import NestedState
from nested.steering import Edited, chosen, edited, more, replayed

__all__ = [
    "Adaptive",
    "Budget",
    "Edited",
    "Effort",
    "Estimate",
    "Fixed",
    "NestedDiffusion",
    "NestedState",
    "Run",
    "atomic_write",
    "chosen",
    "edited",
    "more",
    "replayed",
    "supersedes",
    "uniform",
]
