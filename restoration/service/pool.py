"""The priors that an operator allows, by the names that clients know them by, and their engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from restoration.priors import EMBEDDED, DiffusionPrior, load_prior
from restoration.priors.library.catalogue import KNOWN
from restoration.service.engine import Engine
from restoration.service.engines import Engines
from restoration.service.stats import Stats
from restoration.service.ticket import Held, Ticket
from restoration.service.work import Watch, Work


class Workforce(Protocol):
    """What does a server's work: engines in this process (:class:`Pool`), or in others (``Replicas``)."""

    names: tuple[str, ...]

    def engine(self, name: str, wait: float = 0.0) -> object:
        """Have what a prior's pictures need there."""
        ...

    def prior(self, name: str) -> DiffusionPrior:
        """What pictures are posed with."""
        ...

    def submit(self, name: str, work: Work, watch: Watch, wait: float = 0.0) -> Held:
        """Hand over a run."""
        ...

    def shape(self, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) of a prior's images."""
        ...

    def loaded(self, name: str) -> bool:
        """Whether a prior is there now."""
        ...

    def stats(self) -> Iterable[tuple[str, Any]]:
        """What was counted: ``calls`` and ``pieces`` of every prior."""
        ...

    def close(self) -> None:
        """End it all."""
        ...


class Pool:
    """Engines of the priors that are allowed. Every method may be called from any thread.

    Args:
        priors: what ``load_prior`` takes; a file or folder is known by its own name, not by its path.
        device, precision: of all of them, as ``load_prior`` takes them.
        batch: images in a call of the network at most; None measures which number pays.
        most: engines at once at most.

    Raises:
        ValueError: none, or two of the same name.
    """

    def __init__(
        self,
        priors: Sequence[str] = EMBEDDED,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch: int | None = None,
        most: int = 4,
    ) -> None:
        self._sources = sources_of(priors)
        self.names = tuple(self._sources)
        self._device, self._precision = device, precision
        self._shapes: dict[str, tuple[int, int, int]] = {}
        self._engines = Engines(self._load, most=most, batch="auto" if batch is None else batch)

    def engine(self, name: str, wait: float = 0.0) -> Engine:
        """The engine of a prior, started; the first time this takes seconds.

        Args:
            name: one of ``names``.
            wait: seconds for which to wait where all the others are at work.

        Raises:
            PriorError, ValueError, OSError: it cannot be loaded.
            OverloadedError: all the others are at work.
        """
        return self._engines.engine(name, wait)

    def submit(self, name: str, work: Work, watch: Watch, wait: float = 0.0) -> Ticket:
        """Hand a run to the engine of a prior, whichever it is by then.

        Args:
            name, wait: as :meth:`engine`.
            work, watch: as ``Engine.submit``.

        Raises:
            As :meth:`engine` and ``Engine.submit``.
        """
        return self._engines.submit(name, work, watch, wait)

    def prior(self, name: str) -> DiffusionPrior:
        """What the engine of a name restores with; as :meth:`engine`."""
        prior = self.engine(name).prior
        assert isinstance(prior, DiffusionPrior)  # as it was loaded
        return prior

    def shape(self, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) of a prior's images; None where it has not been loaded yet."""
        return self._shapes.get(name)

    def loaded(self, name: str) -> bool:
        """Whether a prior's engine is there now."""
        return name in self._engines.running

    def stats(self) -> Iterable[tuple[str, Stats]]:
        """What every engine has counted."""
        for name, engine in self._engines.running.items():
            yield name, engine.stats

    def close(self) -> None:
        """End all engines; what they have not finished is lost here, but for its state."""
        self._engines.close()

    def _load(self, name: str) -> DiffusionPrior:
        prior = load_prior(self._sources[name], self._device, self._precision)
        self._shapes[name] = prior.image_shape
        return prior


def sources_of(priors: Sequence[str]) -> dict[str, str]:
    """What ``load_prior`` takes, by the names that clients know them by; ValueError for none or two of a name."""
    sources = {known_as(name): name for name in priors}
    if not sources or len(sources) != len(priors):
        raise ValueError(f"priors must be some, with names of their own: got {', '.join(map(str, priors))}")
    return sources


def known_as(source: str) -> str:
    """What clients call a prior: no path of the server's."""
    path = Path(source)
    if source in EMBEDDED or source in KNOWN or not path.exists():
        return source
    return path.resolve().name if path.is_dir() else path.stem
