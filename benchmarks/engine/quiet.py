"""Loading with diffusers and transformers without their bars and remarks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

from diffusers.utils import logging as of_diffusers


@contextmanager
def quiet() -> Iterator[None]:
    """What they would say before they raise, we say in one line; afterwards they speak as before."""
    told: list[ModuleType] = [of_diffusers]
    if find_spec("transformers") is not None:
        from transformers.utils import logging as of_transformers

        told.append(of_transformers)
    before = [(module, module.get_verbosity(), module.is_progress_bar_enabled()) for module in told]
    try:
        for module in told:
            module.set_verbosity(module.CRITICAL)
            module.disable_progress_bar()
        yield
    finally:
        for module, verbosity, bar in before:
            module.set_verbosity(verbosity)
            if bar:
                module.enable_progress_bar()
