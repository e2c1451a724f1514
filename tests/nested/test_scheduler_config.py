"""Settings of the nested scheduler: files, other schedulers' configurations, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from restoration import NestedScheduler


def end(scheduler: NestedScheduler, outer: int = 3) -> Tensor:
    """A whole run on a network that answers with noise."""
    noise = torch.Generator().manual_seed(0)
    x = 9 * torch.randn(2, 3, 4, 4, generator=noise)
    scheduler.set_timesteps(outer)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.randn(x.shape, generator=noise), t, x, generator=noise).prev_sample
    return x


def public(scheduler: Any) -> dict[str, Any]:
    return {key: value for key, value in scheduler.config.items() if key[0] != "_"}


def test_a_scheduler_survives_its_file(tmp_path: Path) -> None:
    scheduler = NestedScheduler(allocation=(5, 3, 2), inner="ddpm", seed=4, clip_sample=True, beta_end=0.015)
    scheduler.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == "NestedScheduler"
    loaded = NestedScheduler.from_pretrained(tmp_path)
    assert public(loaded) == public(scheduler) | {"allocation": [5, 3, 2]}
    assert end(loaded).equal(end(scheduler))


@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverSinglestepScheduler"],
)
def test_configurations_go_over_and_come_back(name: str) -> None:
    theirs = getattr(diffusers, name)(
        beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"
    )
    ours = NestedScheduler.from_config(theirs.config, inner_steps=7)
    assert (ours.config.beta_end, ours.config.prediction_type, ours.config.inner_steps) == (
        0.012,
        "v_prediction",
        7,
    )
    assert ours.alphas_cumprod.equal(theirs.alphas_cumprod)
    back = type(theirs).from_config(ours.config)
    assert {key: public(back)[key] for key in public(theirs)} == public(theirs)


def test_clipping_is_off_unless_asked(tmp_path: Path) -> None:
    diffusers.DDPMScheduler(clip_sample=True).save_pretrained(tmp_path)
    assert not NestedScheduler.from_pretrained(tmp_path).config.clip_sample
    asked = NestedScheduler.from_pretrained(tmp_path, clip_sample=True)
    assert asked.config.clip_sample
    assert NestedScheduler.from_config(asked.config).config.clip_sample
    assert NestedScheduler.from_config(NestedScheduler(clip_sample=True).config, inner_steps=3).config.clip_sample
    assert float(end(asked).abs().max()) <= 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"inner": "heun"}, "inner must be one of ddim, ddpm, dpmsolver.*: got 'heun'"),
        ({"inner_steps": 0}, "inner_steps must be whole numbers of at least 1: got 0"),
        ({"inner_steps": 2.5}, r"inner_steps must be whole numbers of at least 1: got 2\.5"),
        ({"inner_steps": 1001}, "at most 1000 steps, one a noise level: got 1001"),
        ({"allocation": []}, r"allocation must be whole numbers of at least 1: got \[\]"),
        ({"allocation": [4, 0]}, r"allocation must be whole numbers of at least 1: got \[4, 0\]"),
        ({"inner_eta": 1.5}, r"inner_eta must be from 0 to 1: got 1\.5"),
        ({"outer_eta": -1}, "outer_eta must be from 0 to 1: got -1"),
        ({"prediction_type": "flow_prediction"}, "prediction_type must be one of .*: got 'flow_prediction'"),
        ({"variance_type": "huge"}, "variance_type must be one of .*: got 'huge'"),
        ({"timestep_spacing": "karras"}, "timestep_spacing must be one of .*: got 'karras'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr needs prediction_type"),
        (
            {"inner": "dpmsolver++2s", "set_alpha_to_one": False, "inner_steps": 15},
            "in pairs .*: got 15; use an even",
        ),
        ({"inner": "dpmsolver++2s", "clip_sample": True}, "does not offer clip_sample: got True"),
        ({"seed": -1}, "seed must be None or a whole number .*: got -1"),
    ],
)
def test_settings_that_cannot_be_are_told(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NestedScheduler(**config)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FlowMatchEulerDiscreteScheduler", "flow matching moves on straight paths"),
        ("LCMScheduler", "consistency-distilled"),
        ("TCDScheduler", "consistency-distilled"),
        ("EDMEulerScheduler", "trained on DDPM's noise"),
        ("VQDiffusionScheduler", "trained on DDPM's noise"),
    ],
)
def test_schedulers_of_other_networks_are_refused_with_a_reason(name: str, reason: str, tmp_path: Path) -> None:
    """As they come, without a name in their config, and loaded."""
    theirs = getattr(diffusers, name)(**({"num_vec_classes": 8} if name == "VQDiffusionScheduler" else {}))
    with pytest.raises(ValueError, match=f"config of this scheduler cannot be nested: .*{reason}"):
        NestedScheduler.from_config(theirs.config)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"config of {name} cannot be nested: .*{reason}"):
        NestedScheduler.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (  # Stable Video Diffusion's
            diffusers.EulerDiscreteScheduler(
                timestep_type="continuous", prediction_type="v_prediction", sigma_min=0.002, sigma_max=700.0,
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True,
            ),
            "EDM's continuous noise",
        ),
        (diffusers.CogVideoXDDIMScheduler(), r"shifted \(snr_shift_scale\)"),
        (diffusers.CogVideoXDPMScheduler(prediction_type="v_prediction"), r"shifted \(snr_shift_scale\)"),
    ],
    ids=["svd", "cogvideox", "cogvideox, dpm"],
)  # fmt: skip
def test_levels_that_betas_do_not_tell_are_refused(theirs: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"config of this scheduler cannot be nested: .*{reason}"):
        NestedScheduler.from_config(theirs.config)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"config of {type(theirs).__name__} cannot be nested: .*{reason}"):
        NestedScheduler.from_pretrained(tmp_path)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "PNDMScheduler"])
def test_levels_that_are_another_schedulers_defaults_are_taken_over(name: str, tmp_path: Path) -> None:
    theirs = getattr(diffusers, name)()
    theirs.save_pretrained(tmp_path)
    for ours in (NestedScheduler.from_config(theirs.config), NestedScheduler.from_pretrained(tmp_path)):
        assert ours.alphas_cumprod.equal(theirs.alphas_cumprod)


def test_thresholding_is_taken_over_and_bounded() -> None:
    theirs = diffusers.DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5)
    config = NestedScheduler.from_config(theirs.config).config
    assert (config.thresholding, config.dynamic_thresholding_ratio, config.sample_max_value) == (True, 0.95, 1.5)
    with pytest.raises(ValueError, match=r"dynamic_thresholding_ratio must be .*: got 1\.5 and 1"):
        NestedScheduler(thresholding=True, dynamic_thresholding_ratio=1.5)


def test_flow_sigmas_of_an_allowed_scheduler_are_refused() -> None:
    config = diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction").config
    with pytest.raises(ValueError, match="straight paths"):
        NestedScheduler.from_config(config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 0}, "whole number of outer steps, at least 1: got 0"),
        ({"num_inference_steps": None}, "whole number of outer steps, at least 1: got None"),
        ({"num_inference_steps": 4}, r"must be 2, the outer steps of allocation \[3, 2\]: got 4"),
        ({"timesteps": [999, 1]}, "takes no timesteps: it plans them"),
        ({"sigmas": [1.0, 0.5]}, "takes no sigmas and no mu: they are for flow matching"),
        ({"num_inference_steps": 2, "mu": 1.0}, "takes no sigmas and no mu"),
    ],
)
def test_runs_that_cannot_be_planned_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NestedScheduler(allocation=[3, 2]).set_timesteps(**arguments)


def test_more_inner_steps_than_levels_are_told() -> None:
    with pytest.raises(ValueError, match="from noise level 500 takes at most 500 steps: got 600"):
        NestedScheduler(inner_steps=600).set_timesteps(2)
