"""DDRM, FIRE, DDIM and their nested versions against the exact recursion on a Gaussian prior of correlated pixels.

With x₀ ~ N(μ, Σ) the denoiser is affine, so every step maps x to F x + g plus Gaussian noise of covariance C. The
recursion below composes these maps in float64 from the explicit matrix of A and NumPy's SVD; it shares no code
with the solvers. Ten thousand samples of each sampler must have its mean and covariance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator
from nested import NestedDiffusion
from restoration.priors import GaussianPrior
from solvers import DDIM, DDRM, FIRE, NoiseSchedule, NoiseSource, Spectral

Array = NDArray[np.float64]
SHAPE = (3, 4, 4)
D = 48
SAMPLES = 10_000
SCHEDULE = NoiseSchedule.linear(100, 1e-3, 0.2)
GENERATOR = np.random.default_rng(0)
AXES = np.linalg.qr(GENERATOR.normal(size=(D, D)))[0]
COVARIANCE = AXES @ np.diag(np.geomspace(1.0, 1e-3, D)) @ AXES.T
MEAN = GENERATOR.uniform(-0.5, 0.5, D)
MASK = torch.from_numpy(GENERATOR.random((4, 4)) < 0.5)
OPERATORS: dict[str, SVDOperator] = {
    "denoising": Denoising(SHAPE),
    "sr2": SuperResolution(SHAPE, 2),
    "colorization": Colorization(SHAPE, [0.2, 0.5, 0.3]),
    "inpainting": Inpainting(SHAPE, MASK),
}
STEPS = (6, 4, 3)
# A sampler whose mean or covariance is right stays within 6 standard errors of it in all 1,224 entries but once
# in a million runs; seeds are fixed. What has no variance (noiseless y) is held to float32 rounding instead.
LIMIT, ROUNDING = 6.0, 3e-5


@dataclass(frozen=True)
class Affine:
    """x -> F x + g + noise of covariance C."""

    F: Array
    g: Array
    C: Array

    def then(self, after: Affine) -> Affine:
        return Affine(after.F @ self.F, after.F @ self.g + after.g, after.F @ self.C @ after.F.T + after.C)


IDENTITY = Affine(np.eye(D), np.zeros(D), np.zeros((D, D)))


def prior() -> GaussianPrior:
    return GaussianPrior(torch.from_numpy(MEAN).reshape(SHAPE), torch.from_numpy(COVARIANCE), SCHEDULE)


def levels(k: int, n: int) -> list[int]:
    return [int(level) for level in np.rint(np.linspace(k, 1, n))] + [0]


def denoiser(k: int) -> tuple[Array, Array]:
    ab = SCHEDULE.alpha_bar(k)
    gain = np.sqrt(ab) * COVARIANCE @ np.linalg.inv(ab * COVARIANCE + (1 - ab) * np.eye(D))
    return gain, MEAN - np.sqrt(ab) * gain @ MEAN


class ExactDDRM:
    """The table of DDRM's step, one spectral component at a time, in the basis of NumPy's SVD."""

    def __init__(self, measurement: Measurement, eta: float, eta_b: float) -> None:
        columns = [measurement.operator(e.reshape(1, *SHAPE)).flatten() for e in torch.eye(D)]
        A = torch.stack(columns, 1).double().numpy()
        U, s, Vt = np.linalg.svd(A)
        self.V = Vt.T
        self.s = np.zeros(D)
        self.s[: len(s)] = np.where(s > 1e-6, s, 0)
        self.y = np.zeros(D)
        y = U.T @ measurement.y[0].flatten().double().numpy()
        self.y[: len(y)] = y[:D]
        self.sigma_y, self.eta, self.eta_b = float(measurement.sigma), eta, eta_b

    def start(self, k: int) -> Affine:
        sigma, root = SCHEDULE.sigma(k), np.sqrt(SCHEDULE.alpha_bar(k))
        mean, variance = np.zeros(D), np.full(D, sigma**2)
        for j in range(D):
            if self.s[j] > 0 and self.sigma_y / self.s[j] <= sigma:
                mean[j] = self.y[j] / self.s[j]
                variance[j] -= (self.sigma_y / self.s[j]) ** 2
        return Affine(np.zeros((D, D)), root * self.V @ mean, root**2 * self.V @ np.diag(variance) @ self.V.T)

    def step(self, k: int, k_next: int) -> Affine:
        a, b, c, d = self.coefficients(k, k_next)
        gain, offset = denoiser(k)
        root, root_next = np.sqrt(SCHEDULE.alpha_bar(k)), np.sqrt(SCHEDULE.alpha_bar(k_next))
        to_image = root_next * self.V
        return Affine(
            to_image @ (a[:, None] * (self.V.T @ gain) + b[:, None] * self.V.T / root),
            to_image @ (a * (self.V.T @ offset) + c),
            to_image @ np.diag(d**2) @ to_image.T,
        )

    def coefficients(self, k: int, k_next: int) -> tuple[Array, Array, Array, Array]:
        """z' = a ẑ₀ + b z + c + d ξ."""
        sigma, after, eta = SCHEDULE.sigma(k), SCHEDULE.sigma(k_next), self.eta
        a, b, c, d = (np.zeros(D) for _ in range(4))
        for j in range(D):
            if self.s[j] == 0:
                a[j], b[j] = 1 - np.sqrt(1 - eta**2) * after / sigma, np.sqrt(1 - eta**2) * after / sigma
                d[j] = eta * after
                continue
            nu = self.sigma_y / self.s[j]
            pull = np.sqrt(1 - eta**2) * after / nu if after < nu else self.eta_b
            a[j], c[j] = 1 - pull, pull * self.y[j] / self.s[j]
            d[j] = eta * after if after < nu else np.sqrt(after**2 - self.eta_b**2 * nu**2)
        return a, b, c, d


class ExactFIRE(ExactDDRM):
    """The table of FIRE's step, for ν that the landing does not meet: 0, or above the last level's σ."""

    def __init__(self, measurement: Measurement, natural: bool) -> None:
        super().__init__(measurement, 0, 0)
        self.natural = natural
        sigmas = np.array([SCHEDULE.sigma(level) for level in range(1, SCHEDULE.K + 1)])
        nu = np.where(self.s > 0, self.sigma_y / np.where(self.s > 0, self.s, 1), np.inf)
        nearest = [
            1 + np.abs(np.log(sigmas) - np.log(max(one, 1e-9))).argmin() for one in np.where(nu < 99, nu, 99)
        ]
        self.nu, self.level = nu, np.where(nu == 0, 0, np.where(np.isfinite(nu), nearest, 999))

    def start(self, k: int) -> Affine:
        sigma, root = SCHEDULE.sigma(k), np.sqrt(SCHEDULE.alpha_bar(k))
        heard = self.level <= k
        mean = np.where(heard, self.y / np.where(self.s > 0, self.s, 1), 0)
        variance = np.where(heard, np.maximum(sigma**2 - np.where(heard, self.nu, 0) ** 2, 0), sigma**2)
        return Affine(np.zeros((D, D)), root * self.V @ mean, root**2 * self.V @ np.diag(variance) @ self.V.T)

    def restart(self, k: int) -> Affine:
        """From x₀ to level k: ȳ where it is less noisy, x₀ where nothing was measured, both between."""
        if not k:
            return IDENTITY
        after, root = SCHEDULE.sigma(k), np.sqrt(SCHEDULE.alpha_bar(k))
        a, c, d = np.ones(D), np.zeros(D), np.full(D, after)
        for j in range(D):
            nu = self.nu[j]
            if self.level[j] <= k:
                a[j], c[j], d[j] = 0, 1, np.sqrt(max(after**2 - nu**2, 0))
            elif np.isfinite(nu):
                share = after / nu if self.natural else 1.0
                a[j], c[j], d[j] = 1 - after * share / nu, after * share / nu, after * np.sqrt(1 - share**2)
        y = self.y / np.where(self.s > 0, self.s, 1)
        V = root * self.V
        return Affine(V @ np.diag(a) @ self.V.T, V @ (c * y), V @ np.diag(d**2) @ V.T)

    def coefficients(self, k: int, k_next: int) -> tuple[Array, Array, Array, Array]:
        sigma, after = SCHEDULE.sigma(k), SCHEDULE.sigma(k_next)
        variances = np.linalg.eigvalsh(COVARIANCE)
        v = 0 if self.natural else np.mean(variances * sigma**2 / (variances + sigma**2))
        a, b, c, d = (np.zeros(D) for _ in range(4))
        for j in range(D):
            nu, level = self.nu[j], self.level[j]
            noise, anchor, towards = after, 0.0, 0.0
            if level <= k_next:  # y is less noisy
                r, anchor, noise = after / sigma if self.natural else 0, 1.0, np.sqrt(max(after**2 - nu**2, 0))
            elif not np.isfinite(nu):
                r, noise = after / sigma if self.natural else 0, np.sqrt(max(after**2 - v, 0))
            elif level <= k:  # y is the state at noise ν
                share = after / nu if self.natural else 1.0
                r, towards, noise = 0.0, after * share / nu, after * np.sqrt(1 - share**2)
            else:
                r = after / sigma if self.natural else 1.0
            keep = noise * r / sigma if not towards else 0.0
            a[j], b[j], c[j] = (
                1 - anchor - towards - keep,
                keep,
                (anchor + towards) * self.y[j] / max(self.s[j], 1e-9),
            )
            d[j] = noise * np.sqrt(1 - r**2)
        return a, b, c, d


class ExactDDIM:
    """DDIM's equation 12 as an affine map."""

    def __init__(self, eta: float) -> None:
        self.eta = eta

    def start(self, k: int) -> Affine:
        return Affine(np.zeros((D, D)), np.zeros(D), np.eye(D))

    def step(self, k: int, k_next: int) -> Affine:
        ab, after = SCHEDULE.alpha_bar(k), SCHEDULE.alpha_bar(k_next)
        gain, offset = denoiser(k)
        spread = self.eta * np.sqrt((1 - after) / (1 - ab) * (1 - ab / after))
        direction = np.sqrt(1 - after - spread**2) / np.sqrt(1 - ab)
        p = np.sqrt(after) - direction * np.sqrt(ab)
        return Affine(p * gain + direction * np.eye(D), p * offset, spread**2 * np.eye(D))


def exact(
    process: ExactDDRM | ExactDDIM, allocation: tuple[int, ...], inner_run: Spectral | None = None
) -> Affine:
    """Its mean and covariance; levels are written out here, or are those that a sampler says it runs through."""
    K, N = SCHEDULE.K, len(allocation)
    outer = [round(K * (N - i) / N) for i in range(N + 1)]
    if inner_run is not None:
        outer = list(inner_run.starts(allocation))
    whole = process.start(outer[0])
    for n, k, k_next in zip(allocation, outer, outer[1:], strict=False):
        inner = IDENTITY
        grid = levels(k, n) if inner_run is None else [*inner_run.levels(k, n), 0]
        for level, after in itertools.pairwise(grid):
            inner = inner.then(process.step(level, after))
        ab, ab_next = SCHEDULE.alpha_bar(k), SCHEDULE.alpha_bar(k_next)
        if isinstance(process, ExactFIRE):
            whole = whole.then(inner).then(process.restart(k_next))
            continue
        r = np.sqrt((1 - ab_next) / (1 - ab))
        p = np.sqrt(ab_next) - r * np.sqrt(ab)
        whole = whole.then(Affine(p * inner.F + r * np.eye(D), p * inner.g, p**2 * inner.C))
    return whole


def drawn(inner: Spectral | DDIM, allocation: tuple[int, ...]) -> Array:
    noise = NoiseSource(range(SAMPLES))
    nested = NestedDiffusion(inner, allocation)
    state = nested.start(inner.initial(nested.levels[0], noise), noise)
    *_, last = nested.run(state)
    return last.x0.flatten(1).double().numpy()


def deviation(samples: Array, expected: Affine) -> float:
    """The worst entry of mean or covariance, in standard errors."""
    mean, C = samples.mean(0), np.cov(samples.T)
    of_mean = np.maximum(np.abs(mean - expected.g) - ROUNDING, 0) / (
        np.sqrt(np.diag(expected.C) / SAMPLES) + 1e-12
    )
    diagonal = np.diag(expected.C)
    error = np.sqrt((np.outer(diagonal, diagonal) + expected.C**2) / SAMPLES)
    of_covariance = np.maximum(np.abs(C - expected.C) - ROUNDING, 0) / (error + 1e-12)
    return float(max(of_mean.max(), of_covariance.max()))


def measured(operator: SVDOperator, sigma: float) -> Measurement:
    x = torch.from_numpy(
        MEAN + AXES @ (np.sqrt(np.geomspace(1.0, 1e-3, D)) * np.random.default_rng(1).normal(size=D))
    )
    y = operator(x.reshape(1, *SHAPE).float())
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(3))
    return Measurement(y + sigma * operator.U(operator.Ut(noise)), operator, sigma)


def many(measurement: Measurement) -> Measurement:
    return measurement.expand(SAMPLES)


@pytest.mark.parametrize("allocation", [(6,), STEPS], ids=["plain", "nested"])
@pytest.mark.parametrize(("eta", "eta_b"), [(0.85, 1.0), (0.4, 0.7)])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
@pytest.mark.parametrize("name", OPERATORS)
def test_ddrm_has_the_exact_mean_and_covariance(
    name: str, sigma: float, eta: float, eta_b: float, allocation: tuple[int, ...]
) -> None:
    measurement = measured(OPERATORS[name], sigma)
    samples = drawn(DDRM(prior(), many(measurement), eta, eta_b), allocation)
    assert deviation(samples, exact(ExactDDRM(measurement, eta, eta_b), allocation)) < LIMIT


@pytest.mark.parametrize(
    ("name", "sigma", "natural"),
    [
        ("denoising", 0.3, True),
        ("sr2", 0.0, True),
        ("sr2", 0.3, True),
        ("inpainting", 0.3, True),
        ("inpainting", 0.0, False),
        ("colorization", 0.0, False),
    ],
)
def test_fire_has_the_exact_mean_and_covariance(name: str, sigma: float, natural: bool) -> None:
    measurement = measured(OPERATORS[name], sigma)
    sampler = FIRE(prior(), many(measurement), FIRE.Settings("natural" if natural else "faithful"))
    expected = exact(ExactFIRE(measurement, natural), STEPS, sampler)
    assert deviation(drawn(sampler, STEPS), expected) < LIMIT


@pytest.mark.parametrize("allocation", [(6,), STEPS], ids=["plain", "nested"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_has_the_exact_mean_and_covariance(eta: float, allocation: tuple[int, ...]) -> None:
    samples = drawn(DDIM(prior(), eta), allocation)
    assert deviation(samples, exact(ExactDDIM(eta), allocation)) < LIMIT


class WithoutV(SuperResolution):
    """Super-resolution as a loop that forgot V would see it: U and Ut know the spectrum, V is left out."""

    def Vt(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def V(self, z: torch.Tensor) -> torch.Tensor:
        return z


@pytest.mark.parametrize("allocation", [(6,), STEPS], ids=["plain", "nested"])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_a_loop_that_forgot_V_is_found_out(sigma: float, allocation: tuple[int, ...]) -> None:
    measurement = measured(OPERATORS["sr2"], sigma)
    forgetful = Measurement(measurement.y, WithoutV(SHAPE, 2), sigma)
    samples = drawn(DDRM(prior(), many(forgetful)), allocation)
    assert deviation(samples, exact(ExactDDRM(measurement, 0.85, 1.0), allocation)) > 5 * LIMIT


def test_the_start_is_q_of_x_given_y() -> None:
    """At a level where some of the measurement is noisier and some is not."""
    operator = SuperResolution(SHAPE, 4)
    measurement = measured(operator, 0.1)
    k = int(torch.searchsorted(SCHEDULE.sigma(range(SCHEDULE.K + 1)), 0.5))
    x = DDRM(prior(), many(measurement)).initial(k, NoiseSource(range(SAMPLES)))
    expected = ExactDDRM(measurement, 0.85, 1.0).start(k)
    assert deviation(x.flatten(1).double().numpy(), expected) < LIMIT
