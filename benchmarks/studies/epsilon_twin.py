"""A prior taught to predict ε instead of v: the papers' networks do, and ours do not.

Run: ``python -m benchmarks.studies.epsilon_twin faces.tar --prior faces-64 --steps 600 -o twin/``, then any other
benchmark with ``--prior twin/``. What differs between the two is the weight of an error at high noise: in x̂₀ an
ε-network's is multiplied by σ_k, up to 157.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from restoration.pictures.sources import find
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.formats.convert import save_folder
from restoration.training.checkpoint import Checkpoints
from restoration.training.objective import Objective
from restoration.training.pictures import Form, Pictures
from restoration.training.recipe import Recipe
from restoration.training.trainer import Trainer
from solvers import NoiseSchedule


class EpsilonObjective(Objective):
    """The min-SNR-γ weighted error of ε: min(SNR, γ)/SNR at every level."""

    def __init__(self, schedule: NoiseSchedule, gamma: float, device: torch.device) -> None:
        super().__init__(schedule, gamma, device)
        alpha_bars = schedule.alpha_bars[1:]
        snr = alpha_bars / (1 - alpha_bars)
        self.weight = (snr.clamp(max=gamma) / snr).float().to(device)

    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
        """What the network is to answer: ε."""
        return noise


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders and tars of pictures to train on.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the twin, beside its OUTPUT.training.")
    ],
    prior: Annotated[str, typer.Option(help="Whose network it starts from.")] = "faces-64",
    steps: Annotated[int, typer.Option(help="Of training, 32 pictures each.")] = 600,
    rate: Annotated[float, typer.Option(help="The highest learning rate of AdamW.")] = 3e-4,
) -> None:
    """Train the twin; repeated after a kill, it goes on."""
    start, console = load_prior(prior, "cpu", "fp32"), Console(highlight=False)
    accelerator = Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available())
    channels, size, _ = start.image_shape
    pictures = Pictures(find(tuple(data)), Form(size, channels, crop=False))
    place = output.with_name(f"{output.name}.training")
    trainer = Trainer(
        accelerator,
        start.network.requires_grad_(True),
        EpsilonObjective(start.schedule, 5.0, accelerator.device),
        Recipe(seconds=0, steps=steps, batch=32, rate=rate, decay=0.999),
        Checkpoints(place, accelerator, {"prior": prior, "network": start.weights_sha256}),
        stop=lambda: False,
        watch=lambda: None,
        kept=lambda: console.print(f"step {trainer.progress.step}, loss {trainer.progress.losses[-1]:.4f}"),
    )
    trainer.run(pictures, range(len(pictures)))
    trainer.ema.copy_to(start.network.parameters())
    network = start.network.cpu().eval().requires_grad_(False)
    save_folder(DiffusionPrior(network, start.schedule, "epsilon", output.name, "unnamed"), output)
    progress = trainer.progress
    console.print(f"{output}: {progress.images:,} images in {progress.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    typer.run(main)
