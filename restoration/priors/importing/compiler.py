"""Marks for torch's compiler that are set when the compiler is imported, not before.

While it is imported, diffusers marks a few classes with ``torch._dynamo.allow_in_graph``, and for that imports the
whole compiler, a thousand modules. A mark matters only to what is compiled later, so it can wait.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
COMPILER = "torch._dynamo"


class Marks(MetaPathFinder):
    """``allow_in_graph`` as a note, which the compiler gets when anybody imports it, and later ones at once."""

    def __init__(self) -> None:
        self._noted: list[Any] = []
        self._without: int | None = None

    def allow_in_graph(self, marked: T) -> T:
        """Mark a class or function: now, or when the compiler is imported."""
        if self in sys.meta_path:
            self._noted.append(marked)
        else:
            import_module(COMPILER).allow_in_graph(marked)
        return marked

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Import without the compiler, as if torch had none, in this thread and this ``with`` block.

        Where the block fails the marks are forgotten: what was marked is of no use then.
        """
        self._without = threading.get_ident()
        sys.meta_path.insert(0, self)
        try:
            yield
        except BaseException:
            sys.meta_path.remove(self)
            raise
        finally:
            self._without = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python's own spec of the compiler, after which the marks are delivered; None for any other module.

        Raises:
            ImportError: it is asked for in the thread and block that do without.
        """
        if fullname != COMPILER:
            return None
        if self._without == threading.get_ident():
            raise ImportError(f"{COMPILER} is not imported while a prior's network is", name=COMPILER)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_deliver(module: ModuleType) -> None:
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                for marked in self._noted:
                    module.allow_in_graph(marked)
                self._noted.clear()

            spec.loader.exec_module = execute_and_deliver  # type: ignore[method-assign]
        return spec
