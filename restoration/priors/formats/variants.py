"""The one network of the field that ``UNet2DModel``'s configuration cannot express."""

from __future__ import annotations

import functools
from typing import Any

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps


class GuidedUNet2DModel(UNet2DModel):  # type: ignore[misc]  # diffusers is untyped
    """``UNet2DModel`` with two freedoms of OpenAI's guided-diffusion, and otherwise its parent.

    - A fixed *count* of attention heads over several widths (ImageNet 128): ``attention_head_dim`` may be
      ``{"heads": 4, "heads_upsample": 4}``, the counts on the way down and in the middle, and on the way up.
    - A first ``channel_mult`` that is not 1 (ImageNet 512): the sinusoidal embedding is as wide as the model's
      base, ``time_embedding_dim // 4``, and not as its first level.

    The parent cannot load what this class saves: a mapping is no head width (``TypeError``), and the first weight
    of the time embedding has another shape.

    Args: those of ``UNet2DModel``, by keyword.
    """

    # diffusers knows a configuration's keys by the constructor's signature
    @functools.wraps(UNet2DModel.__init__)  # type: ignore[misc]
    def __init__(self, **settings: Any) -> None:
        head_dim = settings.get("attention_head_dim", 8)
        counted = isinstance(head_dim, dict)
        super().__init__(**settings | {"attention_head_dim": None if counted else head_dim})
        self.register_to_config(attention_head_dim=head_dim)
        if counted:
            for path, module in self.named_modules():
                if isinstance(module, Attention):
                    heads = head_dim["heads_upsample" if path.startswith("up_blocks.") else "heads"]
                    module.heads = module.sliceable_head_dim = heads
                    module.scale = (module.inner_dim // heads) ** -0.5
        time_channels = (self.config.time_embedding_dim or 4 * self.config.block_out_channels[0]) // 4
        if time_channels != self.config.block_out_channels[0]:
            self.time_proj = Timesteps(time_channels, self.config.flip_sin_to_cos, self.config.freq_shift)
            self.time_embedding = TimestepEmbedding(time_channels, 4 * time_channels)
