"""A pipeline as a generator of previews: what arrives, when it stops, and what is left behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, StableDiffusionPipeline, UNet2DModel

from restoration import NestedScheduler, PipelinePreview, anytime_previews, decode_estimate

Pipeline = Any


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sd(stable_diffusion: Pipeline) -> Pipeline:
    pipeline = StableDiffusionPipeline(**stable_diffusion.components, requires_safety_checker=False)
    pipeline.scheduler = NestedScheduler.from_config(pipeline.scheduler.config, inner_steps=2)
    return pipeline


@pytest.fixture
def pixels() -> Pipeline:
    network = UNet2DModel(
        sample_size=8, block_out_channels=(4,), layers_per_block=1, norm_num_groups=2, add_attention=False,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    ).eval()  # fmt: skip
    pipeline = DDPMPipeline(network, DDPMScheduler())
    pipeline.scheduler = NestedScheduler(inner_steps=2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def text(**call: Any) -> dict[str, Any]:
    return {
        "prompt": ["a cat"],
        "num_inference_steps": 3,
        "height": 16,
        "width": 16,
        "generator": generator(),
        "output_type": "np",
    } | call


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "anytime_previews"]


def clean(pipeline: Pipeline) -> bool:
    scheduler = pipeline.scheduler
    return not workers() and scheduler.on_step is None and scheduler.last_estimate is None and scheduler._x is None


def test_previews_are_the_decoded_estimates_and_end_in_the_result(sd: Pipeline) -> None:
    estimates: list[torch.Tensor] = []

    def callback(pipeline: Pipeline, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        if pipeline.scheduler.progress.outer_step_complete:
            estimates.append(pipeline.scheduler.last_estimate)
        return {}

    plain = sd(**text(callback_on_step_end=callback)).images
    previews = list(anytime_previews(sd, **text()))
    facts = [(p.outer_step, p.outer_steps, p.nfe, p.total_nfe) for p in previews]
    assert facts == [(1, 3, 2, 6), (2, 3, 4, 6), (3, 3, 6, 6)]
    assert np.array_equal(previews[-1].images, plain)
    for preview, x0 in zip(previews, estimates, strict=True):
        with torch.no_grad():
            expected = sd.vae.decode(x0 / sd.vae.config.scaling_factor).sample / 2 + 0.5
        assert np.abs(preview.images - expected.clamp(0, 1).permute(0, 2, 3, 1).numpy()).max() < 1e-6
    assert clean(sd)


def test_a_last_estimate_decodes_to_what_the_pipeline_returns(sd: Pipeline) -> None:
    out = sd(**text()).images
    assert np.array_equal(decode_estimate(sd, sd.scheduler.last_estimate, "np"), out)
    assert decode_estimate(sd, sd.scheduler.last_estimate)[0].size == (16, 16)


def test_dit_previews_are_one_an_image_and_follow_its_generator(dit: Pipeline) -> None:
    dit.scheduler = NestedScheduler(inner_steps=2)
    call = {"class_labels": [0, 1], "num_inference_steps": 3, "guidance_scale": 1.5, "output_type": "np"}
    first, again = (
        [preview.images for preview in anytime_previews(dit, **call, generator=generator())] for _ in range(2)
    )
    assert [images.shape for images in first] == [(2, 16, 16, 3)] * 3
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert dit.scheduler.generator is None
    assert clean(dit)


def test_a_pixel_pipeline_has_previews(pixels: Pipeline) -> None:
    previews = list(anytime_previews(pixels, num_inference_steps=2, batch_size=2, output_type="latent"))
    assert [preview.outer_step for preview in previews] == [1, 2]
    assert previews[0].images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_leaving_the_loop_stops_the_pipeline(pixels: Pipeline, taken: int) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = pixels.unet.register_forward_hook(count)
    previews = anytime_previews(pixels, num_inference_steps=50)
    for _ in range(taken):
        next(previews)
    previews.close()
    handle.remove()
    # the one taken, one in the queue, one waiting for it, and the call in progress
    assert calls <= 2 * (taken + 2) + 1 if taken else calls == 0
    assert clean(pixels)


def test_the_pipeline_waits_for_a_slow_consumer(pixels: Pipeline) -> None:
    previews = anytime_previews(pixels, num_inference_steps=50, ahead=2)
    next(previews)
    deadline = time.monotonic() + 5
    while pixels.scheduler.progress.outer_steps < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert pixels.scheduler.progress.outer_steps == 4  # taken, two in the queue, one waiting
    previews.close()
    assert clean(pixels)


def test_an_exception_of_the_pipeline_arrives(pixels: Pipeline) -> None:
    class BrokenError(RuntimeError): ...

    def fail(*_: object) -> None:
        if pixels.scheduler.progress.nfe == 3:
            raise BrokenError("no more memory")

    handle = pixels.unet.register_forward_hook(fail)
    previews = anytime_previews(pixels, num_inference_steps=3)
    assert next(previews).outer_step == 1
    with pytest.raises(BrokenError, match="no more memory"):
        next(previews)
    handle.remove()
    assert clean(pixels)
    with pytest.raises(StopIteration):
        next(previews)
    assert len(list(anytime_previews(pixels, num_inference_steps=2))) == 2  # and the next run works


def test_a_wrong_argument_of_the_pipeline_arrives(pixels: Pipeline) -> None:
    with pytest.raises(ValueError, match="takes at most 1 steps"):
        list(anytime_previews(pixels, num_inference_steps=999))
    with pytest.raises(TypeError, match="prompt"):
        list(anytime_previews(pixels, prompt="a cat"))
    assert clean(pixels)


def test_no_memory_is_left(pixels: Pipeline) -> None:
    seen: list[weakref.ref[Any]] = []

    def watch(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        seen.extend(weakref.ref(tensor) for tensor in (arguments[0], output[0]))

    handle = pixels.unet.register_forward_hook(watch)
    for preview in anytime_previews(pixels, num_inference_steps=4, output_type="latent"):
        seen.append(weakref.ref(preview.images))
        if preview.outer_step == 2:
            break
    del preview
    handle.remove()
    gc.collect()
    assert len(seen) > 8
    assert not [ref for ref in seen if ref() is not None]
    assert clean(pixels)


def test_previews_are_values(pixels: Pipeline) -> None:
    preview = next(anytime_previews(pixels, num_inference_steps=2))
    assert isinstance(preview, PipelinePreview)
    with pytest.raises(AttributeError):
        preview.nfe = 3  # type: ignore[misc]


def test_what_is_no_picture_is_told(pixels: Pipeline) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 1 or 3, H, W\) to be a picture: got \(1, 4, 8, 8\)"):
        decode_estimate(pixels, torch.zeros(1, 4, 8, 8))


def test_wrong_use_is_told_at_once(pixels: Pipeline) -> None:
    with pytest.raises(ValueError, match="ahead must be at least 1: got 0"):
        anytime_previews(pixels, ahead=0)
    running = anytime_previews(pixels, num_inference_steps=3)
    next(running)
    with pytest.raises(ValueError, match="another run of previews"):
        anytime_previews(pixels)
    running.close()
    pixels.scheduler = DDIMScheduler()
    with pytest.raises(ValueError, match="must be a NestedScheduler: got DDIMScheduler"):
        anytime_previews(pixels)
