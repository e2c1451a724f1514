"""Learned perceptual similarity."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.pixels import check_pair
from benchmarks.metrics.weights import Weights, load, require
from restoration.errors import first_line
from solvers.units import to_model

MODULES = ("lpips", "torchvision")
WEIGHTS = Weights(
    "AlexNet's",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "--lpips-weights",
    "https://pytorch.org/vision/stable/models/alexnet.html",
)
SMALLEST = 31


class LPIPS:
    """Distance of two images in AlexNet's layers, weighed as people do: LPIPS 0.1 (Zhang et al., 2018).

    It is computed by the library ``lpips``. Its linear weights come with it; only AlexNet's are fetched.

    Args:
        weights: torchvision's AlexNet, as its file; the published one, fetched once into torch's cache, if not
            given.
        device: where it runs.

    Raises:
        MetricError: lpips is not installed, no weights to be had, or not AlexNet's.
    """

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        require(*MODULES)
        import lpips

        path = WEIGHTS.find(weights)
        tensors = load(path)
        with warnings.catch_warnings():  # of torchvision, about how lpips asks it for a network
            warnings.simplefilter("ignore")
            with torch.random.fork_rng(devices=[]):  # it begins with random weights, from the global generator
                network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
        linear = load(Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth")
        trunk = {_place(name): tensor for name, tensor in tensors.items() if name.startswith("features.")}
        linear |= {
            f"lins.{name[3:]}": tensor for name, tensor in linear.items()
        }  # the same layers by another name
        scaling = {
            name: value for name, value in network.state_dict().items() if name.startswith("scaling_layer.")
        }
        try:
            network.load_state_dict({**trunk, **linear, **scaling})
        except RuntimeError as error:
            raise MetricError(f"{path}: are not torchvision's AlexNet weights: {first_line(error)}") from None
        self.network, self.device = network.requires_grad_(False).to(device), torch.device(device)

    @torch.no_grad()
    def __call__(self, restored: Tensor, original: Tensor) -> Tensor:
        """(B,) float64 on the network's device, 0 for equal images.

        Both are (B, C, H, W) in [0, 1], clamped and not rounded. The network sees them in [-1, 1]; grey ones as
        RGB of three equal channels.

        Raises:
            ValueError: no images, not of one shape, or smaller than 31×31.
        """
        check_pair(restored, original)
        if min(original.shape[2:]) < SMALLEST:
            raise ValueError(f"LPIPS needs images of {SMALLEST}×{SMALLEST} or more: got {tuple(original.shape)}")
        pair = [
            to_model(images.to(self.device, torch.float32).clamp(0, 1).expand(-1, 3, -1, -1))
            for images in (restored, original)
        ]
        scores: Tensor = self.network(*pair)
        return scores.flatten().double()


def _place(name: str) -> str:
    """Where lpips keeps a layer of torchvision's: ``features.3.weight`` is ``net.slice2.3.weight``."""
    layer = name.split(".")[1]
    slices = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}
    return f"net.slice{slices.get(layer, 0)}.{name.removeprefix('features.')}"
