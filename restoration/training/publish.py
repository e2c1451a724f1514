"""The prior so far, as the folder that the user asked for: usable from the first checkpoint on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import UNet2DModel
from torch import Tensor

from restoration.errors import OutputError
from restoration.pictures import images
from restoration.priors import DiffusionPrior
from restoration.priors.formats.convert import save_folder
from solvers import DDIM, NoiseSchedule, NoiseSource
from solvers.units import from_model

SAMPLES, STEPS = 8, 30


def publish(network: UNet2DModel, schedule: NoiseSchedule, folder: Path, texts: dict[str, str]) -> None:
    """Write the network (fp16) and `texts` (by file name) into `folder`, each file in one step.

    Raises:
        OutputError: it cannot be written.
    """
    half = type(network).from_config(network.config).half()
    half.load_state_dict({name: tensor.cpu().half() for name, tensor in network.state_dict().items()})
    prior = DiffusionPrior(half.eval(), schedule, "v_prediction", folder.name, "unnamed")
    try:
        for left in folder.glob(".*.part"):  # by a kill
            shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error.strerror or error}") from None
    try:
        save_folder(prior, made / "prior")
        for name, text in texts.items():
            (made / "prior" / name).write_text(text, encoding="utf-8")
        files = [path for path in (made / "prior").rglob("*") if path.is_file()]
        for file in sorted(files, key=lambda file: (file.name in texts, file.name)):  # texts tell of what is there
            final = folder / file.relative_to(made / "prior")
            final.parent.mkdir(exist_ok=True)
            file.replace(final)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


@torch.no_grad()
def draw_samples(network: UNet2DModel, schedule: NoiseSchedule, path: Path) -> None:
    """A picture of ``SAMPLES`` unconditional samples, of the same seeds every time."""
    prior = DiffusionPrior(network, schedule, "v_prediction", "training", "unnamed")
    noise = NoiseSource(range(SAMPLES), prior.device)
    x = noise.normal((SAMPLES, *prior.image_shape))
    for estimate in DDIM(prior, eta=1.0).sample(x, schedule.K, STEPS, noise):
        x = estimate
    images.save(path, tile(from_model(x).clamp(0, 1), rows=2), {})


def tile(pictures: Tensor, rows: int) -> Tensor:
    """(B, C, H, W) as one (C, rows·H, B/rows·W)."""
    count, channels, height, width = pictures.shape
    grid = pictures.reshape(rows, count // rows, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, -1)
