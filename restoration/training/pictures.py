"""Training pictures: read once, kept as bytes, given out in batches."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.sources import Source
from solvers.units import to_model

_LANCZOS = Image.Resampling.LANCZOS
Pixels: TypeAlias = npt.NDArray[np.uint8]
KEPT_BYTES = 4 << 30
"""How many bytes of decoded pictures stay in memory, in each process. Of a photograph larger than its share of
them a part is kept, drawn by its name; whole pictures beyond them are decoded again at every visit."""
READERS = 8
"""Threads that decode at a time: a picture of 12 million pixels takes half a gigabyte while it is decoded."""
IN_A_ROW = 100
"""So many pictures that cannot be read any more, one after another, end a run."""
HELD_OUT = 256
"""At most so many pictures are kept from training, to be measured on."""


@dataclass(frozen=True)
class Form:
    """What a picture becomes: `channels` × `size` × `size`, by random crops or as a whole."""

    size: int
    channels: int
    crop: bool

    def prepare(self, source: Source) -> Pixels:
        """(C, H, W): to be cropped, or already the square of `size` from its middle.

        Raises:
            ImageError: damaged, or smaller than `size`.
        """
        pixels = images.decode(source.read(), source.name)
        if len(pixels) != self.channels:
            pixels = pixels.mean(0, keepdim=True) if self.channels == 1 else pixels.expand(3, -1, -1)
        array: Pixels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        height, width = array.shape[1:]
        side = min(height, width)
        if side < self.size:  # enlarged, it would teach blur
            raise ImageError(f"{source.name}: {width} x {height} is smaller than --size {self.size}")
        if self.crop:
            return array
        top, left = (height - side) // 2, (width - side) // 2
        square = array[:, top : top + side, left : left + side]
        planes = [np.asarray(Image.fromarray(plane).resize((self.size,) * 2, _LANCZOS)) for plane in square]
        return np.stack(planes)

    def view(self, pixels: Pixels, draw: np.random.Generator) -> Pixels:
        """One training example (C, size, size) of a prepared picture."""
        if not self.crop:
            return pixels
        top, left = (int(draw.integers(side - self.size + 1)) for side in pixels.shape[1:])
        return pixels[:, top : top + self.size, left : left + self.size]


class Pictures:
    """A collection that can be read: its sources, those kept decoded, and those that had to be skipped.

    Args:
        sources: where the pictures are.
        form: what they become.
        watch: told now and then how many have been read; what it raises ends the reading.
    """

    def __init__(
        self, sources: Sequence[Source], form: Form, watch: Callable[[int], object] = lambda done: None
    ) -> None:
        self.form = form
        self.cut = 0
        self._share = KEPT_BYTES // max(len(sources), 1)
        self.names: list[str] = []
        self.skipped: list[str] = []
        self._sources: list[Source] = []
        self._pixels: list[Pixels | None] = []
        self._kept = 0
        # decoders let go of the interpreter; each thread would put back what another ignores
        with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as threads, warnings.catch_warnings():
            for start in range(0, len(sources), 256):
                some = sources[start : start + 256]
                for source, result in zip(some, threads.map(self._try, some), strict=True):
                    self._add(source, result)
                watch(start + len(some))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        kept = self._pixels[index]
        return self.form.prepare(self._sources[index]) if kept is None else kept

    def _try(self, source: Source) -> Pixels | str:
        try:
            return self.form.prepare(source)
        except (ImageError, OSError) as error:
            if isinstance(error.__cause__, MemoryError):  # no fault of the picture's
                raise MemoryError from None
            return str(error)

    def _add(self, source: Source, result: Pixels | str) -> None:
        if isinstance(result, str):
            self.skipped.append(result)
            return
        part = self._part(result, source.name)
        self.cut += part is not result
        result = part
        keep = self._kept + result.nbytes <= KEPT_BYTES
        self._kept += result.nbytes if keep else 0
        self.names.append(source.name)
        self._sources.append(source)
        self._pixels.append(result if keep else None)

    @property
    def again(self) -> int:
        """How many have to be decoded at every visit."""
        return sum(pixels is None for pixels in self._pixels)

    def _part(self, pixels: Pixels, name: str) -> Pixels:
        """A square of the picture's share of the memory, or all of it."""
        side = max(math.isqrt(self._share // self.form.channels), self.form.size)
        if not self.form.crop or pixels.nbytes <= self._share or max(pixels.shape[1:]) <= side:
            return pixels
        draw = np.random.default_rng(list(_digest(name)))
        top, left = (int(draw.integers(max(length - side, 0) + 1)) for length in pixels.shape[1:])
        return pixels[:, top : top + side, left : left + side].copy()

    def digest(self) -> str:
        """Their number, and a hash that is equal for the same names in the same order."""
        return f"{len(self)} ({_digest(chr(10).join(self.names)).hex()[:12]})"

    def held_out(self) -> list[int]:
        """Which ones training leaves out, chosen by their names: one in fifty, 8 to 256, a fifth at most."""
        count = min(max(round(len(self) / 50), 8), HELD_OUT, len(self) // 5)
        return sorted(range(len(self)), key=lambda i: _digest(self.names[i]))[:count]

    def examples(self, indices: Sequence[int], count: int, seed: int = 0) -> Tensor:
        """`count` or fewer examples (N, C, size, size) on the [-1, 1] scale; several crops of a picture."""
        draw = np.random.default_rng(seed)
        indices = indices[:count]
        each = math.ceil(count / max(len(indices), 1)) if self.form.crop else 1
        prepared = (self[i] for i in indices)
        some = [self.form.view(pixels, draw) for pixels in prepared for _ in range(each)]
        return scaled(torch.from_numpy(np.stack(some[:count])))


class Batches(IterableDataset[Tensor]):
    """Endless batches (B, C, size, size) uint8, every picture once a round, in an order drawn from `seed`."""

    def __init__(self, pictures: Pictures, indices: Sequence[int], batch: int, flip: bool, seed: Sequence[int]):
        self.pictures, self.indices, self.batch, self.flip, self.seed = pictures, indices, batch, flip, seed

    def __iter__(self) -> Iterator[Tensor]:
        worker: Any = get_worker_info()
        draw = np.random.default_rng([*self.seed, worker.id if worker else 0])
        rounds = self._rounds(draw)
        while True:
            views = [self.pictures.form.view(self._next(rounds), draw) for _ in range(self.batch)]
            if self.flip:
                turned = draw.random(self.batch) < 0.5
                views = [view[..., ::-1] if turn else view for view, turn in zip(views, turned, strict=True)]
            yield torch.from_numpy(np.stack(views))

    def _next(self, rounds: Iterator[int]) -> Pixels:
        """The next picture that can (still) be read: a file may go, a network drive may fail."""
        for _ in range(IN_A_ROW):
            with suppress(ImageError, OSError):
                return self.pictures[next(rounds)]
        raise ImageError(f"{IN_A_ROW} pictures in a row cannot be read any more")

    def _rounds(self, draw: np.random.Generator) -> Iterator[int]:
        while True:
            yield from (self.indices[i] for i in draw.permutation(len(self.indices)))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


def scaled(pixels: Tensor) -> Tensor:
    """uint8 to float32 on the [-1, 1] scale."""
    return to_model(pixels.float() / 255)
