"""How far samplers are from the exact posterior, where it is known in closed form.

For a Gaussian prior and a linear measurement the posterior is a Gaussian; for a mixture of Gaussians it is a
mixture. Every sampler draws many samples given the same measurements; what is told is the Wasserstein-2 distance
between what it draws and the posterior (for mixtures the sliced one), in units of the posterior's own standard
deviation, beside the share of that deviation which the samples keep. So grids and samplers are chosen where the
truth is known, and on no picture.

    python -m benchmarks.studies.exact_posterior
    python -m benchmarks.studies.exact_posterior --priors mixture --nfe 10 30 --samples 1000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.engine.markdown import markdown
from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator, simulate
from nested import NestedDiffusion
from restoration.priors.gaussian import GaussianPrior
from solvers import NoiseSchedule, NoiseSource, Spectral, settings_of
from solvers.prior import per_image

SHAPE = (3, 4, 4)
LENGTH = 2.0
"""Of the correlation between pixels, in pixels."""
OPERATORS: dict[str, Callable[[], SVDOperator]] = {
    "denoise": lambda: Denoising(SHAPE),
    "inpaint": lambda: Inpainting(SHAPE, torch.arange(16).reshape(4, 4) % 3 != 0),
    "sr2": lambda: SuperResolution(SHAPE, 2),
    "colorize": lambda: Colorization(SHAPE),
}
CASES: dict[str, tuple[str, float]] = {
    "denoise 0.1": ("denoise", 0.2),
    "denoise 0.5": ("denoise", 1.0),
    "inpaint": ("inpaint", 0.0),
    "inpaint 0.05": ("inpaint", 0.1),
    "sr2": ("sr2", 0.0),
    "sr2 0.05": ("sr2", 0.1),
    "colorize": ("colorize", 0.0),
}
"""Operator and σ_y on the [-1, 1] scale; names tell σ in [0, 1] units, as everywhere."""


def covariance(length: float = LENGTH, scale: float = 0.5) -> Tensor:
    """Of pixels that are alike when they are near, and of channels that are alike: (d, d) float64."""
    channels, height, width = SHAPE
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([row.flatten(), column.flatten()], dim=1).double()
    near = torch.exp(-torch.cdist(places, places) / length)
    alike = torch.full((channels, channels), 0.8, dtype=torch.float64).fill_diagonal_(1)
    return scale**2 * torch.kron(alike, near)


class GaussianMixturePrior:
    """x₀ ~ Σ w_i N(m_i, C), with the exact E[x₀ | x_k] and the exact posterior of a linear measurement.

    Args:
        means: (n, C, H, W), on the [-1, 1] scale.
        weights: (n,), adding up to 1.
        covariance: (d, d), of every component.
    """

    def __init__(self, means: Tensor, weights: Tensor, covariance: Tensor) -> None:
        self.schedule, self.device, self.name = NoiseSchedule.linear(), means.device, "mixture"
        self.image_shape = (int(means.shape[1]), int(means.shape[2]), int(means.shape[3]))
        self._means, self._weights, self._covariance = means.flatten(1).double(), weights.double(), covariance
        self._variances, self._axes = torch.linalg.eigh(covariance)

    def fingerprint(self) -> str:
        """Of this study's only one."""
        return "mixture"

    def draw(self, count: int, seed: int) -> Tensor:
        """Samples (count, C, H, W)."""
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self._weights, count, replacement=True, generator=generator)
        white = torch.randn(count, len(self._variances), generator=generator, dtype=torch.float64)
        drawn: Tensor = self._means[which] + (white * self._variances.clamp(min=0).sqrt()) @ self._axes.mT
        return drawn.reshape(-1, *self.image_shape)

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """E[x₀ | x_k], computed in float64, in x_k's dtype."""
        flat = x_k.flatten(1).double()
        alpha_bar = per_image(k, self.schedule.alpha_bars, flat)
        root = alpha_bar**0.5
        spread = alpha_bar * self._variances + 1 - alpha_bar
        gain = root * self._variances / spread
        centred = (flat[:, None] - root * self._means) @ self._axes  # (B, n, d)
        share = (self._weights.log() - (centred**2 / spread).sum(dim=2) / 2).softmax(dim=1)
        each = self._means + (centred * gain) @ self._axes.mT
        x0: Tensor = (share[..., None] * each).sum(dim=1)
        return x0.reshape(x_k.shape).to(x_k.dtype)

    def posterior(self, measurement: Measurement, count: int, seed: int) -> Tensor:
        """Exact samples (count, d) of one measured image."""
        matrix, y, noise = linear(measurement)
        means, each = condition(self._means, self._covariance, matrix, y, noise)
        inside = matrix @ self._covariance @ matrix.mT + noise * torch.eye(len(y))
        away = y - self._means @ matrix.mT
        log = self._weights.log() - (away * torch.linalg.solve(inside, away.mT).mT).sum(dim=1) / 2
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(log.softmax(dim=0), count, replacement=True, generator=generator)
        white = torch.randn(count, len(each), generator=generator, dtype=torch.float64)
        return means[which] + white @ root_of(each)


def linear(measurement: Measurement) -> tuple[Tensor, Tensor, float]:
    """(A, y, σ_y²) of one measured image in independent rows of A: S Vᵀ on the range, Uᵀ y, at least rounding."""
    operator = measurement.operator
    d = math.prod(operator.image_shape)
    s = operator.singular_values.double().expand(operator.image_shape).flatten()
    rotation = operator.Vt(torch.eye(d).reshape(d, *operator.image_shape)).reshape(d, d).double().mT
    kept = s > 0
    y = operator.Ut(measurement.y).double().reshape(-1)[kept]
    return (s[:, None] * rotation)[kept], y, max(float(measurement.sigma), 1e-6) ** 2


def condition(means: Tensor, prior: Tensor, matrix: Tensor, y: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Mean (…, d) and covariance (d, d) of x given y = A x + noise, x ~ N(mean, prior)."""
    inside = matrix @ prior @ matrix.mT + noise * torch.eye(len(y), dtype=torch.float64)
    gain = torch.linalg.solve(inside, matrix @ prior).mT
    return means + (y - means @ matrix.mT) @ gain.mT, prior - gain @ matrix @ prior


def gaussian_posterior(one: Measurement) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of one measured image under this study's Gaussian prior."""
    return condition(torch.zeros(math.prod(SHAPE), dtype=torch.float64), covariance(), *linear(one))


def root_of(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix."""
    values, axes = torch.linalg.eigh((covariance + covariance.mT) / 2)
    root: Tensor = (axes * values.clamp(min=0).sqrt()) @ axes.mT
    return root


def wasserstein(samples: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """The Wasserstein-2 distance of the samples' Gaussian (n, d) from N(mean, covariance)."""
    other = torch.cov(samples.mT)
    root = root_of(covariance)
    between = root_of(root @ other @ root)
    squared = (samples.mean(dim=0) - mean).square().sum() + (other + covariance - 2 * between).trace()
    return math.sqrt(max(float(squared), 0))


def sliced(samples: Tensor, exact: Tensor, directions: int = 256) -> float:
    """The sliced Wasserstein-2 distance of two sets of samples (n, d), times √d: as large as W2 for a shift."""
    d = samples.shape[1]
    rays = torch.randn(d, directions, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rays = rays / rays.norm(dim=0)
    apart = (samples @ rays).sort(dim=0).values - (exact @ rays).sort(dim=0).values
    return math.sqrt(d * float(apart.square().mean()))


@dataclass(frozen=True)
class Distance:
    """How one sampler does in one case, averaged over measurements.

    Args:
        away: Wasserstein-2 in units of √trace of the posterior's covariance.
        kept: the samples' own √trace in the same units: 1 is right.
    """

    away: float
    kept: float


def measured(
    prior: GaussianPrior | GaussianMixturePrior,
    settings: Spectral.Settings | None,
    case: str,
    allocation: Sequence[int],
    samples: int,
    measurements: int = 3,
) -> Distance:
    """Sample and compare; settings None stand for exact samples, which tell what sampling alone costs."""
    name, sigma = CASES[case]
    away = kept = 0.0
    for seed in range(measurements):
        x = clean(prior, seed)
        one = simulate(x.float(), OPERATORS[name](), sigma, noise=NoiseSource([seed]))
        exact = truth(prior, one, samples, seed)
        mean, spread = exact.mean(dim=0), torch.cov(exact.mT)
        if isinstance(prior, GaussianPrior):
            mean, spread = gaussian_posterior(one)
        drawn = exact if settings is None else sampled(prior, settings, one, allocation, samples)
        size = math.sqrt(float(spread.trace()))
        if isinstance(prior, GaussianPrior):
            away += wasserstein(drawn, mean, spread) / size
        else:
            away += sliced(drawn, truth(prior, one, samples, seed + 1000)) / size
        kept += math.sqrt(float(torch.cov(drawn.mT).trace())) / size
    return Distance(away / measurements, kept / measurements)


def clean(prior: GaussianPrior | GaussianMixturePrior, seed: int) -> Tensor:
    """One clean image (1, C, H, W)."""
    if isinstance(prior, GaussianMixturePrior):
        return prior.draw(1, seed)
    white = torch.randn(1, math.prod(SHAPE), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (white @ root_of(covariance())).reshape(1, *SHAPE)


def truth(prior: GaussianPrior | GaussianMixturePrior, one: Measurement, count: int, seed: int) -> Tensor:
    """Exact samples of the posterior (count, d)."""
    if isinstance(prior, GaussianMixturePrior):
        return prior.posterior(one, count, seed)
    mean, spread = gaussian_posterior(one)
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, len(mean), dtype=torch.float64, generator=generator)
    return mean + white @ root_of(spread)


def sampled(
    prior: GaussianPrior | GaussianMixturePrior,
    settings: Spectral.Settings,
    one: Measurement,
    allocation: Sequence[int],
    count: int,
) -> Tensor:
    """What a sampler draws (count, d)."""
    nested = NestedDiffusion(settings.of(prior, one.expand(count)), allocation)
    *_, last = nested.run(nested.begin(NoiseSource(range(count))))
    return last.x0.flatten(1).double()


def priors() -> dict[str, GaussianPrior | GaussianMixturePrior]:
    """A correlated Gaussian, and three pictures in a bed of noise."""
    generator = torch.Generator().manual_seed(7)
    faces = 0.6 * torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64).sign()
    return {
        "gaussian": GaussianPrior(torch.zeros(SHAPE), covariance()),
        "mixture": GaussianMixturePrior(faces, torch.tensor([0.5, 0.3, 0.2]), covariance(scale=0.2)),
    }


SAMPLERS: dict[str, Spectral.Settings] = {
    "DDRM": settings_of("ddrm"),
    "DDRM, log grid": settings_of("ddrm").replaced({"grid": "log"}),
    "FIRE natural": settings_of("fire"),
    "FIRE faithful": settings_of("fire").replaced({"aim": "faithful"}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table a prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", nargs="+", default=["gaussian", "mixture"], choices=["gaussian", "mixture"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20, 30, 100])
    parser.add_argument("--outer", type=int, default=1, help="outer steps; 1 is plain")
    parser.add_argument("--samples", type=int, default=500)
    asked = parser.parse_args(arguments)
    for name, prior in priors().items():
        if name not in asked.priors:
            continue
        rows = []
        for case in asked.cases:
            floor = measured(prior, None, case, (1,), asked.samples)
            rows.append([case, "exact samples", *([f"{floor.away:.2f} · {floor.kept:.2f}"] * len(asked.nfe))])
            for label, settings in SAMPLERS.items():
                found = [
                    measured(prior, settings, case, (nfe // asked.outer,) * asked.outer, asked.samples)
                    for nfe in asked.nfe
                ]
                rows.append([case, label, *(f"{cell.away:.2f} · {cell.kept:.2f}" for cell in found)])
        head = [f"{name}, {asked.outer} outer", "sampler", *(f"{nfe} NFE" for nfe in asked.nfe)]
        print("\n".join(markdown(head, rows)), end="\n\n")
    print("Distance from the exact posterior · standard deviation kept, both in units of the posterior's own.")


if __name__ == "__main__":
    main()
