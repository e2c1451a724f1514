"""Pictures as clients want them: made by a few threads, a few at once for each client, and kept."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from restoration.service.formats import converted, own_type
from restoration.service.job import Job
from restoration.service.problems import ProblemError

THREADS = 2
"""Pictures that are made at the same time."""
MOST_AT_ONCE = 16
"""Pictures that one client may wait for."""
MOST_WATCHED = 64
"""Streams of events that one client may follow."""
KEPT_BYTES = 64 << 20
"""Of pictures that were made, and may be asked for again."""


class Showing:
    """Makes pictures in the format that is asked for, and counts who asks; used in one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "showing")
        self._asked: Counter[str] = Counter()
        self._watched: Counter[str] = Counter()
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    async def picture(
        self, job: Job, name: str, media_type: str, quality: int | None = None, asker: str | None = None
    ) -> bytes:
        """A picture of a job.

        Args:
            job, name: as ``Job.picture`` takes it.
            media_type, quality: of the format.
            asker: who is counted; None for one that is counted elsewhere.

        Raises:
            KeyError: there is none.
            ProblemError: 422: a format that cannot hold it; 429: too many are asked for at once.
        """
        with _counted(self._asked, asker, MOST_AT_ONCE, "pictures at once (one after another)"):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._content, job, name, media_type, quality)

    def watch(self, asker: str) -> None:
        """Count one who follows events, until :meth:`gone`; ProblemError 429 where there are too many."""
        if self._watched[asker] >= MOST_WATCHED:
            raise _too_many(MOST_WATCHED, "streams of events")
        self._watched[asker] += 1

    def gone(self, asker: str) -> None:
        """It does not follow any more."""
        self._watched[asker] -= 1
        if not self._watched[asker]:
            del self._watched[asker]

    def close(self) -> None:
        """Make no more; blocks."""
        self._threads.shutdown(cancel_futures=True)

    def _content(self, job: Job, name: str, media_type: str, quality: int | None) -> bytes:
        path, content = job.picture(name)
        own = "image/png" if path is None else own_type(path)
        if own == media_type and quality is None:
            return content if path is None else path.read_bytes()
        if path is None:
            return converted(content, media_type, quality)
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size, media_type, quality)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = converted(path, media_type, quality)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


@contextmanager
def _counted(counter: Counter[str], asker: str | None, most: int, what: str) -> Iterator[None]:
    if asker is None:
        yield
        return
    if counter[asker] >= most:
        raise _too_many(most, what)
    counter[asker] += 1
    try:
        yield
    finally:
        counter[asker] -= 1
        if not counter[asker]:
            del counter[asker]


def _too_many(most: int, what: str) -> ProblemError:
    return ProblemError(429, f"a client may have at most {most} {what}", {"Retry-After": "1"})
