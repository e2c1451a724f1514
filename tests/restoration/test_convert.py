"""A converted prior answers as it did."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel

from restoration.errors import OutputError
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.formats.convert import save_folder
from solvers import NoiseSchedule


def prior(schedule: NoiseSchedule) -> DiffusionPrior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8,),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
        )
    return DiffusionPrior(network.eval(), schedule, "epsilon")


@pytest.mark.parametrize(
    "schedule",
    [
        NoiseSchedule.linear(),
        NoiseSchedule.linear(50, 0.002, 0.4),
        NoiseSchedule.cosine(),
        NoiseSchedule.from_alpha_bar([0.9, 0.5, 0.2, 0.01]),
    ],
    ids=["linear", "short", "cosine", "given"],
)
def test_the_folder_answers_as_the_prior_did(tmp_path: Path, schedule: NoiseSchedule) -> None:
    made = prior(schedule)
    save_folder(made, tmp_path / "folder")
    again = load_prior(tmp_path / "folder", "cpu")
    assert again.schedule.K == schedule.K
    # diffusers keeps cosine and given betas in float32
    torch.testing.assert_close(again.schedule.alpha_bars, schedule.alpha_bars, atol=1e-6, rtol=1e-4)
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.denoise(x, 2), made.denoise(x, 2), atol=1e-4, rtol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_diffusers_loads_the_folder_itself(tmp_path: Path) -> None:
    save_folder(prior(NoiseSchedule.linear()), tmp_path / "folder")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "folder", local_files_only=True, low_cpu_mem_usage=False)
    assert type(pipeline.unet) is UNet2DModel
    assert pipeline.scheduler.config.beta_schedule == "linear"
    assert pipeline.scheduler.config.beta_end == 0.02


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        save_folder(prior(NoiseSchedule.linear()), tmp_path / "folder")
    with pytest.raises(OutputError, match="cannot be written"):
        save_folder(prior(NoiseSchedule.linear()), tmp_path / "nowhere" / "folder")


def test_what_is_published_is_open_to_all_that_the_umask_lets_in(tmp_path: Path) -> None:
    save_folder(load_prior("faces-64", "cpu"), tmp_path / "new")
    umask = os.umask(0)
    os.umask(umask)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path
