"""Nested Diffusion: an outer DDIM loop around complete inner diffusion runs.

What needs diffusers is imported when first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nested.allocation import uniform
from nested.diffusion import Estimate, NestedDiffusion, supersedes
from nested.files import atomic_write
from nested.run import Run
from nested.state import NestedState

if TYPE_CHECKING:
    from nested.previews import PipelinePreview, anytime_previews, decode_estimate
    from nested.scheduler import NestedScheduler

_LAZY = {
    "NestedScheduler": "nested.scheduler",
    "PipelinePreview": "nested.previews",
    "anytime_previews": "nested.previews",
    "decode_estimate": "nested.previews",
}
__all__ = [
    "Estimate",
    "NestedDiffusion",
    "NestedScheduler",
    "NestedState",
    "PipelinePreview",
    "Run",
    "anytime_previews",
    "atomic_write",
    "decode_estimate",
    "supersedes",
    "uniform",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nested' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
