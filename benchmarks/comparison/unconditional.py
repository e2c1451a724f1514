"""What samplers make of a Gaussian when nothing was measured, against their exact recursions.

With x₀ ~ N(m, v) in every pixel the denoiser is affine, and so is every step: mean and variance of what a sampler
returns follow from a recursion of a few numbers, and a sample of pictures must agree with it to its own error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.comparison.deepinv_samplers import denoiser_of, told
from benchmarks.engine.markdown import markdown
from degradations import Inpainting, Measurement
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer
from solvers import DDRM, NoiseSchedule
from solvers.schedule import outer_levels

ETA = DDRM.Settings.eta

Array = NDArray[np.float64]
MEAN, STDS = 0.3, (0.25, 0.1, 0.025)
"""Of the Gaussian's pixels, in [0, 1] units: one pixel each."""
SAMPLES = 4000
SHAPE = (1, 1, len(STDS))


@dataclass(frozen=True)
class Affine:
    """x -> F x + g + noise of variance C, pixel by pixel."""

    F: Array
    g: Array
    C: Array

    def then(self, after: Affine) -> Affine:
        """Both, one after the other."""
        return Affine(after.F * self.F, after.F * self.g + after.g, after.F**2 * self.C + after.C)


def prior() -> GaussianPrior:
    """The Gaussian, on the [-1, 1] scale."""
    mean = torch.full(SHAPE, 2 * MEAN - 1, dtype=torch.float64)
    return GaussianPrior(mean, torch.diag(4 * torch.tensor(STDS, dtype=torch.float64) ** 2))


def denoised(sigma: float, mean: float, variance: Array) -> Affine:
    """E[x₀ | x₀ + σ n]."""
    gain = variance / (variance + sigma**2)
    return Affine(gain, mean * (1 - gain), np.zeros_like(gain))


def step(sigma: float, after: float, eta: float, spread: float, mean: float, variance: Array) -> Affine:
    """DDRM's step where nothing was measured: x̂₀ + √(1−η²) σ' (x − x̂₀)/σ + η σ' ξ, ξ of deviation `spread`."""
    x0, keep = denoised(sigma, mean, variance), math.sqrt(1 - eta**2) * after / sigma
    noise = np.full_like(variance, (eta * after * spread) ** 2)
    return Affine((1 - keep) * x0.F + keep, (1 - keep) * x0.g, noise)


def ours(allocation: tuple[int, ...], schedule: NoiseSchedule) -> Affine:
    """The end of nested DDRM, in [0, 1] units, from pure noise; VE coordinates."""
    mean, variance = 2 * MEAN - 1, 4 * np.square(STDS)
    nothing, one = np.zeros_like(variance), np.ones_like(variance)
    x = Affine(nothing, nothing, one * schedule.sigma(schedule.K) ** 2)
    outer = outer_levels(schedule.K, len(allocation))
    for n, (k, k_next) in zip(allocation, pairwise(outer), strict=True):
        inner = Affine(one, nothing, nothing)
        for level, after in pairwise((*schedule.steps(k, n), 0)):
            inner = inner.then(step(schedule.sigma(level), schedule.sigma(after), ETA, 1.0, mean, variance))
        r = schedule.sigma(k_next) / schedule.sigma(k)
        x = x.then(Affine((1 - r) * inner.F + r, (1 - r) * inner.g, (1 - r) ** 2 * inner.C))
    return Affine(x.F, (x.g + 1) / 2, x.C / 4)


def deepinv_ddrm(nfe: int) -> Affine:
    """The same of ``deepinv.sampling.DDRM``, [0, 1] units; in 0.4.1 and 0.5.0 it divides its noise by √2."""
    variance, spread = np.square(STDS), math.sqrt(0.5)
    nothing = np.zeros_like(variance)
    sigmas = np.linspace(1, 0, nfe)
    x = Affine(nothing, nothing, np.full_like(variance, (sigmas[0] * spread) ** 2))
    for sigma, after in pairwise(sigmas.tolist()):
        x = x.then(step(sigma, after, ETA, spread, MEAN, variance))
    return x


def draw_ours(allocation: tuple[int, ...]) -> Tensor:
    """Samples (N, 1, 1, pixels)."""
    from benchmarks.engine.trials import Trial, follow

    posterior = Restorer(prior(), "ddrm").posterior(_nothing(SAMPLES))
    return follow(Trial("ours", allocation, (sum(allocation),)), posterior, list(range(SAMPLES)))[1]


def draw_deepinv(nfe: int) -> Tensor:
    """Samples (N, 1, 1, pixels); the global generator, which it uses, is put back."""
    from deepinv.sampling import DDRM

    measurement = _nothing(SAMPLES)
    model = DDRM(denoiser_of(prior()), sigmas=np.linspace(1, 0, nfe))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        samples: Tensor = model(measurement.y.clone(), told(measurement))
    return samples


def _nothing(count: int) -> Measurement:
    return Measurement(torch.zeros(count, *SHAPE), Inpainting(SHAPE, torch.zeros(1, len(STDS), dtype=torch.bool)))


def table(nfe: int, outer: int) -> list[str]:
    """Markdown lines: sampled mean and standard deviations, and in brackets those of the recursion."""
    split = (nfe // outer,) * outer
    schedule = prior().schedule
    found = (
        ("DDRM", draw_ours((nfe,)), ours((nfe,), schedule)),
        ("nested DDRM", draw_ours(split), ours(split, schedule)),
        ("deepinv DDRM", draw_deepinv(nfe), deepinv_ddrm(nfe)),
    )
    head = [f"nothing measured, {nfe} evaluations", "mean", *("std" for _ in STDS), "largest deviation"]
    exact = ["the Gaussian itself", f"{MEAN:.4f}", *(f"{std:.4f}" for std in STDS), ""]
    rows = [exact, *(_row(name, samples, expected) for name, samples, expected in found)]
    told = (
        f"{SAMPLES:,} samples of independent Gaussian pixels, [0, 1] units; in brackets what the sampler's exact "
        "recursion gives, and in the last column how far the two are apart in standard errors."
    )
    return [*markdown(head, rows), "", told]


def _row(name: str, samples: Tensor, expected: Affine) -> list[str]:
    pixels = samples.flatten(1).double().numpy()
    mean, std, exact = pixels.mean(0), pixels.std(0, ddof=1), np.sqrt(expected.C)
    cells = [f"{mean.mean():.4f} ({expected.g.mean():.4f})"]
    cells += [f"{a:.4f} ({b:.4f})" for a, b in zip(std, exact, strict=True)]
    return [name, *cells, f"{deviation(mean, std, expected):.1f}"]


def deviation(mean: Array, std: Array, expected: Affine) -> float:
    """The largest difference of sampled means and standard deviations from the recursion, in standard errors."""
    exact = np.sqrt(expected.C)
    of_mean = np.abs(mean - expected.g) / (exact / math.sqrt(SAMPLES))
    of_std = np.abs(std - exact) / (exact / math.sqrt(2 * SAMPLES))
    return float(max(of_mean.max(), of_std.max()))
