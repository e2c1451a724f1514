"""Checkpoints of other code bases: the same outputs, every published one, and one line for everything else."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from restoration.errors import PriorError
from restoration.priors.diffusion import DiffusionPrior
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.foreign import Foreign, understand
from restoration.priors.formats.guided import GUIDED
from restoration.priors.formats.layout import build, check_layout
from restoration.priors.formats.renaming import check_names_and_shapes, constant_weights, sources
from restoration.priors.formats.settings import answer
from restoration.priors.formats.variants import GuidedUNet2DModel
from solvers import NoiseSchedule

FOLDER = Path(__file__).parent / "foreign"
STEPS = (7, 850)


@cache
def recorded() -> dict[str, Any]:
    """Names and shapes of checkpoints, made with the original code; ``tiny`` ones with the original's outputs."""
    return json.loads(gzip.decompress((FOLDER / "listings.json.gz").read_bytes()))


@cache
def outputs() -> dict[str, Tensor]:
    return load_file(FOLDER / "outputs.safetensors")


def weights(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, Tensor]:
    """Random weights that no library's version changes: PCG64's raw stream, in the names' order.

    None is what training starts from: what would be zero or one is random too, and attention is not flat.
    """
    stream, made = np.random.PCG64(seed), {}
    for name in sorted(shapes):
        shape = shapes[name]
        raw = np.atleast_1d(stream.random_raw(math.prod(shape)))
        uniform = ((raw >> np.uint64(11)) * 2.0**-52 - 1).reshape(shape)
        if len(shape) == 1:
            values = 1 + 0.5 * uniform if name.endswith("weight") else 0.3 * uniform
        elif name.startswith("label_emb"):
            values = uniform
        else:
            sharp = any(part in name for part in (".qkv.", ".q.", ".k."))
            values = uniform * math.sqrt(3 / math.prod(shape[1:])) * (2 if sharp else 1)
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


def picture(channels: int, size: int) -> Tensor:
    return weights({"x": [channels * size * size, 1]}, seed=1)["x"].reshape(1, channels, size, size)


def tiny(name: str, **changes: Any) -> Foreign:
    made = recorded()["tiny"][name]
    settings = {key: value for key, value in (made["settings"] | changes).items() if value is not None}
    return understand(weights(made["shapes"]), settings, name="x.pt")


def evaluate(network: UNet2DModel, step: int) -> Tensor:
    classes, size = network.config.num_class_embeds, network.config.sample_size
    labels = None if classes is None else torch.tensor([classes - 1])
    with torch.no_grad():
        return network(picture(network.config.in_channels, size), step, class_labels=labels).sample


def deviation(network: UNet2DModel, name: str) -> float:
    """The largest over the steps, relative to the largest output."""
    ratios = []
    for step in STEPS:
        expected = outputs()[f"{name}/{step}"]
        ratios.append(float((evaluate(network, step) - expected).abs().max() / expected.abs().max()))
    return max(ratios)


def meta(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


TINY = sorted(recorded()["tiny"])
VARIED = (  # what UNet2DModel's configuration cannot express
    "guided-classes-four-heads-over-widths",
    "guided-first-mult-half",
    "guided-first-mult-two-new-heads",
    "guided-heads-up-differ",
)
PUBLISHED = sorted(name for name, made in recorded()["published"].items() if "shapes" in made)


@pytest.mark.parametrize("name", TINY)
def test_outputs_agree_with_the_original_code(name: str) -> None:
    foreign = tiny(name)
    assert deviation(foreign.network, name) < 1e-4  # float32 rounding is 2e-5 at most here
    channels = outputs()[f"{name}/{STEPS[0]}"].shape[1]
    assert foreign.image_shape == (foreign.keeps, 16, 16)
    assert channels in (foreign.keeps, 2 * foreign.keeps)
    assert type(foreign.network) is (GuidedUNet2DModel if name in VARIED else UNet2DModel)
    assert not foreign.network.training
    assert not any(parameter.requires_grad for parameter in foreign.network.parameters())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("guided-variance-resblocks-legacy-channels", {"use_new_attention_order": True}),
        ("guided-variance-resblocks-new-channels", {"use_new_attention_order": False}),
        ("guided-variance-resblocks-legacy-channels", {"num_head_channels": 8}),
        ("guided-classes-four-heads-over-widths", {"num_heads": 2}),
        ("guided-classes-four-heads-over-widths", {"num_heads": None, "num_head_channels": 32}),
        ("guided-heads-up-differ", {"num_heads_upsample": None}),
        ("guided-middle-only", {"use_new_attention_order": False}),
    ],
)
def test_what_is_asked_for_changes_the_outputs_and_loads_all_the_same(name: str, changes: dict[str, Any]) -> None:
    assert deviation(tiny(name, **changes).network, name) > 1e-3


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_checkpoint_maps_one_to_one(name: str) -> None:
    made = recorded()["published"][name]
    shapes = {key: tuple(shape) for key, shape in made["shapes"].items()}
    form = GUIDED if "out.2.weight" in shapes else DDPM
    layout = form.read(shapes)
    check_layout(layout)
    answers = answer(layout, form, made["settings"])
    network = build(layout, form, answers.head_dim, answers.image_size)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    listing = sources(form, layout, network)
    check_names_and_shapes(shapes, listing, form.title)
    targets = [target for source in listing.values() for target in source.targets]
    assert sorted(targets) == sorted(network.state_dict())
    assert not constant_weights(layout, network)
    assert sum(p.numel() for p in network.parameters()) == sum(math.prod(shape) for shape in shapes.values())
    assert isinstance(network, GuidedUNet2DModel) == name.startswith(("128x128", "512x512"))


def test_published_heads_and_widths_are_theirs() -> None:
    made = recorded()["published"]["128x128_diffusion"]
    layout = GUIDED.read({key: tuple(shape) for key, shape in made["shapes"].items()})
    network = build(layout, GUIDED, answer(layout, GUIDED, made["settings"]).head_dim, 128)
    attentions = {name: module.heads for name, module in network.named_modules() if hasattr(module, "heads")}
    assert len(attentions) == 2 * 3 + 1 + 3 * 3
    assert set(attentions.values()) == {4}
    assert layout.widths == (256, 256, 512, 768, 1024)


@pytest.mark.parametrize("name", [*VARIED, "guided-pool-attention-inside", "ddpm-two-levels"])
def test_a_saved_network_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    foreign = tiny(name)
    foreign.network.save_pretrained(tmp_path / "unet")
    DDPMScheduler(clip_sample=False).save_pretrained(tmp_path / "scheduler")
    label = None if foreign.classes is None else foreign.classes - 1
    ours = DiffusionPrior.from_folder(tmp_path, "x", class_label=label).network
    theirs = type(foreign.network).from_pretrained(tmp_path / "unet")
    assert type(ours) is type(foreign.network)
    for step in STEPS:
        expected = evaluate(foreign.network, step)
        assert evaluate(ours, step).equal(expected)
        assert evaluate(theirs, step).equal(expected)
    for low_memory in (True, False):
        if name in VARIED:  # never loaded as its parent, which would compute something else
            with pytest.raises((TypeError, ValueError, RuntimeError)):
                UNet2DModel.from_pretrained(tmp_path / "unet", low_cpu_mem_usage=low_memory)


def refusal(shapes: dict[str, Any], settings: dict[str, Any] | None = None) -> str:
    with pytest.raises(PriorError) as caught:
        understand(meta(shapes), settings or {}, name="x.pt")
    message = str(caught.value)
    assert message.startswith("x.pt: ")
    assert "\n" not in message
    return message


def shapes_of(name: str) -> dict[str, list[int]]:
    return dict(recorded()["tiny"][name]["shapes"])


def test_what_is_still_open_is_asked_for_exactly() -> None:
    shapes = shapes_of("guided-variance-resblocks-new-channels")
    size, heads = "image_size (a multiple of 4)", "num_heads or num_head_channels (a divisor of 64)"
    order, schedule = "use_new_attention_order (true or false)", "noise_schedule (linear or cosine)"
    assert f"do not tell {size}, {heads}, {order}, {schedule}: give each" in refusal(shapes)
    assert f"do not tell {size}, {schedule}: give each" in refusal(
        shapes, {"num_heads": 4, "use_new_attention_order": "true"}
    )
    assert f"do not tell {size}, {schedule}: give each" in refusal(shapes, {"num_head_channels": 64})  # one head
    assert f"do not tell {size}, {schedule}: give each" in refusal(shapes, {"num_heads": 1})
    assert f"do not tell {order}: give each" in refusal(
        shapes, {"num_heads": 1, "num_heads_upsample": 2, "image_size": 16, "noise_schedule": "linear"}
    )
    assert f"do not tell {heads}, {order}: give each" in refusal(
        shapes, {"num_heads": -1, "image_size": 16, "noise_schedule": "linear"}
    )
    shapes = shapes_of("ddpm-cifar-like")
    assert "do not tell image_size (a multiple of 8): give each" in refusal(shapes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 18}, "image_size must be a multiple of 4 for its 3 levels: got 18"),
        ({"image_size": "big"}, "image_size must be a whole number of at least 1: got 'big'"),
        ({"image_size": 16.5}, "image_size must be a whole number"),
        ({"num_heads": 3}, "num_heads must divide the width of every attention: got 3 for 32"),
        ({"num_heads": 0}, "num_heads must be a whole number of at least 1: got 0"),
        ({"num_heads_upsample": 5}, "num_heads_upsample must divide"),
        ({"num_head_channels": 64}, "num_head_channels must divide the width of every attention: got 64 for 32"),
        ({"use_new_attention_order": "maybe"}, "use_new_attention_order must be true or false: got 'maybe'"),
        ({"noise_schedule": "sqrt"}, "noise_schedule must be linear or cosine: got 'sqrt'"),
        ({"beta_start": 2}, "its noise schedule cannot be: linear needs"),
        ({"beta_end": "x"}, "beta_end must be a number: got 'x'"),
        (
            {"diffusion_steps": 4000, "rescale_timesteps": True},
            "rescale_timesteps with diffusion_steps 4000 is not",
        ),
        ({"diffusion_steps": 10**12}, "diffusion_steps must be at most 100000"),
        ({"attention_resolutions": "16,inf"}, "attention_resolutions must be numbers parted by commas"),
        ({"colour": 1}, "'colour' is no setting of guided-diffusion's UNetModel; it has image_size, "),
        ({"num_channels": 64}, "num_channels is given as 64, but its tensors say 32"),
        ({"channel_mult": "1,2,4"}, "channel_mult is given as 1,2,4, but its tensors say 1,2,3"),
        ({"channel_mult": "1;2"}, "channel_mult must be numbers parted by commas"),
        ({"num_res_blocks": 2}, "num_res_blocks is given as 2, but its tensors say 1"),
        ({"attention_resolutions": "8,4"}, "attention_resolutions is given as 8,4, but its tensors say 16,8,4"),
        ({"learn_sigma": False}, "learn_sigma is given as false, but its tensors say true"),
        ({"class_cond": False}, "class_cond is given as false, but its tensors say true"),
        ({"resblock_updown": "False"}, "resblock_updown is given as false, but its tensors say true"),
        ({"use_scale_shift_norm": False}, "use_scale_shift_norm is given as false, but its tensors say true"),
    ],
)
def test_settings_that_cannot_be_are_told(changes: dict[str, Any], message: str) -> None:
    made = recorded()["tiny"]["guided-classes-four-heads-over-widths"]
    assert message in refusal(made["shapes"], made["settings"] | changes)


def test_published_flags_can_be_given_as_they_stand() -> None:
    flags = {
        "attention_resolutions": "16,8,4",
        "channel_mult": "1,2,3",
        "class_cond": "True",
        "diffusion_steps": "1000",
        "dropout": 0.1,
        "image_size": "16",
        "learn_sigma": "True",
        "noise_schedule": "linear",
        "num_channels": "32",
        "num_heads": "4",
        "num_head_channels": -1,
        "num_heads_upsample": "-1",
        "num_res_blocks": "1",
        "resblock_updown": "True",
        "use_fp16": "True",
        "use_new_attention_order": "False",
        "use_scale_shift_norm": "True",
    }
    name = "guided-classes-four-heads-over-widths"
    foreign = understand(weights(shapes_of(name)), flags, name="x.pt")
    assert deviation(foreign.network, name) < 1e-4


def test_schedules_are_those_of_guided_diffusion() -> None:
    name = "guided-additive-conv-one-head"
    assert tiny(name).schedule.alpha_bars.equal(NoiseSchedule.linear().alpha_bars)
    assert tiny(name, noise_schedule="cosine").schedule.alpha_bars.equal(NoiseSchedule.cosine().alpha_bars)
    short = tiny(name, diffusion_steps=250).schedule  # its betas grow as the steps become fewer
    assert short.alpha_bars.equal(NoiseSchedule.linear(250, 4e-4, 0.08).alpha_bars)
    own = tiny(name, beta_start=1e-3, beta_end="0.03").schedule
    assert own.alpha_bars.equal(NoiseSchedule.linear(1000, 1e-3, 0.03).alpha_bars)
    assert tiny(name).prediction == "epsilon"
    assert tiny(name, predict_xstart=True).prediction == "sample"


CONV = [8, 8, 3, 3]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (recorded()["refused"]["64x64_classifier"], "this is a classifier"),
        (recorded()["refused"]["64_256_upsampler"], "maps 6 channels to 6: a super-resolution upsampler"),
        ({"lora_unet_down_blocks_0.lora_down.weight": CONV}, "this is a LoRA"),
        ({"encoder.down.0.block.0.conv1.weight": CONV, "quant_conv.weight": CONV}, "this is an autoencoder"),
        ({"encoder.down_blocks.0.resnets.0.conv1.weight": CONV}, "this is an autoencoder"),
        ({"model.diffusion_model.input_blocks.0.0.weight": CONV}, "a latent diffusion model"),
        ({"first_stage_model.encoder.conv_in.weight": CONV, "input_blocks.0.0.weight": CONV}, "latent diffusion"),
        ({"input_blocks.1.1.transformer_blocks.0.attn2.to_q.weight": CONV}, "a text-conditional U-Net"),
        ({"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": CONV}, "a text-conditional U-Net"),
        ({"down_blocks.0.resnets.0.conv1.weight": CONV}, "diffusers without their configuration"),
        ({"layer1.0.conv1.weight": CONV, "fc.bias": [8]}, "first tensors are layer1.0.conv1.weight, fc.bias"),
        ({"two\nlines": CONV}, "its first tensors are two lines"),
        ({}, "its first tensors are none"),
    ],
)
def test_something_else_is_told_for_what_it_is(shapes: dict[str, Any], message: str) -> None:
    assert message in refusal(shapes)


@pytest.mark.parametrize(
    ("name", "tensor", "shape", "message"),
    [
        ("guided-middle-only", "input_blocks.0.0.weight", [32, 4, 3, 3], "4 channels to 3: a network of a latent"),
        ("guided-middle-only", "input_blocks.0.0.weight", [32, 5, 3, 3], "it maps 5 channels to 3; it must map 1"),
        ("guided-middle-only", "out.2.weight", [4, 32, 3, 3], "it maps 3 channels to 4; it must map 1 or 3"),
        ("guided-middle-only", "input_blocks.1.0.out_layers.3.weight", [48, 48, 3, 3], "multiples of 32"),
        (
            "guided-middle-only",
            "input_blocks.999.0.op.weight",
            [8],
            "input_blocks.5.0.out_layers.3.weight is missing",
        ),
        ("guided-middle-only", "input_blocks.99999.0.weight", [8], "1 extra (first input_blocks.99999.0.weight)"),
        ("guided-middle-only", "time_embed.0.weight", [0, 0], "its time embedding has 0 channels"),
        ("guided-middle-only", "out.3.weight", [8], "1 extra (first out.3.weight)"),
        ("guided-middle-only", "time_embed.0.weight", [128], "time_embed.0.weight is (128,); it must have 2"),
        ("guided-middle-only", "middle_block.1.qkv.weight", [192, 64], "is (192, 64), not (192, 64, 1))"),
        ("ddpm-two-levels", "down.1.downsample.conv.weight", [8, 8, 3, 3], "1 extra (first down.1.downsample"),
        ("ddpm-two-levels", "conv_in.weight", [64, 3, 3, 3], "base is 64 channels wide, its first level 32"),
        ("ddpm-two-levels", "mid.attn_1.q.weight", [64, 64], "is (64, 64), not (64, 64, 1, 1))"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(name: str, tensor: str, shape: list[int], message: str) -> None:
    assert message in refusal(shapes_of(name) | {tensor: shape})


ENDS = ("input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight", "conv_in.weight", "conv_out.weight")


@pytest.mark.parametrize("name", ["guided-pool-attention-inside", "guided-grey-variance", "ddpm-two-levels"])
def test_no_missing_and_no_misshapen_tensor_passes(name: str) -> None:
    made = recorded()["tiny"][name]
    for index, tensor in enumerate(sorted(made["shapes"])):
        if index % 11 and tensor not in ENDS:
            continue  # every eleventh, and all of the ends
        without = {key: shape for key, shape in made["shapes"].items() if key != tensor}
        refusal(without, made["settings"])
        shape = made["shapes"][tensor]
        refusal(made["shapes"] | {tensor: [shape[0] + 32, *shape[1:]]}, made["settings"])


def test_weights_that_are_no_numbers_are_refused() -> None:
    made = recorded()["tiny"]["guided-additive-conv-one-head"]
    good = weights(made["shapes"])
    for spoilt, message in (
        (good["middle_block.1.qkv.weight"] * float("nan"), "qkv.weight holds NaN or infinity"),
        (good["middle_block.1.qkv.weight"] / 0, "qkv.weight holds NaN or infinity"),
        (good["middle_block.1.qkv.weight"].int(), "qkv.weight is torch.int32, not of floating point"),
        ("text", "is a str, not a tensor"),
    ):
        with pytest.raises(PriorError, match=message) as caught:
            understand(good | {"middle_block.1.qkv.weight": spoilt}, made["settings"], name="x.pt")  # type: ignore
        assert "\n" not in str(caught.value)
    large = {"middle_block.1.qkv.weight": good["middle_block.1.qkv.weight"] * 1e6}
    with pytest.raises(PriorError, match="holds NaN or infinity in float16"):
        understand(good | large, made["settings"], name="x.pt", dtype=torch.float16)


def test_half_precision_checkpoints_become_float32_and_nothing_is_shared() -> None:
    made = recorded()["tiny"]["guided-additive-conv-one-head"]
    full = weights(made["shapes"])
    halves = understand({n: t.half() for n, t in full.items()}, made["settings"], name="x.pt").network
    assert {parameter.dtype for parameter in halves.parameters()} == {torch.float32}
    assert deviation(halves, "guided-additive-conv-one-head") < 0.02  # 11 bits of the weights
    network = understand(full, made["settings"], name="x.pt").network
    theirs = {tensor.untyped_storage().data_ptr() for tensor in full.values()}
    ours = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    assert not theirs & ours
    assert len(ours) == len(list(network.parameters()))
    small = understand(full, made["settings"], name="x.pt", dtype=torch.bfloat16).network
    assert {parameter.dtype for parameter in small.parameters()} == {torch.bfloat16}


def test_a_class_conditional_network_restores_the_class_it_is_given(tmp_path: Path) -> None:
    foreign = tiny("guided-classes-four-heads-over-widths")
    assert foreign.classes == 10
    arguments = (foreign.network, foreign.schedule, foreign.prediction, "x", "")
    x = picture(3, 16).expand(2, -1, -1, -1)
    one, other = (DiffusionPrior(*arguments, class_label=label).denoise(x, 300) for label in (0, 9))
    assert one.shape == (2, 3, 16, 16)  # the learned variance is left out
    assert float((one - other).abs().max()) > 1e-2
    alpha_bar = foreign.schedule.alpha_bar(300)
    with torch.no_grad():
        noise = foreign.network(x, 299, class_labels=torch.tensor([9, 9])).sample[:, :3]
    torch.testing.assert_close(other, (x - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar))
    for label in (None, -1, 10, True, "0"):
        with pytest.raises(ValueError, match="class_label must be from 0 to 9"):
            DiffusionPrior(*arguments, class_label=label)  # type: ignore[arg-type]
    plain = tiny("ddpm-two-levels")
    with pytest.raises(ValueError, match="class_label must be None for an unconditional network: got 1"):
        DiffusionPrior(plain.network, plain.schedule, "epsilon", class_label=1)


def test_a_saved_pipeline_of_a_plain_network_is_diffusers_own(tmp_path: Path) -> None:
    foreign = tiny("ddpm-two-levels")
    DDPMPipeline(foreign.network, DDPMScheduler()).save_pretrained(tmp_path)
    again = DDPMPipeline.from_pretrained(tmp_path).unet
    assert type(again) is UNet2DModel
    assert evaluate(again, 7).equal(evaluate(foreign.network, 7))
