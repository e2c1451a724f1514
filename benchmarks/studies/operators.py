"""What every operator costs a DDRM step: milliseconds of Vᵀ, V, Uᵀ and U, and memory in image-sized tensors.

Run: ``python -m benchmarks.studies.operators``. The prior is free; times are medians.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.studies.costs import FreePrior, clocked, peak_images
from benchmarks.studies.shared import show
from degradations import (
    JPEG,
    Blur,
    Colorization,
    ColourHints,
    CompressedSensing,
    Denoising,
    Downsampling,
    FourierSampling,
    Grey,
    Inpainting,
    Masked,
    Mosaic,
    Separable,
    SuperResolution,
    SVDOperator,
    simulate,
)
from degradations.kernels import gaussian
from degradations.separable import convolution
from solvers import DDRM, NoiseSource

STEPS = 4
ROUNDS = 5


def operators(size: int) -> dict[str, Callable[[], SVDOperator]]:
    """Every operator, of 3 × size × size images; size is divided by 16."""
    shape, plane = (3, size, size), (1, size, size)
    known = torch.rand(size, size, generator=torch.Generator().manual_seed(0)) < 0.5
    steps, mean = torch.full((8, 8), 20.0), torch.full((9,), 1 / 9)
    return {
        "Denoising": lambda: Denoising(shape),
        "Inpainting": lambda: Inpainting(shape, known),
        "Mosaic": lambda: Mosaic(shape),
        "Colorization": lambda: Colorization(shape),
        "ColourHints": lambda: ColourHints(shape, known.float()),
        "SuperResolution(16)": lambda: SuperResolution(shape, 16),
        "SuperResolution(4)": lambda: SuperResolution(shape, 4),
        "Downsampling(4, bicubic)": lambda: Downsampling(shape, 4),
        "Blur": lambda: Blur(shape, gaussian(1.6).float()),
        "FourierSampling": lambda: FourierSampling(shape, known),
        "Separable": lambda: Separable(shape, convolution(mean, size), convolution(mean, size), 0.03),
        "CompressedSensing(0.25)": lambda: CompressedSensing(shape, 0.25),
        "JPEG, 4:4:4": lambda: JPEG(shape, (steps, steps)),
        "JPEG, 4:2:0": lambda: JPEG(shape, (steps, steps), "4:2:0"),
        "Grey(SuperResolution(4))": lambda: Grey(shape, SuperResolution(plane, 4)),
        "Grey(Masked(Denoising))": lambda: Grey(shape, Masked(Denoising(plane), known)),
    }


def milliseconds(action: Callable[[Tensor], Tensor], given: Tensor) -> float:
    """The median of a few rounds, after one that warms up."""
    times: list[float] = []
    for _ in range(ROUNDS + 1):
        clocked(given.device, times, lambda: action(given))
    return 1e3 * median(times[1:])


@torch.no_grad()
def measured(operator: SVDOperator, batch: int) -> tuple[dict[str, float], float]:
    """Milliseconds by map, and the peak of a run in tensors as large as the batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, *operator.image_shape, generator=generator)
    measurement = simulate(x, operator, 0.1, noise=NoiseSource(range(batch)))
    y = measurement.y
    given = {"Vᵀ": (operator.Vt, x), "V": (operator.V, x), "Uᵀ": (operator.Ut, y), "U": (operator.U, x)}
    times = {name: milliseconds(*case) for name, case in given.items()}
    return times, peak_images(DDRM(FreePrior(x), measurement), x, STEPS)


def main(
    size: Annotated[int, typer.Option(min=16, help="Side of the images; a multiple of 16.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 2,
) -> None:
    """Print a table, in Markdown."""
    rows = []
    for name, make in operators(size).items():
        times, peak = measured(make(), batch)
        rows.append([name, *(f"{time:.0f}" for time in times.values()), f"{peak:.1f}"])
    told = f"{batch}×3×{size}×{size} float32, CPU, {torch.get_num_threads()} threads, medians of {ROUNDS}"
    show(["operator", "Vᵀ ms", "V ms", "Uᵀ ms", "U ms", "peak, images"], rows, told)


if __name__ == "__main__":
    typer.run(main)
