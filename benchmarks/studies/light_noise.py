"""Light noise: whether a result is further from the truth than what was measured, and what telling σ is worth.

Run: ``python -m benchmarks.studies.light_noise --data ../shared/data/photos/val.tar``. The middle of each picture
is degraded with σ from 0.002 to 0.05 and restored in 3 × 10 evaluations, once told σ and once told 0. The measured
part of a picture x is A⁺A x: that of the measurement is A⁺y. It is taken before pixels are cut to [0, 1], which
brings every picture nearer to the truth but moves block means, by less than 0.001 in the root mean square.
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.engine.methods import Ours
from benchmarks.metrics.psnr import psnr
from benchmarks.studies.shared import Data, Limit, clean_pictures, middle, show
from degradations import Measurement, SVDOperator, simulate
from restoration.priors import DiffusionPrior, load_prior, prior_for
from restoration.tasks import Task
from solvers import FIRE, NoiseSource
from solvers.posteriors.fire import Aim

SLACK = 0.01
"""dB: a tenth of what a table's last digit but one shows, and more than rounding makes."""


def operator_of(task: str, clean: Tensor) -> SVDOperator:
    """A task's operator, of pictures (B, C, H, W); inpainting's knows every second pixel or so, at random."""
    kind, (_, _, height, width) = Task(task, sigma=0.01).kind, clean.shape
    known = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) < 0.5
    return kind.operator((3, height, width), known if kind.takes_mask else None).to(clean.device)


def measured_part(operator: SVDOperator, picture: Tensor) -> Tensor:
    """A⁺A x."""
    return operator.pinv(operator(picture))


def curves(
    prior: DiffusionPrior, clean: Tensor, operator: SVDOperator, sigma: float, aim: Aim
) -> dict[str, list[float]]:
    """Mean PSNR in dB of A⁺y, and of the previews by what was told: of their measured part and of all."""
    seeds, method = range(len(clean)), Ours(aim, (10, 10, 10), FIRE.Settings(aim))
    tiled = prior_for(prior, operator.image_shape)
    told = simulate(clean, operator, sigma, noise=NoiseSource(seeds, clean.device))
    truth = measured_part(operator, clean)
    found = {"in": [float(psnr(operator.pinv(told.y), truth).mean())]}
    for name, measurement in (("told", told), ("untold", Measurement(told.y, operator, 0.0))):
        pictures = list(method.restore(tiled, measurement, seeds))
        found[f"{name}, part"] = [float(psnr(measured_part(operator, one), truth).mean()) for one in pictures]
        found[f"{name}, all"] = [float(psnr(one, clean).mean()) for one in pictures]
    return found


def broken(name: str, found: dict[str, list[float]]) -> list[str]:
    """Where a preview's measured part is further from the truth than the measurement, or telling σ was worse."""
    below = [
        f"{name}: {of} PSNR {value:.2f} dB, measured {found['in'][0]:.2f}"
        for of in ("told, part", "untold, part")
        for value in found[of]
        if value < found["in"][0] - SLACK
    ]
    worse = [
        f"{name}: told {told:.2f} dB, untold {untold:.2f}"
        for told, untold in zip(found["told, all"], found["untold, all"], strict=True)
        if told < untold - SLACK
    ]
    return below + worse


@torch.no_grad()
def main(
    data: Data,
    limit: Limit = 10,
    side: Annotated[int, typer.Option(help="Pixels a side of what is used of them.")] = 128,
    sigmas: Annotated[str, typer.Option(help="[0, 1] units, with commas.")] = "0.002,0.005,0.01,0.02,0.05",
    tasks: Annotated[str, typer.Option(help="With commas.")] = "denoise,sr2,colorize,inpaint",
    aim: Annotated[Aim, typer.Option(help="Of FIRE.")] = "faithful",
    prior: str = "photos-64",
    device: str = "auto",
) -> None:
    """Print a table, in Markdown, and where a promise was broken; exits with 1 where one was."""
    known = load_prior(prior, device)
    pictures = [middle(picture, side) for picture in clean_pictures(data, limit)]
    clean = torch.stack(pictures).to(known.device)
    rows, found_broken = [], []
    for name in tasks.split(","):
        operator = operator_of(name, clean)
        for sigma in map(float, sigmas.split(",")):
            found = curves(known, clean, operator, sigma, aim)
            rows.append([name, f"{sigma:g}", *(" ".join(f"{value:.2f}" for value in v) for v in found.values())])
            found_broken += broken(f"{name}, σ {sigma:g}", found)
    headers = ["task", "σ", "A⁺y", *(f"{of}, 10 20 30" for of in ("told, part", "told", "untold, part", "untold"))]
    conditions = f"PSNR ↑ dB. {len(clean)} pictures of {data[0].name}, {side}×{side}, {prior}, FIRE {aim}"
    show(headers, rows, f"{conditions}, {known.device}", ["", *found_broken])
    if found_broken:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
