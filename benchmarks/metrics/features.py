"""What a network says of an image, as far as statistics need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

INCEPTION = "inception"


@dataclass(frozen=True)
class FeatureSpace:
    """Which features these are: statistics are merged and compared only where this is equal.

    Args:
        name: "inception" is torch-fidelity's Inception at 2048 features, and nothing else may have that name.
        dim: how many numbers an image has.
        detail: what decides them: a hash of the weights, the layer, the noise level.
    """

    name: str
    dim: int
    detail: str

    @property
    def frechet_name(self) -> str:
        """What the Fréchet distance is called: FID on Inception's features, FD-… on any others."""
        return "FID" if self.name == INCEPTION else f"FD-{self.name}"

    @property
    def kernel_name(self) -> str:
        """What the kernel distance is called: KID on Inception's features, KD-… on any others."""
        return "KID" if self.name == INCEPTION else f"KD-{self.name}"


class Features(Protocol):
    """Images as points, whose distribution is compared."""

    space: FeatureSpace

    def __call__(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """(B, dim) float32 on the network's device, from (B, C, H, W) in [0, 1] on any; one name an image."""
        ...
