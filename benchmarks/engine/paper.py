"""What the paper reports. Source: Elata, Kawar, Michaeli, Elad, Nested Diffusion, WACV 2024, Table 2."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.engine.trials import Trial, nested_trial, plain_trial
from restoration.tasks import Task, kind_of
from solvers import DDRM

OUTER, INNER = 3, 10
POSTERIOR = DDRM.Settings(eta=0.85, eta_b=1.0)
"""Pinned for comparisons whatever our defaults become."""
TASKS = {
    "denoise": Task("denoise", sigma=0.5, simulate=True),  # 1.0 on the paper's [-1, 1] scale
    "sr16": Task("sr16", simulate=True),
    "colorize": Task("colorize", simulate=True),
    "inpaint": Task("inpaint", simulate=True),  # half of the pixels, at random
}


PSNR = {
    "denoise": (25.76, 25.80, 25.81, 25.83),
    "sr16": (23.19, 23.55, 23.89, 23.78),
    "colorize": (19.47, 21.54, 21.55, 23.92),
    "inpaint": (31.20, 33.16, 35.07, 35.08),
}
FID = {
    "denoise": (19.11, 16.70, 12.97, 12.24),
    "sr16": (16.77, 13.79, 11.65, 11.30),
    "colorize": (12.78, 7.08, 6.95, 4.28),
    "inpaint": (14.63, 7.57, 3.26, 3.18),
}
"""CelebA-HQ 256, 3 outer × 10 inner steps, then plain DDRM; its number of steps is not stated: 30 assumed."""
DDRM_PSNR = {"sr4": 26.55, "deblur-uniform": 35.64}
"""DDRM's own rows, noiseless: Kawar et al., *Denoising Diffusion Restoration Models*, 2022, Table 1, its network
without classes, as public notes on that paper quote it; its PDF was not to be had. They have no row of the Gaussian
and the anisotropic blur, of bicubic shrinking or of compressed sensing, and none of CelebA."""
DDRM_CONDITIONS = "1,000 pictures of ImageNet at 256×256, plain DDRM, 20 evaluations"
CLOSE = {"PSNR": 0.3, "FID": 1.0}
"""How far from the paper a number may be to be called equal: seeds, masks and the test images differ."""


def chosen(names: Sequence[str]) -> dict[str, Task]:
    """Simulated tasks by name: the paper's as the paper poses them, any other as ``restore --simulate`` does.

    Raises:
        ValueError: a name that is no task's.
    """
    for name in names:
        kind_of(name, "--tasks")
    return {name: TASKS.get(name) or Task(name, simulate=True) for name in names}


def trials(outer: int, inner: int) -> tuple[Trial, Trial]:
    """Nested, and plain DDRM of as many evaluations, looked at after every inner run's worth."""
    stops = tuple(inner * (i + 1) for i in range(outer))
    return (
        nested_trial((inner,) * outer, stops),
        plain_trial(outer * inner, stops, ("returned", "drawn")),
    )
