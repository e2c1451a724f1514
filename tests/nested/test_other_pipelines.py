"""Pipelines that treat schedulers or latents in their own way: PixArt-α, AnimateDiff, Kandinsky, vqvae."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffVideoToVideoPipeline,
    DDIMScheduler,
    LDMPipeline,
    MotionAdapter,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    UNet2DModel,
    VQModel,
)
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor

from restoration import NestedScheduler, anytime_previews, decode_estimate

Pipeline = Any


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pixart(stable_diffusion: Pipeline) -> Pipeline:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        transformer = PixArtTransformer2DModel(
            sample_size=8, num_layers=1, num_attention_heads=2, attention_head_dim=4, in_channels=4,
            cross_attention_dim=8, caption_channels=8, use_additional_conditions=False,
        ).eval()  # fmt: skip
    pipeline = PixArtAlphaPipeline(None, None, stable_diffusion.vae, transformer, DDIMScheduler(clip_sample=False))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_one_outer_step_of_pixart_is_its_ddim(pixart: Pipeline) -> None:
    """With one step its pipeline takes x̂₀ for the next x, as is right for one network call only."""
    embeds = torch.randn(1, 4, 8, generator=generator())
    call = {
        "prompt_embeds": embeds, "negative_prompt_embeds": 0 * embeds, "prompt_attention_mask": torch.ones(1, 4),
        "negative_prompt_attention_mask": torch.ones(1, 4), "negative_prompt": None, "height": 16, "width": 16,
        "use_resolution_binning": False, "output_type": "np",
    }  # fmt: skip
    wanted = pixart(**call, num_inference_steps=5, eta=0.85, generator=generator()).images
    pixart.scheduler = NestedScheduler.from_config(
        pixart.scheduler.config, inner_steps=5, timestep_spacing="leading"
    )
    assert np.array_equal(pixart(**call, num_inference_steps=1, generator=generator()).images, wanted)
    assert pixart(**call, num_inference_steps=2, generator=generator()).images.shape == wanted.shape


def test_a_tuple_of_one_outer_step_has_the_next_x_twice() -> None:
    x, output = torch.randn(2, 1, 3, 4, 4, generator=generator()).unbind()
    for outer in (1, 2):
        told, named = (NestedScheduler(inner_steps=3) for _ in range(2))
        for scheduler in (told, named):
            scheduler.set_timesteps(outer)
        both = told.step(output, 999, x, generator=generator(), return_dict=False)
        step = named.step(output, 999 if outer == 1 else told.timesteps[0], x, generator=generator())
        assert both[0].equal(step.prev_sample)
        assert both[1].equal(step.prev_sample if outer == 1 else step.pred_original_sample)
        assert not step.prev_sample.equal(step.pred_original_sample)


def animatediff(base: Pipeline, kind: type[Pipeline]) -> Pipeline:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        adapter = MotionAdapter(
            block_out_channels=(4, 8), motion_layers_per_block=1, motion_norm_num_groups=2,
            motion_num_attention_heads=2,
        )  # fmt: skip
        pipeline = kind(
            base.vae, base.text_encoder, base.tokenizer, base.unet, adapter, DDIMScheduler(clip_sample=False)
        )
    pipeline.scheduler = NestedScheduler.from_config(pipeline.scheduler.config, inner_steps=2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_previews_of_a_video_are_decoded_by_its_pipeline(stable_diffusion: Pipeline) -> None:
    pipeline = animatediff(stable_diffusion, AnimateDiffPipeline)
    call = {
        "prompt": "a cat", "num_frames": 2, "height": 16, "width": 16, "num_inference_steps": 2,
        "output_type": "np",
    }  # fmt: skip
    wanted = pipeline(**call, generator=generator()).frames
    previews = list(anytime_previews(pipeline, **call, generator=generator()))
    assert [preview.nfe for preview in previews] == [2, 4]
    assert np.array_equal(previews[-1].images, wanted)
    assert previews[0].images.shape == wanted.shape == (1, 2, 16, 16, 3)
    assert not np.array_equal(previews[0].images, wanted)
    pipeline(**call, generator=generator())
    assert np.array_equal(decode_estimate(pipeline, pipeline.scheduler.last_estimate, "np"), wanted)


def test_video_to_video_starts_at_an_outer_step_without_being_told(stable_diffusion: Pipeline) -> None:
    pipeline = animatediff(stable_diffusion, AnimateDiffVideoToVideoPipeline)
    frames = [Image.new("RGB", (16, 16), (shade, 90, 30)) for shade in (40, 200)]
    previews = list(
        anytime_previews(
            pipeline, video=frames, prompt="a cat", height=16, width=16, num_inference_steps=3, strength=0.67,
            generator=generator(), output_type="np",
        )
    )  # fmt: skip
    assert [(preview.outer_step, preview.outer_steps, preview.nfe) for preview in previews] == [
        (1, 2, 2),
        (2, 2, 4),
    ]


def test_latte_is_told_how_many_frames_it_decodes() -> None:
    asked = []

    def decode_latents(latents: Tensor, video_length: int, decode_chunk_size: int = 14) -> Tensor:
        asked.append(video_length)
        return torch.zeros(1, 3, video_length, 16, 16)

    pipeline = SimpleNamespace(
        decode_latents=decode_latents, video_processor=VideoProcessor(), vae=SimpleNamespace(dtype=torch.float32)
    )
    assert decode_estimate(pipeline, torch.zeros(1, 4, 5, 8, 8), "np").shape == (1, 5, 16, 16, 3)
    assert asked == [5]


def test_kandinskys_movq_decodes_as_its_pipeline() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        movq = VQModel(
            block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4,
            up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=2, num_vq_embeddings=4,
        ).eval()  # fmt: skip
    x0 = torch.randn(1, 4, 8, 8, generator=generator())
    with torch.no_grad():
        wanted = (movq.decode(x0, force_not_quantize=True)["sample"] / 2 + 0.5).clamp(0, 1)
    decoded = decode_estimate(SimpleNamespace(movq=movq), x0, "pt")
    torch.testing.assert_close(decoded, wanted)
    assert decoded.shape == (1, 3, 16, 16)


def test_what_cannot_be_decoded_is_refused_before_the_work() -> None:
    network = UNet2DModel(
        sample_size=8, in_channels=3, block_out_channels=(4,), layers_per_block=1, norm_num_groups=2,
        add_attention=False, down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    ).eval()  # fmt: skip
    codes = VQModel(
        block_out_channels=(4,), latent_channels=3, norm_num_groups=2, down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
    )  # fmt: skip
    pipeline = LDMPipeline(codes, network, DDIMScheduler())
    pipeline.scheduler = NestedScheduler(inner_steps=2)
    with pytest.raises(ValueError, match=r"LDMPipeline decodes its latents with a vqvae, .*: ask for output_type"):
        anytime_previews(pipeline, num_inference_steps=2)
    with pytest.raises(ValueError, match="with a vqvae"):
        decode_estimate(pipeline, torch.zeros(1, 3, 8, 8))


def test_estimates_of_another_shape_are_refused_after_one_network_call() -> None:
    calls = 0

    class Volumes:
        """A pipeline of five dimensions that no one knows how to show."""

        scheduler = NestedScheduler(inner_steps=4)

        def __call__(self, **call: Any) -> tuple[Tensor]:
            nonlocal calls
            self.scheduler.set_timesteps(2)
            x = torch.zeros(1, 4, 2, 4, 4)
            for t in self.scheduler.timesteps:
                calls += 1
                x = self.scheduler.step(torch.zeros_like(x), t, x).prev_sample
            return (x,)

        def maybe_free_model_hooks(self) -> None: ...

    with pytest.raises(ValueError, match=r"Volumes has no decode_latents for estimates of \(1, 4, 2, 4, 4\)"):
        list(anytime_previews(Volumes()))
    assert calls == 1
    assert len(list(anytime_previews(Volumes(), output_type="latent"))) == 2
