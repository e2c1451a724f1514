"""torch-fidelity's Inception features, for FID and KID."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import INCEPTION, FeatureSpace
from benchmarks.metrics.pixels import check_images, to_uint8
from benchmarks.metrics.weights import Weights, load, require
from restoration.errors import first_line

MODULES = ("torch_fidelity", "torchvision")
WEIGHTS = Weights(
    "Inception's",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "--fid-weights",
    "https://github.com/toshas/torch-fidelity",
)
DIMS = {"64": 64, "192": 192, "768": 768, "2048": 2048}


class InceptionFeatures:
    """The activations that FID and KID are defined on, by the network of torch-fidelity (Obukhov et al., 2020).

    Images become 8 bits first (clamped, times 255, rounded), as files of them would be; grey ones become RGB of
    three equal channels. The network resizes to 299×299 as TensorFlow 1 did. On CUDA it runs in TF32 where torch's
    defaults say so, as torch-fidelity's own run would.

    Args:
        weights: a file in torch-fidelity's format, read with ``weights_only`` (torch-fidelity itself would run
            what is
            in it); the published one, fetched once into torch's cache, if not given.
        device: where it runs. layer: "2048" (pool3) is FID's; "64", "192" and "768" come earlier, and distances
            on them are not called FID.

    Raises:
        MetricError: torch-fidelity is not installed, no weights to be had, or not Inception's.
        ValueError: an unknown layer.
    """

    def __init__(
        self, weights: Path | None = None, device: torch.device | str = "cpu", layer: str = "2048"
    ) -> None:
        if layer not in DIMS:
            raise ValueError(f"layer must be one of {', '.join(DIMS)}: got {layer!r}")
        require(*MODULES)
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        path = WEIGHTS.find(weights)
        safe = io.BytesIO()  # it opens what it is given as a pickle that may run: it is given one of our making
        torch.save(load(path), safe)
        safe.seek(0)
        try:
            network = FeatureExtractorInceptionV3(INCEPTION, [layer], feature_extractor_weights_path=safe)
        except RuntimeError as error:
            raise MetricError(f"{path}: are not torch-fidelity's Inception weights: {first_line(error)}") from None
        self.network, self.device = network.to(device), torch.device(device)
        name = INCEPTION if layer == "2048" else f"{INCEPTION}-{layer}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.space = FeatureSpace(name, DIMS[layer], f"torch-fidelity layer {layer}, weights {digest}")

    @torch.no_grad()
    def __call__(self, images: Tensor, names: Sequence[str] = ()) -> Tensor:
        """(B, dim) float32 on the network's device; names are not needed. ValueError for what are no images."""
        check_images(images)
        pixels = to_uint8(images.to(self.device)).expand(-1, 3, -1, -1)
        features: Tensor = self.network(pixels)[0]
        return features
