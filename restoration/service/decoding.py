"""Files that clients sent, first decoded where a hostile one can do no harm: in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from typing import Any

from restoration.errors import ImageError

START_S = 300.0
"""Seconds that the process may take to begin, on a machine with much else to do."""
DECODE_S = 20.0
"""Seconds that a picture may take to be decoded."""
MEMORY = 3 << 30
"""Bytes that decoding may take beyond what its process has at its start."""


class Decoder:
    """Processes that decode pictures first: one that fills the memory, hangs or crashes ends only it.

    They answer whether a picture can be read, and its size; who asks then reads the same bytes again, which have
    been found harmless. Nothing but JSON comes back.

    Args:
        seconds: that a picture may take.
        memory: bytes that it may.
        processes: at most; all but the first are started when the others are at work.
    """

    def __init__(self, seconds: float = DECODE_S, memory: int = MEMORY, processes: int = 2) -> None:
        self._all = [_Process(seconds, memory) for _ in range(processes)]
        self._free: LifoQueue[_Process] = LifoQueue()
        for process in reversed(self._all):
            self._free.put(process)

    def start(self) -> None:
        """Start the first process now, which takes seconds, and not with the first picture."""
        self._all[0].start()

    def check(
        self,
        image: Path,
        mask: Path | None,
        most_pixels: int,
        *,
        strokes: Path | None = None,
        coefficients: bool = False,
    ) -> None:
        """Decode a picture and its mask; blocks.

        Args:
            image, mask, strokes: files.
            most_pixels: that each may have.
            coefficients: read a JPEG's own numbers, too.

        Raises:
            ImageError: they cannot be read within bounds.
        """
        process = self._free.get()
        try:
            process.check(image, (mask, strokes), most_pixels, coefficients)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.close()


class _Process:
    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds, self._memory = seconds, memory
        self._lock = threading.Lock()
        self._process: Any = None
        self._ours: Connection | None = None

    def start(self) -> None:
        with self._lock:
            self._started()

    def check(self, image: Path, others: Sequence[Path | None], most_pixels: int, coefficients: bool) -> None:
        with self._lock:
            asked = {
                "files": [str(path) for path in (image, *others) if path is not None],
                "most": most_pixels,
                "coefficients": coefficients,
            }
            try:
                connection = self._started()
                connection.send_bytes(json.dumps(asked).encode())
                if not connection.poll(self._seconds):
                    self._end()
                    raise ImageError(f"{image}: takes more than {self._seconds:g} s to decode")
                answer = json.loads(connection.recv_bytes(1 << 16))
            except (EOFError, OSError):
                self._end()
                raise ImageError(f"{image}: cannot be decoded here: the decoder gave up") from None
        if answer["error"] is not None:
            raise ImageError(answer["error"])

    def close(self) -> None:
        with self._lock:
            self._end()

    def _started(self) -> Connection:
        if self._ours is None or not self._process.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            self._ours, theirs = context.Pipe()
            self._process = context.Process(target=_decode_on, args=(theirs, self._memory), daemon=True)
            self._process.start()
            theirs.close()
            if not self._ours.poll(START_S):
                self._end()
                raise ImageError("pictures cannot be decoded here: the decoder does not start")
            self._ours.recv_bytes(1 << 16)  # it is ready
        assert self._ours is not None
        return self._ours

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._ours is not None:
            self._ours.close()
        self._process = self._ours = None


def _decode_on(connection: Connection, memory: int) -> None:
    """What the process does until nobody asks any more."""
    import resource
    import signal

    import torch

    from restoration.pictures import images, jpeg

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the server's to answer
    torch.set_num_threads(1)
    try:
        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    except (OSError, ValueError):  # no Linux: time alone is bounded
        pass
    connection.send_bytes(b"ready")
    while True:
        try:
            asked = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        error = None
        try:
            for file in asked["files"]:
                _, height, width = images.read(Path(file)).pixels.shape
                if height * width > asked["most"]:
                    raise ImageError(
                        f"{file}: is {width}×{height}; this server takes {asked['most']:,} pixels at most"
                    )
            if asked["coefficients"]:
                jpeg.read(Path(asked["files"][0]))
        except ImageError as found:
            error = str(found)
        except MemoryError:
            error = f"{asked['files'][0]}: needs more memory to decode than it may have here"
        except Exception as found:
            error = f"{asked['files'][0]}: cannot be decoded ({type(found).__name__})"
        connection.send_bytes(json.dumps({"error": None if error is None else error[:2000]}).encode())
