"""Where ``NestedScheduler`` once was: pipelines saved then name this module, and diffusers looks into it."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # a floor above, so only when asked for
    return getattr(import_module("restoration.plugins.diffusers.scheduler"), name)
