"""Any prior as a folder in diffusers format, so that it is converted once and loads anywhere."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError

from nested.files import open_to_all
from restoration.errors import OutputError
from restoration.priors.diffusion import DiffusionPrior
from solvers import NoiseSchedule


def save_folder(prior: DiffusionPrior, folder: Path) -> None:
    """Write ``unet/``, ``scheduler/`` and, for diffusers, ``model_index.json``; the folder appears whole or not.

    A plain ``UNet2DModel`` then loads with ``DDPMPipeline.from_pretrained``; one of our thin subclass only here.

    Raises:
        OutputError: the folder exists already, or cannot be written.
    """
    refuse_existing(folder)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder.parent} cannot be written to: {error.strerror or error}") from None
    try:
        prior.network.to(memory_format=torch.contiguous_format)  # what files hold
        prior.network.save_pretrained(made / "unet")
        learned = prior.network.config.out_channels == 2 * prior.network.config.in_channels
        scheduler = DDPMScheduler(
            **_betas(prior.schedule),
            num_train_timesteps=prior.schedule.K,
            prediction_type=prior.prediction,
            clip_sample=False,
            variance_type="fixed_small" if not learned else "learned_range",
        )
        scheduler.save_pretrained(made / "scheduler")
        if type(prior.network) is UNet2DModel:  # diffusers has no other that it could load
            index = {
                "_class_name": "DDPMPipeline",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": ["diffusers", "UNet2DModel"],
            }
            (made / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        open_to_all(made)
        made.rename(folder)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """OutputError where there is something already."""
    if folder.exists():
        raise OutputError(f"{folder} exists already; choose another output")


def _betas(schedule: NoiseSchedule) -> dict[str, Any]:
    """The scheduler's settings that give back this schedule."""
    betas = 1 - schedule.alpha_bars[1:] / schedule.alpha_bars[:-1]
    start, end = round(float(betas[0]), 12), round(float(betas[-1]), 12)  # as written, before rounding in 1 - β
    if (betas - torch.linspace(start, end, schedule.K, dtype=torch.float64)).abs().max() < 1e-11:
        return {"beta_schedule": "linear", "beta_start": start, "beta_end": end}
    if schedule.alpha_bars.equal(NoiseSchedule.cosine(schedule.K).alpha_bars):
        return {"beta_schedule": "squaredcos_cap_v2"}
    return {"trained_betas": betas.tolist()}
