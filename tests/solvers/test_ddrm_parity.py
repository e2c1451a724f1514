"""DDRM takes the steps of the published sampler.

``ddrm_parity.npz`` holds numbers recorded from the code that Kawar et al. published with *Denoising Diffusion
Restoration Models* (github.com/bahjat-kawar/ddrm, commit 32b6b3ccfda532ba01c9cc5b6e7456c3a06a6ca2): its
``efficient_generalized_steps`` on its own ``H_functions``, patched only for the device and for the noise, run in
float32 on a CPU. Images are 3 × 8 × 8 on the [-1, 1] scale, and so is σ_y; its 9 steps are 10 evaluations.

- Network: ε̂ = √(1−ᾱ) x + √ᾱ v, v = conv(tanh(conv(x) + t/1000 bt)) with random weights w1, b1, bt, w2, b2,
  so that ε̂ and x̂₀ both are of order 1 at every level.
- Noise: that code draws three times a step, once for each row of the table. All three were cut from one
  spectral vector ξ = Vᵀn, with n the recorded ``noise`` in image space. Its V is not ours, but the rows are
  isotropic on each eigenspace of AᵀA, so Vᵀn with our V is the same noise. Its last step's is multiplied by 0.
- ``{task}_y``, ``_start`` (x at the first level), ``_estimates`` (x̂₀ of all evaluations but the last) and
  ``_final``: one row for each of ``CONDITIONS``.

With σ_y = 0 its last step ignores the measurement (both its comparisons are strict) where ours returns it: there
the expected result has the measurement on the range, and the published numbers on the null space.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

import solvers.posteriors.ddrm
from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution
from solvers import DDRM, NoiseSchedule

# Absolute, on images of order 1. The published code divides float32 numbers by √ᾱ, 1/157 at the first level: its
# recorded x̂₀ are up to 6.5e-5 from the same code in float64, one rounding of ε̂ being worth 2e-5 to 4e-5 there.
# The largest deviation measured is 1.3e-5, and 3.8e-5 where convolutions are made to round differently.
TOLERANCE = 1e-4

SHAPE = (3, 8, 8)
CONDITIONS = ((0.0, 0.85, 1.0), (0.3, 0.85, 1.0), (0.5, 0.5, 0.7))  # σ_y, η, η_b
NOISY = (1, 2)
TASKS = {
    "denoise": lambda mask: Denoising(SHAPE),
    "super_resolution": lambda mask: SuperResolution(SHAPE, 4),
    "colorize": lambda mask: Colorization(SHAPE, weights=(0.3333, 0.3334, 0.3333)),
    "inpaint": lambda mask: Inpainting(SHAPE, mask),
}


class Network:
    """The recorded network as a prior."""

    schedule = NoiseSchedule.linear()
    image_shape = SHAPE

    def __init__(self, recorded):
        self.w1, self.b1, self.bt, self.w2, self.b2 = (recorded[name] for name in ("w1", "b1", "bt", "w2", "b2"))

    def denoise(self, x_k, k):
        t, alpha_bar = k - 1, self.schedule.alpha_bar(k)
        hidden = conv2d(x_k, self.w1, self.b1, padding=1) + (t / 1000 * self.bt)[:, None, None]
        v = conv2d(hidden.tanh(), self.w2, self.b2, padding=1)
        epsilon = math.sqrt(1 - alpha_bar) * x_k + math.sqrt(alpha_bar) * v
        return (x_k - math.sqrt(1 - alpha_bar) * epsilon) / math.sqrt(alpha_bar)


class Replay:
    """Recorded noise in image space, seen in an operator's spectral domain."""

    def __init__(self, images, operator):
        self.images, self.operator = iter(images), operator

    def normal(self, shape):
        return self.operator.Vt(next(self.images)).reshape(shape)


pytestmark = pytest.mark.usefixtures("one_thread")  # 8 × 8 pixels: waking threads takes longer than the arithmetic


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("ddrm_parity.npz"), allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def published(recorded, task, condition):
    """The process as it was run, and its recorded start, estimates and result."""
    sigma, eta, eta_b = CONDITIONS[condition]
    measurement = Measurement(recorded[f"{task}_y"][condition], TASKS[task](recorded["mask"]), sigma)
    start, estimates, final = (recorded[f"{task}_{name}"][condition] for name in ("start", "estimates", "final"))
    return DDRM(Network(recorded), measurement, eta, eta_b), start, estimates, final


def deviations(recorded, task, condition):
    """The largest absolute deviation of every x̂₀ on the way, and of the result."""
    ddrm, start, estimates, final = published(recorded, task, condition)
    operator, y = ddrm.measurement.operator, ddrm.measurement.y
    if not ddrm.measurement.sigma:
        final = final - operator.pinv(operator(final)) + operator.pinv(y)
    levels = ddrm.schedule.steps(1000, 9, "ddrm")
    ours = list(ddrm.follow(start, levels, Replay(recorded["noise"], operator)))
    return [float((a - b).abs().max()) for a, b in zip(ours, [*estimates, final], strict=True)]


@pytest.mark.parametrize("condition", range(len(CONDITIONS)))
@pytest.mark.parametrize("task", TASKS)
def test_every_estimate_and_the_result_are_the_published_ones(recorded, task, condition):
    assert max(deviations(recorded, task, condition)) <= TOLERANCE


@pytest.mark.parametrize("task", TASKS)
def test_operators_measure_as_the_published_ones(recorded, task):
    # Sums of at most 16 float32 numbers of order 1.
    measured = TASKS[task](recorded["mask"])(recorded["x_orig"])
    assert float((measured - recorded[f"{task}_y"][0]).abs().max()) <= 1e-6


@pytest.mark.parametrize("condition", range(len(CONDITIONS)))
@pytest.mark.parametrize("task", TASKS)
def test_initial_is_the_published_start_in_the_variance_preserving_scale(recorded, task, condition):
    # It divides by σ where we multiply by √ᾱ = √(1−ᾱ)/σ. Rounding of float32 numbers up to 4: 5e-7 each.
    ddrm, start, _, _ = published(recorded, task, condition)
    ours = ddrm.initial(1000, Replay([recorded["noise_start"]], ddrm.measurement.operator))
    scale = math.sqrt(1 - ddrm.schedule.alpha_bar(1000))
    assert float((ours - scale * start).abs().max()) <= 1e-5


def exchanged(sigma, sigma_next, nu, eta, eta_b):
    """``ddrm_coefficients`` with the rows of σ' < ν and σ' ≥ ν exchanged."""
    null, noisier = nu.isinf(), nu > sigma_next
    keep = math.sqrt(1 - eta**2) * sigma_next
    follow = (sigma_next**2 - (eta_b * nu) ** 2).clamp(min=0).sqrt()
    b = torch.where(null, keep / sigma, 0)
    c = torch.where(null, 0, torch.where(noisier, eta_b, keep / nu))
    d = torch.where(noisier & ~null, follow, eta * sigma_next)
    return 1 - b - c, b, c, d


@pytest.mark.parametrize("condition", NOISY)
@pytest.mark.parametrize("task", TASKS)
def test_exchanged_rows_would_be_noticed(recorded, task, condition, monkeypatch):
    monkeypatch.setattr(solvers.posteriors.ddrm, "ddrm_coefficients", exchanged)
    assert max(deviations(recorded, task, condition)) > 100 * TOLERANCE


@pytest.mark.parametrize("condition", range(len(CONDITIONS)))
@pytest.mark.parametrize("operator", [SuperResolution, Colorization])
def test_a_forgotten_V_would_be_noticed(recorded, operator, condition, monkeypatch):
    task = {SuperResolution: "super_resolution", Colorization: "colorize"}[operator]
    monkeypatch.setattr(operator, "V", lambda self, z: z)
    assert max(deviations(recorded, task, condition)) > 100 * TOLERANCE
