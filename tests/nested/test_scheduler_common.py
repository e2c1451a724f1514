"""What any scheduler of diffusers does: constructor arguments, config round trips, noise, shapes, every index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from restoration import NestedScheduler

# of DPMSolverSinglestepScheduler, with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
INNERS = ["ddim", "ddpm", "dpmsolver++2s"]
SHAPE = (2, 3, 4, 4)


def sample(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def network(x: Tensor, t: int | Tensor) -> Tensor:
    """Answers that depend on x and t, bounded as noise is."""
    return x * (int(t) / (int(t) + 1000))


def end(scheduler: NestedScheduler, outer: int = 3) -> Tensor:
    scheduler.set_timesteps(outer)
    x, generator = sample() * scheduler.init_noise_sigma, torch.Generator().manual_seed(1)
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x, generator=generator).prev_sample
    return x


@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize(
    "settings",
    [
        {"num_train_timesteps": 100},
        {"num_train_timesteps": 1500},
        {"beta_start": 0.001, "beta_end": 0.002},
        {"beta_schedule": "scaled_linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": np.linspace(1e-4, 0.03, 300).tolist(), "num_train_timesteps": 300},
        {"prediction_type": "sample"},
        {"prediction_type": "v_prediction"},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "linspace"},
        {"set_alpha_to_one": False},
        {"thresholding": True, "sample_max_value": 2.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_config_survives_dictionaries_and_files_and_makes_the_same_images(
    inner: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    scheduler = NestedScheduler(inner=inner, inner_steps=4, seed=0, **settings)
    wanted = end(scheduler)
    assert wanted.isfinite().all()
    scheduler.save_config(tmp_path)
    json.loads((tmp_path / "scheduler_config.json").read_text())
    copies = [
        NestedScheduler.from_config(scheduler.config),
        NestedScheduler.from_config(dict(scheduler.config)),
        NestedScheduler.from_pretrained(tmp_path),
        NestedScheduler.from_config(NestedScheduler.load_config(tmp_path)),
    ]
    for copy in copies:
        assert end(copy).equal(wanted)
    assert end(NestedScheduler.from_config(scheduler.config, inner_steps=6)).shape == SHAPE


def test_trained_betas_are_the_levels() -> None:
    betas = np.linspace(1e-4, 0.03, 50)
    scheduler = NestedScheduler(num_train_timesteps=50, trained_betas=betas.tolist(), inner_steps=5)
    torch.testing.assert_close(scheduler.betas, torch.tensor(betas, dtype=torch.float32))
    assert scheduler.alphas.equal(1 - scheduler.betas)
    assert scheduler.alphas_cumprod.equal(scheduler.alphas.cumprod(0))
    assert len(scheduler) == 50


@pytest.mark.parametrize("name", ["betas", "alphas", "alphas_cumprod"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_levels_are_diffusers_own(name: str, schedule: str) -> None:
    ours, theirs = (kind(beta_schedule=schedule) for kind in (NestedScheduler, DDPMScheduler))
    assert getattr(ours, name).equal(getattr(theirs, name))


def test_noise_and_velocity_are_diffusers_own_at_every_level() -> None:
    ours, theirs, x, noise = NestedScheduler(), DDPMScheduler(), sample(), sample(1)
    for first in range(0, 1000, 2):
        t = torch.tensor([first, 999 - first])
        assert ours.add_noise(x, noise, t).equal(theirs.add_noise(x, noise, t))
        assert ours.get_velocity(x, noise, t).equal(theirs.get_velocity(x, noise, t))
    assert ours.add_noise(x.half(), noise.half(), t).dtype == torch.float16


@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("spacing", ["nested", "leading", "trailing", "linspace"])
def test_every_index_has_its_level_and_every_outer_step_can_begin(inner: str, spacing: str) -> None:
    settings = {"inner": inner, "inner_steps": 4, "timestep_spacing": spacing, "seed": 0}
    scheduler = NestedScheduler(**settings)
    scheduler.set_timesteps(4)
    assert len(scheduler.timesteps) == 16
    assert (scheduler.timesteps >= 0).all()
    assert (scheduler.timesteps < 1000).all()
    for index in range(16):
        begun = NestedScheduler(**settings)
        begun.set_timesteps(4)
        if index % 4:
            with pytest.raises(ValueError, match=f"got call {index} of 16"):
                begun.set_begin_index(index)
            continue
        begun.set_begin_index(index)
        x = begun.add_noise(sample(), sample(1), begun.timesteps[index : index + 1])
        for i, t in enumerate(begun.timesteps[index:]):
            out = begun.step(network(x, t), t, x, generator=torch.Generator().manual_seed(i))
            x = out.prev_sample
            assert x.shape == out.pred_original_sample.shape == SHAPE
            assert x.isfinite().all()
        assert begun.progress.nfe == begun.progress.total_nfe == 16 - index
        assert begun.last_estimate is not None
        assert begun.last_estimate.equal(x)


@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_samples_keep_their_dtype(inner: str, dtype: torch.dtype) -> None:
    scheduler = NestedScheduler(inner=inner, inner_steps=2, seed=0)
    scheduler.set_timesteps(2)
    x = sample().to(dtype)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x).prev_sample
        assert x.dtype == dtype


@pytest.mark.parametrize("inner", INNERS)
def test_tuples_and_outputs_agree_and_nothing_given_is_written_to(inner: str) -> None:
    named, told = (NestedScheduler(inner=inner, inner_steps=2, seed=0) for _ in range(2))
    named.set_timesteps(2)
    told.set_timesteps(2)
    x = sample()
    for t in named.timesteps:
        output, before = network(x, t), x.clone()
        step = named.step(output, t, x)
        pair = told.step(output, t, x, return_dict=False)
        assert pair[0].equal(step.prev_sample)
        assert pair[1].equal(step.pred_original_sample)
        assert step[0].equal(pair[0])
        assert x.equal(before)
        x = step.prev_sample


def test_without_a_plan_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="no call is left in the plan"):
        NestedScheduler().step(sample(), 999, sample())
