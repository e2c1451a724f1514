"""What is kept of restorations on disk: facts and events in SQLite, pictures and states in files, all bounded.

    FOLDER/facts.sqlite
    FOLDER/ID/image, mask, run.state, result.png, 010.png, …

Ids are ours and never a client's words, so that no name that came over the wire becomes a path.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from nested import atomic_write
from restoration.errors import RestorationError

VERSION = 1
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")
_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, open INTEGER NOT NULL, until REAL, bytes INTEGER NOT NULL,
    facts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    run TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON runs (open, until);
"""


class StoreError(RestorationError):
    """The store cannot be used, or has no room left."""


@dataclass(frozen=True)
class Stored:
    """A run as it is stored.

    Args:
        id: of the run.
        owner: whose it is.
        facts: JSON.
        events: (seq, kind, data as JSON text), oldest first.
    """

    id: str
    owner: str
    facts: dict[str, Any]
    events: tuple[tuple[int, str, str], ...]


class Store:
    """A folder of runs. Every method may be called from any thread.

    Args:
        folder: made where it is missing; only one server at a time may use it.
        most_bytes: that pictures and states may take; beyond, the runs that ended first go first.

    Raises:
        StoreError: another server uses the folder, or it cannot be used.
    """

    def __init__(self, folder: Path, most_bytes: int = 4 << 30) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._used_by_us = FileLock(
                folder / ".lock", timeout=0, thread_local=False
            )  # closed in another thread
            self._used_by_us.acquire()
            self._facts = sqlite3.connect(folder / "facts.sqlite", check_same_thread=False, isolation_level=None)
            self._facts.execute("PRAGMA journal_mode=WAL")
            self._facts.execute("PRAGMA synchronous=NORMAL")
            (version,) = self._facts.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise StoreError(f"{folder} is of another version of this program: choose another --store")
            self._facts.executescript(_TABLES)
            self._facts.execute(f"PRAGMA user_version={VERSION}")
        except Timeout:
            raise StoreError(f"{folder} is in use by another server: choose another --store") from None
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{folder} cannot be used as a store: {error}") from None
        with self._told() as told:
            self._used = int(told.execute("SELECT COALESCE(SUM(bytes), 0) FROM runs").fetchone()[0])
        self._sweep()

    def close(self) -> None:
        """Let others use the folder."""
        with self._lock:
            self._facts.close()
        self._used_by_us.release()

    def new(self) -> str:
        """A place for a run, of whom nothing is known yet: an id that cannot be guessed, and its folder.

        Raises:
            OSError: there is no room.
        """
        id = secrets.token_urlsafe(16)
        (self.folder / id).mkdir(mode=0o700)
        return id

    def path(self, id: str, name: str) -> Path:
        """Of a file of a run."""
        if not _ID.fullmatch(id) or not _NAME.fullmatch(name):
            raise ValueError(f"no file of a run is named so: {id!r:.40}, {name!r:.60}")
        return self.folder / id / name

    def write(self, id: str, name: str, content: bytes | Callable[[BinaryIO], object]) -> Path:
        """A file of a run, whole or not at all. OSError where there is no room, on the disk or in the store."""
        path = self.path(id, name)
        if isinstance(content, bytes) and not self.has_room(len(content)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        atomic_write(path, content if callable(content) else lambda file: file.write(content))
        return path

    def save(
        self,
        id: str,
        owner: str,
        facts: dict[str, Any],
        *,
        open: bool,
        until: float | None,
        event: tuple[int, str, str] | None = None,
        new: bool = False,
        last: int | None = None,
    ) -> None:
        """Store what is known of a run, and what happened to it: both or nothing.

        Args:
            id, owner, facts: as in :class:`Stored`.
            open: it has not ended.
            until: seconds since 1970 at which it may go.
            event: (seq, kind, data as JSON text).
            new: it is not there yet. A run that has been removed does not come again.
            last: later events are forgotten.

        Raises:
            OSError: that fails, or the run has been removed.
        """
        size, before = self._size(id), 0
        kept = (owner, int(open), until, size, json.dumps(facts), id)
        with self._told() as told, _whole(told):
            if new:
                told.execute(
                    "INSERT INTO runs (owner, open, until, bytes, facts, id) VALUES (?, ?, ?, ?, ?, ?)", kept
                )
            else:
                before = _bytes_of(told, id)
                changed = told.execute(
                    "UPDATE runs SET owner = ?, open = ?, until = ?, bytes = ?, facts = ? WHERE id = ?", kept
                )
                if not changed.rowcount:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), id)
            if last is not None:
                told.execute("DELETE FROM events WHERE run = ? AND seq > ?", (id, last))
            if event is not None:
                told.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)", (id, *event))
            self._used += size - before

    def load(self, id: str) -> Stored | None:
        """A run; None where there is none of that id."""
        with self._told() as told:
            found = told.execute("SELECT id, owner, facts FROM runs WHERE id = ?", (id,)).fetchone()
            if found is None:
                return None
            events = told.execute("SELECT seq, kind, data FROM events WHERE run = ? ORDER BY seq", (id,))
            return Stored(found[0], found[1], json.loads(found[2]), tuple(events.fetchall()))

    def unfinished(self) -> list[str]:
        """Runs that had not ended, in the order in which they were accepted."""
        with self._told() as told:
            return [id for (id,) in told.execute("SELECT id FROM runs WHERE open = 1 ORDER BY rowid")]

    def remove(self, id: str) -> None:
        """Forget a run and its files."""
        with suppress(OSError), self._told() as told:
            self._used -= _bytes_of(told, id)
            told.execute("DELETE FROM runs WHERE id = ?", (id,))
            told.execute("DELETE FROM events WHERE run = ?", (id,))
        if _ID.fullmatch(id):
            shutil.rmtree(self.folder / id, ignore_errors=True)

    def expire(self, now: float | None = None) -> list[str]:
        """Remove the runs whose time is over; which they were."""
        with self._told() as told:
            rows = told.execute(
                "SELECT id FROM runs WHERE open = 0 AND until <= ?", (time.time() if now is None else now,)
            ).fetchall()
        for (id,) in rows:
            self.remove(id)
        return [id for (id,) in rows]

    def used(self) -> int:
        """Bytes of all runs, as they were when last saved."""
        return self._used

    def has_room(self, more: int) -> bool:
        """Whether so many bytes fit, once runs have made room that have ended, the oldest first."""
        while self.used() + more > self.most_bytes:
            with self._told() as told:
                oldest = told.execute("SELECT id FROM runs WHERE open = 0 ORDER BY until LIMIT 1").fetchone()
            if oldest is None:
                return False
            self.remove(oldest[0])
        return True

    def _size(self, id: str) -> int:
        with suppress(OSError):
            return sum(entry.stat().st_size for entry in os.scandir(self.folder / id))
        return 0

    def _sweep(self) -> None:
        """Remove folders of runs that had not been accepted when a server died, and parts of files."""
        with self._told() as told:
            known = {id for (id,) in told.execute("SELECT id FROM runs")}
        for entry in os.scandir(self.folder):
            if entry.is_dir(follow_symlinks=False) and _ID.fullmatch(entry.name):
                if entry.name not in known:
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    for part in Path(entry.path).glob(".*.part"):
                        part.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[sqlite3.Connection]:
        """The data base, for one at a time; what it cannot do is an OSError."""
        with self._lock:
            try:
                yield self._facts
            except sqlite3.Error as error:
                raise OSError(errno.EIO, f"the store's facts cannot be used: {error}") from None


def _bytes_of(told: sqlite3.Connection, id: str) -> int:
    found = told.execute("SELECT bytes FROM runs WHERE id = ?", (id,)).fetchone()
    return 0 if found is None else int(found[0])


@contextmanager
def _whole(told: sqlite3.Connection) -> Iterator[None]:
    """All that is done to a data base meanwhile, or nothing."""
    told.execute("BEGIN IMMEDIATE")
    try:
        yield
        told.execute("COMMIT")
    except BaseException:
        if told.in_transaction:
            told.execute("ROLLBACK")
        raise
