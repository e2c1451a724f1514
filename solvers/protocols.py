"""What solvers ask of the things they are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from solvers.noise import NoiseSource
from solvers.schedule import NoiseSchedule


class Prior(Protocol):
    """What is known of clean images: an estimate of x₀ from its noisy version.

    On the [-1, 1] scale, variance preserving: x_k = √ᾱ_k x₀ + √(1−ᾱ_k) ε.
    """

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels it was made for."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it describes."""
        ...

    def denoise(self, x_k: Tensor, k: int) -> Tensor:
        """x̂₀ = E[x₀ | x_k], (B, C, H, W) float32, unclipped. Costs one network evaluation (NFE)."""
        ...


class InnerProcess(Protocol):
    """A complete diffusion run from any level down to 0: what Nested Diffusion nests."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels it runs on."""
        ...

    def sample(self, x_k: Tensor, k: int, n: int, noise: NoiseSource) -> Iterator[Tensor]:
        """Run from x_k at level k in n steps; x̂₀ after every network evaluation, the last item is x₀."""
        ...

    def preview(self, x0: Tensor) -> Tensor:
        """What to show of x̂₀ while the run that made it has not ended."""
        ...

    def take(self, index: int) -> InnerProcess:
        """The process of one image of the batch."""
        ...

    def fingerprint(self) -> str:
        """Equal for processes that would compute the same, so that a stored state finds its run."""
        ...
