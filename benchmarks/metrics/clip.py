"""CLIP score: how well a picture fits its prompt, or another picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine.quiet import quiet
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.pixels import check_images, check_pair, to_uint8
from restoration.errors import first_line

DEFAULT = "openai/clip-vit-large-patch14"
AT_ONCE = 32
"""Pictures in one call of CLIP's network."""


class ClipScore:
    """100 · cos of CLIP's embeddings of picture and text, as torchmetrics has it.

    Images become 8 bits first, as files of them would be. Prompts longer than CLIP's are cut, as pipelines do.
    Source: Hessel et al., *CLIPScore*, 2021, without their factor of 2.5.

    Args:
        name: folder or hub id of a CLIP model in transformers' format. Nothing is downloaded: an id must be in the
            hub's cache.

    Raises:
        MetricError: transformers is not installed, or no such model here.
    """

    def __init__(self, name: str = DEFAULT, device: torch.device | str = "cpu") -> None:
        if find_spec("transformers") is None:
            raise MetricError("transformers is not installed: pip install transformers")
        from transformers import CLIPModel, CLIPProcessor

        try:
            with quiet():
                network: Any = CLIPModel.from_pretrained(name, local_files_only=True, use_safetensors=True)
                self.processor: Any = CLIPProcessor.from_pretrained(name, local_files_only=True)
        except Exception as error:  # transformers, tokenizers and the hub each raise their own kinds
            raise MetricError(
                f"CLIP's weights ({name}) are not here; fetch its folder (transformers' format, safetensors) and "
                f"give --clip FOLDER ({first_line(error)})"
            ) from None
        self.network = network.eval().requires_grad_(False).to(device)
        self.name, self.device = name, torch.device(device)

    @torch.no_grad()
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """(B,) float32 on the CPU, of (B, C, H, W) in [0, 1] and as many prompts; ValueError for others."""
        check_images(images)
        if len(prompts) != len(images):
            raise ValueError(f"prompts must be one an image: got {len(prompts)} for {len(images)}")
        pixels = to_uint8(images).expand(-1, 3, -1, -1).cpu()
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(pixels), AT_ONCE)]
        return torch.cat([self._scores(pixels[part], list(prompts[part])) for part in parts])

    @torch.no_grad()
    def alike(self, images: Tensor, others: Tensor) -> Tensor:
        """(B,) float64 on the CPU: 100 · cos of the embeddings of two pictures each, (B, C, H, W) in [0, 1].

        Raises:
            ValueError: no images, or not of one shape.
        """
        check_pair(images, others)
        first, second = (self._embedded(to_uint8(part).expand(-1, 3, -1, -1).cpu()) for part in (images, others))
        return 100 * torch.nn.functional.cosine_similarity(first, second)

    def _embedded(self, pixels: Tensor) -> Tensor:
        parts = []
        for some in torch.split(pixels, AT_ONCE):
            given = self.processor.image_processor(images=list(some), return_tensors="pt").to(self.device)
            pooled = self.network.vision_model(pixel_values=given["pixel_values"]).pooler_output
            parts.append(self.network.visual_projection(pooled))
        return torch.cat(parts).double().cpu()

    def _scores(self, pixels: Tensor, prompts: list[str]) -> Tensor:
        given = self.processor(
            text=prompts, images=list(pixels), return_tensors="pt", padding=True, truncation=True
        )
        output = self.network(**given.to(self.device))
        scores: Tensor = 100 * (output.image_embeds * output.text_embeds).sum(dim=-1)
        return scores.float().cpu()
