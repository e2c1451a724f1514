"""DreamSim: perceptual distance learned from people's judgements of whole pictures."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.pixels import check_pair
from restoration.errors import first_line

SIDE = 224


class DreamSim:
    """The library ``dreamsim``'s distance of two images, 0 for equal ones (Fu et al., 2023).

    It has no place of its own in this package's extras: it is used where it is installed. It fetches its weights.

    Raises:
        MetricError: dreamsim is not installed, or its weights are not to be had.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        if find_spec("dreamsim") is None:
            raise MetricError("dreamsim is not installed: pip install dreamsim")
        from dreamsim import dreamsim

        try:
            self.network, _ = dreamsim(pretrained=True, device=str(device))
        except Exception as error:  # of urllib, torch.hub, peft and timm
            raise MetricError(f"DreamSim's weights are not to be had here ({first_line(error)})") from None
        self.device = torch.device(device)

    @torch.no_grad()
    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """(B,) float64 on the network's device, of (B, C, H, W) in [0, 1], clamped; ValueError for other pairs."""
        check_pair(images, others)
        pair = [
            functional.interpolate(
                part.to(self.device, torch.float32).clamp(0, 1).expand(-1, 3, -1, -1),
                (SIDE, SIDE),
                mode="bicubic",
                antialias=True,
            ).clamp(0, 1)
            for part in (images, others)
        ]
        distances: Tensor = self.network(*pair)
        return distances.flatten().double()
