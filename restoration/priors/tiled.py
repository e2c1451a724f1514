"""A prior for pictures larger than its own: overlapping windows, blended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from solvers import NoiseSchedule, Prior

Shape = tuple[int, int, int]
TILE_BATCH = 16


class TiledPrior:
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
        shape = tuple(image_shape)
        if len(shape) != 3 or shape[0] != channels or shape[1] < height or shape[2] < width:
            raise ValueError(
                f"image_shape must be ({channels}, H, W) of at least the prior's {height}×{width}: got {shape}"
            )
        self.prior = prior
        self.image_shape: Shape = (shape[0], shape[1], shape[2])
        self.overlap, self.tile_batch = check_tiling(prior, overlap, tile_batch), tile_batch
        self.shift = shift

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    @property
    def device(self) -> torch.device:
        """Where the prior computes; AttributeError where it does not say."""
        return torch.device(getattr(self.prior, "device"))  # noqa: B009  # no part of the protocol

    @property
    def name(self) -> str:
        """The prior's."""
        return str(getattr(self.prior, "name", type(self.prior).__name__))

    @property
    def calibration(self) -> object:
        """The prior's; None where it has none."""
        return getattr(self.prior, "calibration", None)

    @property
    def weights_sha256(self) -> str:
        """The prior's; AttributeError where it has no weights."""
        return str(getattr(self.prior, "weights_sha256"))  # noqa: B009  # no part of the protocol

    @property
    def fingerprint(self) -> str:
        """Equal for priors that give the same answers: the tile batch is no part of it."""
        identity = getattr(self.prior, "fingerprint", type(self.prior).__name__)
        return f"{identity} tiled {self.prior.image_shape} {self.image_shape} {self.overlap} {self.shift}"

    def windows(self, k: int) -> list[tuple[int, int]]:
        """(top, left) of every window evaluated at level k."""
        return list(product(*self._starts(k)))

    @torch.no_grad()
    def denoise(self, x_k: Tensor, k: int) -> Tensor:
        """x̂₀ (B, C, H, W) float32, unclipped, from x_k at level k; a function of x_k and k alone."""
        if tuple(x_k.shape[1:]) != self.image_shape:
            raise ValueError(f"x_k must be (B, {', '.join(map(str, self.image_shape))}): got {tuple(x_k.shape)}")
        if self.image_shape == tuple(self.prior.image_shape):
            return self.prior.denoise(x_k, k)
        height, width = self.prior.image_shape[1:]
        tops, lefts = self._starts(k)
        across = [weights.to(x_k.device) for weights in blending(lefts, width, self.image_shape[2])]
        down = [weights.to(x_k.device)[:, None] for weights in blending(tops, height, self.image_shape[1])]
        places = list(product(range(len(x_k)), range(len(tops)), range(len(lefts))))
        x0 = torch.zeros_like(x_k, dtype=torch.float32)
        for first in range(0, len(places), self.tile_batch):
            batch = places[first : first + self.tile_batch]
            windows = [_window(x_k[b], tops[i], lefts[j], height, width) for b, i, j in batch]
            answers = self.prior.denoise(torch.stack(windows), k)
            for (b, i, j), answer in zip(batch, answers, strict=True):
                _window(x0[b], tops[i], lefts[j], height, width).add_(down[i] * across[j] * answer)
        return x0

    def _starts(self, k: int) -> tuple[list[int], list[int]]:
        """First rows and first columns of the windows at level k."""
        _, height, width = self.prior.image_shape
        # multiples of the plastic number's powers: neither repeats, and together they fill the square evenly
        down, across = (k * 0.7548776662 % 1, k * 0.5698402910 % 1) if self.shift else (None, None)
        return (
            starts(self.image_shape[1], height, self.overlap, down),
            starts(self.image_shape[2], width, self.overlap, across),
        )


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
