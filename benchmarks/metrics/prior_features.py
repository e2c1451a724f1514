"""The diffusion prior's own bottleneck as features, where Inception's weights are not to be had."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.pixels import check_images, to_uint8
from restoration.priors import DiffusionPrior
from solvers import NoiseSource
from solvers.units import to_model

LEVEL = 50
"""Of 1,000 levels: under the linear schedule, noise of σ = 0.09 on the [0, 1] scale."""


class PriorFeatures:
    """A U-Net's mid-block output averaged over space; the Fréchet distance on it is FD-prior, never FID.

    An image becomes 8 bits (clamped, times 255, rounded), then [-1, 1], and is brought to level k of the prior's
    schedule, x_k = √ᾱ x₀ + √(1−ᾱ) ε, with ε drawn on the CPU from a seed made of the image's name: the features
    depend on picture and name alone, and a restored image meets the noise that its original met. An image
    larger than the prior is not resized but cut into as few windows of the prior's size as cover it, evenly
    spread, and its features are the windows' mean. A window costs less than half a network evaluation.

    FD-prior with ``faces-64`` at k = 50 of 512 test faces (64×64), degraded, against themselves:

    - white noise, σ 0.01, 0.02, 0.04, 0.08, 0.16, 0.32 on the [0, 1] scale, clamped:
      0.00002, 0.0001, 0.001, 0.010, 0.106, 0.77;
    - Gaussian blur, σ 0.5, 0.75, 1, 1.5, 2, 3, 4, 6 pixels: 0.011, 0.072, 0.20, 0.69, 1.4, 2.8, 4.0, 5.6;
    - mosaics of 2, 4, 8, 16 pixels a side: 0.050, 0.43, 1.4, 4.0.

    The reference's trace is 3.0, and two disjoint halves of the clean faces are 0.16 apart: the bias of 256 images
    in 128 dimensions. Fine noise weighs little, as the network is made to see through it.

    Every series grows at k = 1, 10, 50 and 150 alike (96 to 128 faces). Over the trace, blur and mosaics weigh 13
    to 25 % more at 50 than at 10, noise up to 25 % less; at 150 noise weighs half as much as at 50. Numbers of two
    priors, or of two levels, cannot be compared: ``space`` holds both.

    Args:
        prior: whose bottleneck.
        k: the level, 1 … K.

    Raises:
        MetricError: the prior's network has no mid-block.
        ValueError: k is no level of its schedule.
    """

    def __init__(self, prior: DiffusionPrior, k: int = LEVEL) -> None:
        block = prior.network.mid_block
        if block is None:
            raise MetricError(f"{prior.name}: its network has no mid-block to take features from")
        if not 1 <= k <= prior.schedule.K:
            raise ValueError(f"k must be from 1 to {prior.schedule.K}: got {k}")
        self.prior, self.k = prior, k
        self._noise: tuple[object, Tensor] = ((), torch.empty(0))
        dim = prior.network.config.block_out_channels[-1]
        self.space = FeatureSpace("prior", dim, f"mid-block, k = {k}, noise by name, {prior.fingerprint()}")

    @torch.no_grad()
    def __call__(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """(B, dim) float32 on the prior's device; see ``Features``.

        Raises:
            ValueError: images of other channels than the prior's, or smaller than it; not one name an image.
        """
        check_images(images)
        channels, height, width = self.prior.image_shape
        if images.shape[1] != channels or images.shape[2] < height or images.shape[3] < width:
            raise ValueError(
                f"images must have {channels} channels and at least {height}×{width} pixels for the features of "
                f"{self.prior.name}: got {tuple(images.shape)}"
            )
        if len(names) != len(images):
            raise ValueError(f"names must be one an image: got {len(names)} for {len(images)}")
        noise = self._noise_of(names, images.shape)
        alpha_bar = self.prior.schedule.alpha_bar(self.k)
        clean = to_model(to_uint8(images.to(self.prior.device)).float() / 255)
        x_k = math.sqrt(alpha_bar) * clean + math.sqrt(1 - alpha_bar) * noise
        rows, columns = _starts(images.shape[2], height), _starts(images.shape[3], width)
        windows = [x_k[:, :, top : top + height, left : left + width] for top in rows for left in columns]
        return torch.stack([self._bottleneck(window) for window in windows]).mean(dim=0)

    def _noise_of(self, names: Sequence[str], shape: Sequence[int]) -> Tensor:
        """ε of these pictures, kept for as long as the same are asked for: many methods restore each."""
        asked = (tuple(names), tuple(shape))
        if self._noise[0] != asked:
            drawn = NoiseSource([_seed(name) for name in names]).normal(shape)
            self._noise = asked, drawn.to(self.prior.device)
        return self._noise[1]

    def _bottleneck(self, x_k: Tensor) -> Tensor:
        """(B, dim): the mid-block's output for (B, C, H, W) of the prior's size, averaged over space."""
        network, label = self.prior.network, self.prior.class_label
        labels = None if label is None else torch.full((len(x_k),), label, device=x_k.device)
        hook = network.mid_block.register_forward_hook(_stop)
        try:  # forward, not the call: a compiled network would pass by the hook
            network.forward(x_k.to(network.dtype), self.k - 1, class_labels=labels)
        except _Reached as reached:
            return reached.output.float().mean(dim=(2, 3))
        finally:
            hook.remove()
        raise MetricError(f"{self.prior.name}: its network passes its own mid-block by")


class _Reached(Exception):  # noqa: N818 - it is no error
    """The bottleneck's output is there, and the larger half of the network need not run."""

    def __init__(self, output: Tensor) -> None:
        self.output = output


def _stop(module: torch.nn.Module, inputs: tuple[object, ...], output: Tensor) -> None:
    raise _Reached(output)


def _starts(size: int, window: int) -> list[int]:
    """Where windows begin along a side: as few as cover it, evenly spread."""
    count = math.ceil(size / window)
    return [round(i * (size - window) / max(count - 1, 1)) for i in range(count)]


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
