"""The engines of the priors that an operator allows: made when asked for, the one used least lately let go."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from restoration.priors import EMBEDDED, DiffusionPrior, load_prior
from restoration.priors.library.catalogue import KNOWN
from restoration.service.engine import Engine
from restoration.service.stats import Stats


class Pool:
    """Engines by the names that clients know their priors by. Every method may be called from any thread.

    Args:
        priors: what ``load_prior`` takes; a file or folder is known by its own name, not by its path.
        device, precision: of all of them, as ``load_prior`` takes them.
        batch: images in a call of the network at most; None measures which number pays.
        most: engines at once; more where all of them have work.

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
        self._sources = {known_as(name): name for name in priors}
        if not self._sources or len(self._sources) != len(priors):
            raise ValueError(f"priors must be some, with names of their own: got {', '.join(map(str, priors))}")
        self.names = tuple(self._sources)
        self._device, self._precision, self._batch, self._most = device, precision, batch, most
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._priors: dict[str, DiffusionPrior] = {}
        self._shapes: dict[str, tuple[int, int, int]] = {}
        self._loading, self._lock = threading.Lock(), threading.Lock()

    def engine(self, name: str) -> Engine:
        """The engine of a prior, started; the first time this takes seconds.

        Raises:
            PriorError, ValueError, OSError: it cannot be loaded.
            KeyError: it is none of these.
        """
        with self._loading:
            with self._lock:
                found = self._engines.get(name)
                if found is not None:
                    self._engines.move_to_end(name)
                    return found
            prior = load_prior(self._sources[name], self._device, self._precision)
            engine = Engine(prior, batch="auto" if self._batch is None else self._batch).start()
            with self._lock:
                self._engines[name], self._priors[name] = engine, prior
                self._shapes[name] = prior.image_shape
                idle = [one for one, other in self._engines.items() if one != name and not other.stats.runs]
                gone = [self._engines.pop(one) for one in idle[: max(len(self._engines) - self._most, 0)]]
                self._priors = {one: prior for one, prior in self._priors.items() if one in self._engines}
            for old in gone:
                old.close(drain=math.inf)
            return engine

    def prior(self, name: str) -> DiffusionPrior:
        """What the engine of a name restores with; as :meth:`engine`."""
        while True:
            self.engine(name)
            with self._lock:
                if name in self._priors:
                    return self._priors[name]

    def shape(self, name: str) -> tuple[int, int, int] | None:
        """(C, H, W) of a prior's images; None where it has not been loaded yet."""
        return self._shapes.get(name)

    def loaded(self, name: str) -> bool:
        """Whether a prior's engine is there now."""
        with self._lock:
            return name in self._engines

    def stats(self) -> Iterator[tuple[str, Stats]]:
        """What every engine has counted."""
        with self._lock:
            engines = list(self._engines.items())
        for name, engine in engines:
            yield name, engine.stats

    def close(self) -> None:
        """End all engines; what they have not finished is lost here, but for its state."""
        with self._lock:
            engines = list(self._engines.values())
            self._engines.clear()
        for engine in engines:
            engine.close()


def known_as(source: str) -> str:
    """What clients call a prior: no path of the server's."""
    path = Path(source)
    if source in EMBEDDED or source in KNOWN or not path.exists():
        return source
    return path.resolve().name if path.is_dir() else path.stem
