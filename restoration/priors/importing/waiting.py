"""Packages whose ``__init__`` waits until somebody asks for one of its names.

The idea is that of ``importlib.util.LazyLoader``, which cannot do it: it runs a package's ``__init__`` as soon as
a submodule is imported.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module, reload
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_lock = threading.RLock()  # one thread runs an __init__, others that want its names wait
_running: set[str] = set()
_homes: dict[str, Mapping[str, str]] = {}


def defer(name: str, homes: Mapping[str, str]) -> None:
    """Import a package now and run its ``__init__`` later: when a name is asked for that it does not have yet.

    Submodules can be imported before that. A package that is imported already stays as it is.

    Args:
        name: of the package, in full; the packages above it are imported.
        homes: names that can be had from a submodule without the ``__init__``, by that submodule.

    Raises:
        ImportError: there is no such package.
    """
    if name in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"there is no package {name}", name=name)
    module = module_from_spec(spec)
    module.__class__ = Waiting
    _homes[name] = homes
    sys.modules[name] = module
    above, _, own = name.rpartition(".")
    if above:
        setattr(sys.modules[above], own, module)


class Waiting(ModuleType):
    """A package whose ``__init__`` has not run; a plain module once it has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # what inspection asks every module for
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name in _homes[self.__name__]:
            with suppress(ImportError, AttributeError):  # it may live elsewhere in another version
                value = getattr(import_module(f"{self.__name__}.{_homes[self.__name__][name]}"), name)
                setattr(self, name, value)
                return value
        _run(self)
        return getattr(sys.modules[self.__name__], name)  # an __init__ may put another module into its place

    def __dir__(self) -> list[str]:
        _run(self)
        return list(ModuleType.__dir__(self))  # it is no Waiting any more


def _run(module: ModuleType) -> None:
    """Run the ``__init__`` unless another thread has; where it fails the next to ask tries again."""
    with _lock:
        if type(module) is not Waiting:
            return
        if module.__name__ in _running:  # it asks itself: as in any module that is half imported
            raise AttributeError(
                f"package {module.__name__!r} is only partly imported: most likely a circular import"
            )
        _running.add(module.__name__)
        try:
            reload(module)
            module.__class__ = ModuleType  # type: ignore[assignment]
        finally:
            _running.discard(module.__name__)
