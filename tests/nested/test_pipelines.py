"""The nested scheduler in diffusers' real pipelines, from tiny random configurations."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DModel,
)
from PIL import Image

from restoration import NestedScheduler
from restoration.plugins.diffusers import PipelinePreview, SteeringCallback, Wish

Pipeline = Any
SIZE = {"height": 16, "width": 16}
# rounding of a network in another batch; images are in [0, 1]
ROUNDING = 1e-4


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nest(pipeline: Pipeline, **config: Any) -> NestedScheduler:
    """The line that makes a pipeline anytime."""
    pipeline.scheduler = NestedScheduler.from_config(pipeline.scheduler.config, **{"inner_steps": 3} | config)
    return pipeline.scheduler


@pytest.fixture
def sd(stable_diffusion: Pipeline) -> Pipeline:
    return StableDiffusionPipeline(**stable_diffusion.components, requires_safety_checker=False)


def images(pipeline: Pipeline, **call: Any) -> np.ndarray:
    return np.asarray(
        pipeline(**{"output_type": "np", "num_inference_steps": 2, "generator": generator(0)} | call)[0]
    )


def text(pipeline: Pipeline, **call: Any) -> np.ndarray:
    return images(pipeline, **{"prompt": "a cat"} | SIZE | call)


class Bar:
    """Counts what a pipeline tells its progress bar."""

    def __init__(self, total: int) -> None:
        self.total, self.at = total, []
        self.scheduler: NestedScheduler | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self) -> None:
        assert self.scheduler is not None
        self.at.append(self.scheduler.progress.nfe)


def watched(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    bars: list[Bar] = []

    def progress_bar(total: int) -> Bar:
        bars.append(Bar(total))
        bars[-1].scheduler = pipeline.scheduler
        return bars[-1]

    monkeypatch.setattr(pipeline, "progress_bar", progress_bar, raising=False)
    return bars


def test_one_outer_step_is_the_pipeline_with_ddim(sd: Pipeline) -> None:
    nest(sd, timestep_spacing="leading", inner_steps=5)
    ours = text(sd, num_inference_steps=1)
    sd.scheduler = DDIMScheduler.from_config(sd.scheduler.config, timestep_spacing="leading", clip_sample=False)
    assert np.array_equal(ours, text(sd, num_inference_steps=5, eta=0.85))


@pytest.mark.parametrize(
    "config", [{"inner": "ddim"}, {"inner": "ddpm"}, {"inner": "dpmsolver++2s", "inner_steps": 4}]
)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_text_to_image_has_an_estimate_after_every_outer_step(sd: Pipeline, config: dict[str, Any]) -> None:
    scheduler = nest(sd, **config)
    steps = scheduler.config.inner_steps
    estimates = []

    def callback(pipeline: Pipeline, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        if scheduler.progress.outer_step_complete:
            estimates.append((i + 1, scheduler.last_estimate, tensors["latents"]))
        return {}

    end = text(sd, num_inference_steps=3, callback_on_step_end=callback, output_type="latent")
    assert [i for i, *_ in estimates] == [steps, 2 * steps, 3 * steps]
    assert not estimates[0][1].equal(estimates[0][2])  # latents are the next x already
    assert np.array_equal(estimates[2][1].numpy(), end)
    assert np.isfinite(end).all()


@pytest.mark.parametrize(("config", "ends"), [({}, [3, 6, 9]), ({"allocation": [4, 2, 1]}, [4, 6, 7])])
def test_progress_counts_outer_steps(sd: Pipeline, monkeypatch, config: dict[str, Any], ends: list[int]) -> None:
    bars = watched(sd, monkeypatch)
    nest(sd, **config)
    text(sd, num_inference_steps=3)
    assert [(bar.total, bar.at) for bar in bars] == [(3, ends)]


def test_an_edit_goes_through_the_outer_update(sd: Pipeline) -> None:
    scheduler = nest(sd)

    def run(shift: float | None) -> np.ndarray:
        def callback(pipeline: Pipeline, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
            if shift is None or scheduler.progress.outer_steps != 1 or not scheduler.progress.outer_step_complete:
                return {}
            return {"latents": scheduler.outer_update(scheduler.last_estimate + shift)}

        return text(sd, callback_on_step_end=callback)

    assert np.array_equal(run(0.0), run(None))
    assert not np.array_equal(run(1.0), run(None))


def test_candidates_are_forked_from_the_one_that_is_kept_and_prompts_change_on_the_way(sd: Pipeline) -> None:
    nest(sd)

    def run(*wishes: Wish | None, scale: float = 7.5) -> list[list[np.ndarray]]:
        seen = []

        def decide(preview: PipelinePreview, pipeline: Pipeline) -> Wish | None:
            seen.append(list(preview.images))
            return wishes[preview.outer_step - 1]

        ends = text(
            sd,
            num_inference_steps=2,
            num_images_per_prompt=2,
            guidance_scale=scale,
            generator=[torch.Generator().manual_seed(i) for i in range(2)],
            callback_on_step_end=SteeringCallback(decide, "np"),
            callback_on_step_end_tensor_inputs=list(SteeringCallback.inputs),
        )
        return [*seen, list(ends)]

    plain, chosen, last = run(None, None), run(Wish(keep=1), None), run(None, Wish(keep=1))
    assert all(np.array_equal(a, b) for a, b in zip(plain[0], chosen[0], strict=True))
    assert np.array_equal(plain[1][1], chosen[1][1])  # which goes on with its own noise
    assert not np.array_equal(plain[1][0], chosen[1][0])
    assert not np.array_equal(chosen[1][0], chosen[1][1])
    assert np.array_equal(last[2][0], plain[1][1])  # of the last outer step both are the one that is kept
    for scale in (7.5, 1.0):  # with guidance, and without
        before, after = run(None, None, scale=scale), run(Wish(prompt="a dog"), None, scale=scale)
        assert np.array_equal(before[0][0], after[0][0])
        assert not np.array_equal(before[1][0], after[1][0])
    zeros = torch.zeros(1, 4, 8, 8)
    edited = run(Wish(keep=0, x0=zeros), None)
    assert not np.array_equal(edited[1][0], run(Wish(keep=0), None)[1][0])
    with pytest.raises(ValueError, match="keep must be one of 0 … 1: got 2"):
        run(Wish(keep=2), None)


def test_an_interrupted_pipeline_keeps_its_estimate(sd: Pipeline) -> None:
    scheduler = nest(sd)

    def callback(pipeline: Pipeline, i: int, t: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        pipeline._interrupt = i == 3
        return {}

    noisy = text(sd, num_inference_steps=4, callback_on_step_end=callback, output_type="latent")
    assert scheduler.progress.nfe == 4
    estimates = []
    scheduler.on_step = lambda scheduler: estimates.append(scheduler.last_estimate)
    kept = scheduler.last_estimate
    text(sd, num_inference_steps=4)
    assert kept.equal(estimates[2])  # of the one inner run that had ended
    assert not np.array_equal(noisy, kept.numpy())


def test_image_to_image_slices_at_outer_steps(sd: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**sd.components, requires_safety_checker=False)
    bars = watched(pipeline, monkeypatch)
    scheduler = nest(pipeline)
    picture = torch.rand(1, 3, 16, 16, generator=generator(1))
    call = {"prompt": "a cat", "image": picture, "num_inference_steps": 4}
    out = images(pipeline, **call, strength=0.5)
    assert (scheduler.progress.nfe, scheduler.progress.total_outer_steps) == (6, 2)
    assert [(bar.total, bar.at) for bar in bars] == [(2, [3, 6])]
    assert not np.array_equal(out, images(pipeline, **call, strength=0.75))
    nest(pipeline, allocation=[4, 3, 2, 1])
    with pytest.raises(ValueError, match="needs equal inner steps"):
        images(pipeline, **call, strength=0.5)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_inpainting_keeps_what_is_known(sd: Pipeline, strength: float) -> None:
    pipeline = StableDiffusionInpaintPipeline(**sd.components, requires_safety_checker=False)
    scheduler = nest(pipeline)
    mask = Image.fromarray(np.repeat(np.uint8([[0] * 8 + [255] * 8]), 16, 0))
    picture = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
    call = {"prompt": "a cat", "image": picture, "mask_image": mask, "strength": strength, **SIZE}
    ends = [images(pipeline, **call, generator=generator(s), output_type="latent") for s in (0, 0)]
    assert np.array_equal(*ends)
    other = images(pipeline, **call | {"prompt": "two dogs"}, output_type="latent")
    assert np.array_equal(ends[0][..., :4], other[..., :4])  # the known half is the picture's, whatever is drawn
    assert not np.array_equal(ends[0][..., 4:], other[..., 4:])
    assert scheduler.progress.nfe == 6 * strength


def test_stable_diffusion_xl(sd: Pipeline, tiny_unet: Any) -> None:
    embeds = {
        name: torch.randn(1, 4, 8, generator=generator(i)) for i, name in enumerate(("prompt", "negative_prompt"))
    }
    embeds = {f"{name}_embeds": value for name, value in embeds.items()}
    pooled = {
        "pooled_prompt_embeds": embeds["prompt_embeds"][:, 0],
        "negative_pooled_prompt_embeds": embeds["negative_prompt_embeds"][:, 0],
    }
    time = {"addition_embed_type": "text_time", "addition_time_embed_dim": 2}
    network = tiny_unet(**time, projection_class_embeddings_input_dim=8 + 6 * 2)
    pipeline = StableDiffusionXLPipeline(
        sd.vae, None, None, None, None, network, sd.scheduler, force_zeros_for_empty_prompt=True
    )
    nest(pipeline, timestep_spacing="leading", inner_steps=5)
    call = embeds | pooled | SIZE
    ours = images(pipeline, **call, num_inference_steps=1)
    nested = images(pipeline, **call, num_inference_steps=2)
    assert pipeline.scheduler.progress.nfe == 10
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="leading", clip_sample=False
    )
    assert np.array_equal(ours, images(pipeline, **call, num_inference_steps=5, eta=0.85))
    assert not np.array_equal(ours, nested)


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_dit_without_noise_is_the_pipeline_with_ddim(dit: Pipeline, guidance: float) -> None:
    call = {"class_labels": [0, 1], "guidance_scale": guidance}
    nest(dit, timestep_spacing="trailing", inner_steps=5, inner_eta=0.0)
    ours = images(dit, **call, num_inference_steps=1)
    dit.scheduler = DDIMScheduler.from_config(dit.scheduler.config, timestep_spacing="trailing", clip_sample=False)
    assert np.array_equal(ours, images(dit, **call, num_inference_steps=5))


def test_dit_draws_its_noise_with_the_learned_variance(dit: Pipeline) -> None:
    """The variance that the pipeline drops: as a loop that gives it to diffusers' DDPM."""
    scheduler = nest(dit, inner="ddpm", variance_type="learned_range", inner_steps=4)
    noise = generator(0)
    scheduler.generator = noise
    handle = scheduler.take_variance_from(dit.transformer)
    ours = images(dit, class_labels=[1], guidance_scale=1.0, num_inference_steps=1, generator=noise)
    handle.remove()

    ddpm = DDPMScheduler(variance_type="learned_range", clip_sample=False)
    ddpm.set_timesteps(timesteps=scheduler.timesteps.tolist())
    noise = generator(0)
    x = torch.randn(1, 4, 8, 8, generator=noise)
    with torch.no_grad():
        for t in ddpm.timesteps:
            output = dit.transformer(x, t[None], class_labels=torch.tensor([1])).sample
            x = ddpm.step(output, t, x, generator=noise).prev_sample
        expected = dit.vae.decode(x / dit.vae.config.scaling_factor).sample
    expected = (expected / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - expected).max() < ROUNDING


def test_an_image_is_the_same_alone_and_in_a_batch(sd: Pipeline, dit: Pipeline) -> None:
    nest(sd)
    both = text(sd, prompt=["a cat", "a dog"], generator=[generator(1), generator(2)])
    alone = text(sd, prompt=["a dog"], generator=[generator(2)])
    assert np.abs(both[1] - alone[0]).max() < ROUNDING

    scheduler = nest(dit, inner="ddpm", variance_type="learned_range")
    handle = scheduler.take_variance_from(dit.transformer)
    for guidance in (1.0, 1.5):
        scheduler.generator = [generator(1), generator(2)]
        both = images(dit, class_labels=[0, 1], guidance_scale=guidance, generator=scheduler.generator)
        scheduler.generator = [generator(2)]
        alone = images(dit, class_labels=[1], guidance_scale=guidance, generator=scheduler.generator)
        assert np.abs(both[1] - alone[0]).max() < ROUNDING
    handle.remove()


def pixels(channels: int = 3) -> UNet2DModel:
    torch.manual_seed(4)
    return UNet2DModel(
        sample_size=8,
        out_channels=channels,
        block_out_channels=(4,),
        layers_per_block=1,
        norm_num_groups=2,
        add_attention=False,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    ).eval()


@pytest.mark.parametrize("variance", ["fixed_small", "learned_range"])
def test_the_ddpm_pipeline(variance: str) -> None:
    network = pixels(6 if variance == "learned_range" else 3)
    pipeline = DDPMPipeline(network, DDPMScheduler(variance_type=variance, timestep_spacing="trailing"))
    nest(pipeline, inner="ddpm", timestep_spacing="trailing", inner_steps=5)
    ours = images(pipeline, num_inference_steps=1, batch_size=2)
    nested = images(pipeline, num_inference_steps=3, batch_size=2)
    pipeline.scheduler = DDPMScheduler(variance_type=variance, timestep_spacing="trailing", clip_sample=False)
    assert np.array_equal(ours, images(pipeline, num_inference_steps=5, batch_size=2))
    assert not np.array_equal(ours, nested)


def test_the_ddim_pipeline_takes_the_scheduler_after_construction() -> None:
    """It replaces whatever it is built with by a DDIMScheduler."""
    pipeline = DDIMPipeline(pixels(), NestedScheduler(inner_steps=5, timestep_spacing="trailing"))
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    nest(pipeline, inner_steps=5, timestep_spacing="trailing")
    ours = images(pipeline, num_inference_steps=1)
    pipeline.scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    assert np.array_equal(ours, images(pipeline, num_inference_steps=5, eta=0.85))


def test_a_pipeline_in_bf16(sd: Pipeline) -> None:
    half = copy.deepcopy(sd).to(torch.bfloat16)
    scheduler = nest(half)
    call = {"num_inference_steps": 2, "generator": generator(0), "output_type": "latent"} | SIZE
    latents = half("a cat", **call).images
    assert latents.dtype == torch.bfloat16
    assert scheduler.last_estimate.dtype == torch.float32
    assert scheduler.last_estimate.bfloat16().equal(latents)


def test_a_compiled_network_gives_the_same_images() -> None:
    """Traced, not code generated: what could break is the trace (a graph for every t, a hook in the way)."""
    pipeline = DDPMPipeline(pixels(), DDPMScheduler())
    nest(pipeline)
    plain = images(pipeline)
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    pipeline.unet = torch.compile(pipeline.unet, backend=backend)
    assert np.abs(images(pipeline) - plain).max() < ROUNDING
    assert len(graphs) == 1
    torch.compiler.reset()


def test_a_pipeline_survives_its_folder(sd: Pipeline, tmp_path: Path) -> None:
    nest(sd, allocation=[3, 2], seed=3)
    sd.save_pretrained(tmp_path)
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)
    assert isinstance(loaded.scheduler, NestedScheduler)
    assert list(loaded.scheduler.config.allocation) == [3, 2]
    assert np.array_equal(text(loaded), text(sd))


def test_a_pipeline_saved_when_the_scheduler_was_in_nested_loads(sd: Pipeline, tmp_path: Path) -> None:
    nest(sd, allocation=[3, 2], seed=3)
    sd.save_pretrained(tmp_path)
    file = tmp_path / "model_index.json"
    index = json.loads(file.read_text())
    assert index["scheduler"] == ["restoration.plugins.diffusers.scheduler", "NestedScheduler"]
    file.write_text(json.dumps(index | {"scheduler": ["nested.scheduler", "NestedScheduler"]}))
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)
    assert isinstance(loaded.scheduler, NestedScheduler)
    assert list(loaded.scheduler.config.allocation) == [3, 2]
