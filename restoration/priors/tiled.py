"""A prior for pictures larger than its own: overlapping windows, blended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from degradations.arguments import whole
from degradations.operator import checked_shape
from restoration.priors.asking import AskingPrior
from solvers import Prior, Question, identity_of

TILE_BATCH = 16


class TiledPrior(AskingPrior):
    """A prior for H₀ × W₀ as one for any H × W at least as large.

    x̂₀ of a picture is the blend of x̂₀ of overlapping H₀ × W₀ windows, weighted by raised cosines that sum to one
    at every pixel. The solver sees one prior of the picture's size, so that a measurement holds across seams, and
    an evaluation of all windows counts as one (NFE). Work is proportional to the pixels; the network gets at most
    ``tile_batch`` windows at once. A picture of the prior's own size gets the prior's own answer, bit for bit.

    Measured (``benchmarks.studies.seams``; one photo at 320 × 256, 50 % inpainted, 3 × 5 evaluations, 64 × 64
    windows of a briefly trained photo prior): gradient energy on window borders against beside them, restored and
    clean, was 1.53 and 0.86 at overlap 0 (20 windows, 22.23 dB), 0.99 and 0.95 at overlap 8 (30 windows, 22.41
    dB), and shifted at overlap 8 1.13 and 1.14 (42 windows, 22.42 dB). So an eighth overlaps and nothing shifts by
    default.

    Args:
        prior: what is known of H₀ × W₀ images.
        image_shape: (C, H, W) of the pictures, C as the prior's.
        overlap: of neighbouring windows, in pixels, at least; None is an eighth of the window's smaller side.
        tile_batch: windows evaluated at once. It bounds the memory and does not change the result (to rounding).
        shift: move the windows from level to level, so that no seam stays in its place; one window more along each
            side. With faces-64, which knows no such photo, it was worth 0.04 (SR4) to 0.14 dB (inpainting).

    Raises:
        ValueError: a shape that is smaller than the prior's or has other channels; an overlap that leaves a window
            nothing of its own; a tile batch below 1.
    """

    def __init__(
        self,
        prior: Prior,
        image_shape: Sequence[int],
        overlap: int | None = None,
        tile_batch: int = TILE_BATCH,
        shift: bool = False,
    ) -> None:
        channels, height, width = prior.image_shape
        shape = checked_shape("image_shape", image_shape)
        if len(shape) != 3 or shape[0] != channels or shape[1] < height or shape[2] < width:
            raise ValueError(
                f"image_shape must be ({channels}, H, W) of at least the prior's {height}×{width}: got {shape}"
            )
        super().__init__(prior)
        self.image_shape = (shape[0], shape[1], shape[2])
        self.overlap, self.tile_batch = check_tiling(prior, overlap, tile_batch), tile_batch
        self.shift = shift
        if hasattr(prior, "denoise_at"):  # else this one, too, answers at whole levels only
            self.denoise_at = self._denoise_at

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers: the tile batch is no part of it."""
        tiling = f"tiled {tuple(self.prior.image_shape)} {self.image_shape} {self.overlap} {self.shift}"
        return f"{identity_of(self.prior)} {tiling}"

    def windows(self, k: int) -> list[tuple[int, int]]:
        """(top, left) of every window evaluated at level k."""
        return list(product(*self.starts_at(k)))

    def _denoise_at(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) from x = x₀ + σ ε with any noise, and with gradients, as the prior's own ``denoise_at``.

        Args:
            x: variance exploding, on the [-1, 1] scale.
            sigma: (B,), above 0, on the [-1, 1] scale; with ``shift`` one for all.
        """
        at = self.prior.denoise_at  # type: ignore[attr-defined]
        _, height, width = self.prior.image_shape
        k = int(self.schedule.level(sigma[:1].detach()).round())
        blended = _blended(self, k, height, width, x.device)
        places = [(b, top, left) for b in range(len(x)) for top, left in blended]
        x0 = torch.zeros_like(x)
        for first in range(0, len(places), self.tile_batch):
            some = places[first : first + self.tile_batch]
            windows = torch.stack([_window(x[b], top, left, height, width) for b, top, left in some])
            answers = at(windows, sigma[[b for b, _, _ in some]])
            for (b, top, left), answer in zip(some, answers, strict=True):
                _window(x0[b], top, left, height, width).add_(blended[top, left] * answer)
        return x0

    def split(self, question: Question) -> Windows:
        """One question as questions of the prior's own size, to be answered in any order and put together.

        Raises:
            ValueError: images of another shape.
        """
        if tuple(question.x.shape[1:]) != self.image_shape:
            wanted = ", ".join(map(str, self.image_shape))
            raise ValueError(f"x_k must be (B, {wanted}): got {tuple(question.x.shape)}")
        return Windows(self, question)

    def starts_at(self, k: int) -> tuple[list[int], list[int]]:
        """First rows and first columns of the windows at level k."""
        _, height, width = self.prior.image_shape
        # multiples of the plastic number's powers: neither repeats, and together they fill the square evenly
        down, across = (k * 0.7548776662 % 1, k * 0.5698402910 % 1) if self.shift else (None, None)
        return (
            starts(self.image_shape[1], height, self.overlap, down),
            starts(self.image_shape[2], width, self.overlap, across),
        )


class Windows:
    """One question to a tiled prior as questions of its own size, and the answers put together.

    Args:
        tiled: the prior.
        question: of whole images (B, C, H, W).
    """

    def __init__(self, tiled: TiledPrior, question: Question) -> None:
        self._tiled, self._x, self._levels = tiled, question.x, question.levels()
        self._same = None if isinstance(question.k, Tensor) else question.k
        self._whole = tiled.image_shape == tuple(tiled.prior.image_shape)
        self._x0 = torch.zeros(0) if self._whole else torch.zeros_like(question.x, dtype=torch.float32)
        self._weights: dict[int, dict[tuple[int, int], Tensor]] = {}
        self._places: list[tuple[int, int, int]] = []
        if self._whole:
            return
        height, width = tiled.prior.image_shape[1:]
        for b, k in enumerate(self._levels.tolist()):
            if k not in self._weights:
                self._weights[k] = _blended(tiled, k, height, width, question.x.device)
            self._places += [(b, top, left) for top, left in self._weights[k]]

    @property
    def count(self) -> int:
        """How many images of the prior's own size there are to be denoised."""
        return len(self._x) if self._whole else len(self._places)

    def __len__(self) -> int:
        """How many questions there are, of at most ``tile_batch`` windows each."""
        return math.ceil(self.count / self._tiled.tile_batch)

    def question(self, i: int) -> Question:
        """The i-th question, of the prior's own size."""
        return self.part(*self._range(i))

    def answer(self, i: int, x0: Tensor) -> None:
        """Put in the answer to the i-th question, once."""
        self.put(*self._range(i), x0)

    def part(self, first: int, last: int) -> Question:
        """The windows from ``first`` to before ``last``, as one question of the prior's own size."""
        if self._whole:
            x, levels = self._x[first:last], self._levels[first:last]
        else:
            height, width = self._tiled.prior.image_shape[1:]
            places = self._places[first:last]
            x = torch.stack([_window(self._x[b], top, left, height, width) for b, top, left in places])
            levels = self._levels[[b for b, _, _ in places]]
        return Question(x, levels if self._same is None else self._same)

    @torch.no_grad()
    def put(self, first: int, last: int, x0: Tensor) -> None:
        """Put in the answer to :meth:`part`; parts are answered in order and once."""
        if self._whole:
            whole = (first, last) == (0, len(self._x))
            self._x0 = x0 if whole else torch.cat([self._x0, x0]) if first else x0
            return
        height, width = self._tiled.prior.image_shape[1:]
        for (b, top, left), answer in zip(self._places[first:last], x0, strict=True):
            weights = self._weights[int(self._levels[b])][top, left]
            _window(self._x0[b], top, left, height, width).add_(weights * answer)

    @property
    def x0(self) -> Tensor:
        """x̂₀ (B, C, H, W) float32, once every question is answered."""
        return self._x0

    def _range(self, i: int) -> tuple[int, int]:
        first = i * self._tiled.tile_batch
        return first, min(first + self._tiled.tile_batch, self.count)


def _blended(
    tiled: TiledPrior, k: int, height: int, width: int, device: torch.device
) -> dict[tuple[int, int], Tensor]:
    """The weights (height, width) of every window at level k, by its place."""
    tops, lefts = tiled.starts_at(k)
    across = [weights.to(device) for weights in blending(lefts, width, tiled.image_shape[2])]
    down = [weights.to(device)[:, None] for weights in blending(tops, height, tiled.image_shape[1])]
    return {(top, left): down[i] * across[j] for (i, top), (j, left) in product(enumerate(tops), enumerate(lefts))}


def _window(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A view of a part of (C, H, W)."""
    return image[:, top : top + height, left : left + width]


def starts(length: int, window: int, overlap: int, phase: float | None = None) -> list[int]:
    """Where windows along a side begin: the fewest that overlap enough, evenly spread, the last at the end.

    Args:
        length, window: of the picture's side and the window's, pixels.
        overlap: of neighbours, at least, pixels.
        phase: 0 … 1, how far along all but the outermost windows are moved, in steps; that takes one more. None
            moves nothing.
    """
    last = length - window
    steps = math.ceil(last / (window - overlap))
    if steps == 0:
        return [0]
    if phase is None:
        return [round(i * last / steps) for i in range(steps + 1)]
    moved = [0, *(math.floor((i + phase) * last / steps) for i in range(steps)), last]
    return sorted(set(moved))


def blending(begins: Sequence[int], window: int, length: int) -> list[Tensor]:
    """(window,) float32 weights of every window along a side: raised cosines, over their sum at each pixel."""
    bump = torch.sin((torch.arange(window, dtype=torch.float64) + 0.5) * (math.pi / window)) ** 2
    total = torch.zeros(length, dtype=torch.float64)
    for begin in begins:
        total[begin : begin + window] += bump
    return [(bump / total[begin : begin + window]).float() for begin in begins]


def check_tiling(prior: Prior, overlap: int | None, tile_batch: int) -> int:
    """The overlap to tile a prior with, in pixels.

    Raises:
        ValueError: an overlap that leaves a window nothing of its own; a tile batch below 1.
    """
    whole("tile_batch", tile_batch)
    if overlap is not None:
        whole("overlap", overlap)
    side = min(prior.image_shape[1:])
    if overlap is not None and not 0 <= overlap < side:
        raise ValueError(f"overlap must be from 0 to {side - 1} pixels for windows of {side}: got {overlap}")
    if tile_batch < 1:
        raise ValueError(f"tile_batch must be at least 1: got {tile_batch}")
    return side // 8 if overlap is None else overlap


def prior_for(
    prior: Prior, image_shape: Sequence[int], overlap: int | None = None, tile_batch: int = TILE_BATCH
) -> Prior:
    """The prior itself where it describes images of that shape, else a :class:`TiledPrior` of it."""
    if tuple(prior.image_shape) == tuple(image_shape):
        return prior
    return TiledPrior(prior, image_shape, overlap, tile_batch)
