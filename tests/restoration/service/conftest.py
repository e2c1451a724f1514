"""A small prior known in closed form, a clock that only the network moves, and measurements of many kinds."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, simulate
from restoration.priors import GaussianPrior
from solvers import NoiseSource

SIDE = 8


def gaussian() -> GaussianPrior:
    """Images of 3 × 8 × 8 whose neighbours are alike."""
    at = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), dim=-1).reshape(-1, 2)
    near = torch.exp(-torch.cdist(at.double(), at.double()) / 3)
    colour = torch.full((3, 3), 0.8, dtype=torch.float64) + 0.2 * torch.eye(3, dtype=torch.float64)
    return GaussianPrior(torch.zeros(3, SIDE, SIDE), 0.2 * torch.kron(colour, near))


class Clock:
    """Stands still but for what is added to it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """A prior whose calls take time on a clock: ``call`` seconds and ``piece`` more for every image in it."""

    def __init__(self, clock: Clock, call: float = 0.0, piece: float = 1.0) -> None:
        self.inner, self.clock, self.call, self.piece = gaussian(), clock, call, piece
        self.schedule, self.image_shape = self.inner.schedule, self.inner.image_shape
        self.device, self.name = self.inner.device, "timed"
        self.sizes: list[int] = []
        self.before: Callable[[Tensor], None] = lambda x: None

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def rmse(self, k: int) -> float:
        return self.inner.rmse(k)

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        self.before(x_k)
        self.sizes.append(len(x_k))
        self.clock.now += self.call + self.piece * len(x_k)
        return self.inner.denoise(x_k, k)


def measurement(seed: int, side: tuple[int, int] | None = None, kind: str | None = None) -> Measurement:
    """Of a random picture, task, size and noise."""
    draw = random.Random(seed)
    height, width = side or (draw.choice([8, 8, 12, 16]), draw.choice([8, 8, 10, 20]))
    noise = NoiseSource([seed])
    x = (0.5 + 0.2 * noise.normal((1, 3, height, width))).clamp(0, 1)
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[0, 0] = True
    shape = (3, height, width)
    operators = {
        "denoise": lambda: Denoising(shape),
        "sr": lambda: SuperResolution(shape, 2),
        "inpaint": lambda: Inpainting(shape, mask),
        "colorize": lambda: Colorization(shape),
    }
    operator = operators[kind or draw.choice(sorted(operators))]()
    sigma = 0.1 if isinstance(operator, Denoising) else draw.choice([0.0, 0.05])
    return simulate(x, operator, sigma, noise=noise)


@pytest.fixture
def clock() -> Clock:
    return Clock()
