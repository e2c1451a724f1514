"""FIRE: what it combines, what it adds, and what it reproduces."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from degradations import (
    Blur,
    Colorization,
    Denoising,
    Inpainting,
    Measurement,
    SuperResolution,
    SVDOperator,
    simulate,
)
from nested import NestedDiffusion
from restoration.priors import GaussianPrior
from solvers import DDRM, FIRE, NoiseSchedule, NoiseSource
from solvers.posteriors.fire import Aim
from solvers.schedule import Spacing

SHAPE = (3, 8, 8)
MASK = torch.arange(64).reshape(8, 8) % 3 > 0
OPERATORS = {
    "denoise": Denoising(SHAPE), "inpaint": Inpainting(SHAPE, MASK), "sr2": SuperResolution(SHAPE, 2),
}  # fmt: skip


def prior() -> GaussianPrior:
    i = torch.arange(192.0)
    return GaussianPrior(torch.zeros(SHAPE), 0.2 * torch.exp(-(i[:, None] - i).abs() / 8))


def measured(name: str, sigma: float, n: int = 1) -> Measurement:
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) - 0.5
    return simulate(x, OPERATORS[name], sigma, noise=NoiseSource(range(n)))


def draws(n: int) -> Tensor:
    """Exact draws of the prior."""
    i = torch.arange(192.0)
    root = torch.linalg.cholesky((0.2 * torch.exp(-(i[:, None] - i).abs() / 8)).double() + 1e-9 * torch.eye(192))
    white = torch.randn(n, 192, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (white @ root.mT).reshape(n, *SHAPE).float()


def end(sampler: FIRE | DDRM, seeds: list[int], n: int = 6) -> Tensor:
    noise = NoiseSource(seeds)
    k, _ = sampler.starts((n,))
    *_, x0 = sampler.sample(sampler.initial(k, noise), k, n, noise)
    return x0


@pytest.mark.parametrize("name", ["inpaint", "sr2"])
def test_a_noiseless_result_reproduces_the_measurement(name: str) -> None:
    measurement = measured(name, 0.0)
    x0 = end(FIRE(prior(), measurement), [1])
    # float32 rounding of a sum over a block
    torch.testing.assert_close(measurement.operator(x0), measurement.y, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "sigma"), [("inpaint", 0.1), ("inpaint", 0.005), ("sr2", 0.003), ("sr2", 0.3), ("denoise", 0.2)]
)
def test_a_faithful_result_is_no_worse_than_what_was_measured(name: str, sigma: float) -> None:
    """The measured components of 32 exact draws, against the measurement's own error, at the end."""
    x = draws(32)
    measurement = simulate(x, OPERATORS[name], sigma, noise=NoiseSource(range(32)))
    operator = measurement.operator
    known = operator.singular_values > 0
    x0 = end(FIRE(prior(), measurement, FIRE.Settings("faithful")), list(range(32)), 10)
    error = ((operator.Vt(x0) - operator.Vt(x)) * known).square().sum()
    before = ((operator.whiten(measurement.y) - operator.Vt(x)) * known).square().sum()
    # how far to trust the estimate is itself estimated, from 2,000 components
    assert float(error) < 1.001 * float(before)


@pytest.mark.parametrize("sigma", [0.0005, 0.002, 0.005, 0.01])
def test_light_noise_comes_back_no_worse_than_it_went_in(sigma: float) -> None:
    x = draws(32)
    measurement = simulate(x, OPERATORS["denoise"], sigma, noise=NoiseSource(range(32)))
    x0 = end(FIRE(prior(), measurement, FIRE.Settings("faithful")), list(range(32)), 5)
    assert float((x0 - x).square().mean()) < float((measurement.y - x).square().mean())


def test_a_run_begins_at_the_noise_of_what_is_measured() -> None:
    """Denoising at the level of its own noise, each outer step again; else where something can be learned."""
    schedule = NoiseSchedule.linear()
    starts = FIRE(prior(), measured("denoise", 0.2), FIRE.Settings("faithful")).starts((5, 5))
    assert starts[0] == round(float(schedule.level(torch.tensor(0.2))))
    assert starts[1:] == (starts[0] - 1, 0)
    for aim, sigma in (("faithful", 2.6), ("natural", 8.5)):
        first, second, last = FIRE(prior(), measured("sr2", 0.1), FIRE.Settings(aim)).starts((5, 5))  # type: ignore[arg-type]
        assert first == round(float(schedule.level(torch.tensor(sigma))))
        assert 0.2 <= schedule.sigma(second) < sigma  # ν = 0.2: below it a restart would lose y
        assert last == 0
    assert FIRE(prior(), measured("denoise", 0.01)).starts((30,))[0] == 30  # as many levels as evaluations


def test_faithful_denoising_is_the_mean_of_its_estimates() -> None:
    sampler = FIRE(prior(), measured("denoise", 0.2), FIRE.Settings("faithful"))
    noise = NoiseSource([3])
    (k, _), estimates = sampler.starts((4,)), []
    run = sampler.begin(sampler.initial(k, noise), sampler.levels(k, 4))
    while run.levels:
        estimates.append(prior().denoise(run.x, run.levels[0]))
        run, shown = sampler.answer(run, estimates[-1], noise)
        # sums of float32 in another order
        torch.testing.assert_close(shown, torch.stack(estimates).mean(0), atol=1e-5, rtol=0)


def test_every_component_ends_at_the_mean_of_its_own_estimates() -> None:
    """Where components are unequally noisy, each mean begins when the state holds that component's ȳ."""
    known = torch.linspace(0.2, 1, 192).reshape(SHAPE)  # ν from 0.1 to 0.5

    class Weighted(Denoising):
        def __init__(self) -> None:
            SVDOperator.__init__(self, SHAPE, SHAPE, known)

        def Ut(self, y: Tensor) -> Tensor:
            return y

        def U(self, z: Tensor) -> Tensor:
            return z

    x = draws(1)
    measurement = simulate(x, Weighted(), 0.1, noise=NoiseSource([0]))
    sampler, noise = FIRE(prior(), measurement, FIRE.Settings("faithful")), NoiseSource([3])
    (k, _), seen = sampler.starts((8,)), []
    run = sampler.begin(sampler.initial(k, noise), sampler.levels(k, 8))
    while run.levels:
        seen.append((run.levels[0], prior().denoise(run.x, run.levels[0])))
        run, shown = sampler.answer(run, seen[-1][1], noise)
    nu = 0.1 / known
    last = sampler.schedule.sigma(seen[-1][0])
    for i in (0, 60, 120):  # of ν = 0.5, 0.22 and 0.14
        assert nu.flatten()[i] > last
        level = float(sampler.schedule.level(nu.flatten()[i]).round())
        own = [x0.flatten()[i] for k, x0 in seen if k <= level]
        # sums of float32 in another order
        torch.testing.assert_close(shown.flatten()[i], torch.stack(own).mean(), atol=1e-5, rtol=0)
    begun = [float(sampler.schedule.level(n).round()) for n in nu.flatten()]
    assert len({sum(k <= level for k, _ in seen) for level in begun}) > 2  # or one mean would do


def test_a_noisy_blur_is_restored_nearer_than_by_ddrm() -> None:
    x = draws(32)
    across = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / 2)
    kernel = torch.outer(across, across) / across.sum() ** 2
    measurement = simulate(x, Blur(SHAPE, kernel), 0.02, noise=NoiseSource(range(32)))
    faithful, ddrm = (
        float((end(sampler, list(range(32)), 10) - x).square().mean())
        for sampler in (FIRE(prior(), measurement), DDRM(prior(), measurement))
    )
    assert faithful < 0.9 * ddrm


def test_a_prior_that_does_not_know_its_error_is_judged_by_the_residual() -> None:
    """The two ways agree within a tenth in mean squared error on 64 exact draws."""

    class Unmeasured(GaussianPrior):
        rmse = None  # type: ignore[assignment]

    i = torch.arange(192.0)
    silent = Unmeasured(torch.zeros(SHAPE), 0.2 * torch.exp(-(i[:, None] - i).abs() / 8))
    x = draws(64)
    measurement = simulate(x, OPERATORS["inpaint"], 0.0, noise=NoiseSource(range(64)))
    told, untold = (
        float((end(FIRE(p, measurement, FIRE.Settings("faithful")), list(range(64)), 10) - x).square().mean())
        for p in (prior(), silent)
    )
    assert abs(untold - told) < 0.1 * told


def test_an_image_does_not_depend_on_its_batch() -> None:
    measurement = measured("sr2", 0.1, n=3)
    together = end(FIRE(prior(), measurement), [1, 2, 3])
    for i in range(3):
        alone = end(FIRE(prior(), measurement.take(i)), [i + 1])
        # sums over a batch and over one image round differently
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("aim", ["natural", "faithful"])
def test_it_goes_on_from_every_evaluation_bit_for_bit(aim: Aim) -> None:
    nested = NestedDiffusion(FIRE(prior(), measured("inpaint", 0.1), FIRE.Settings(aim)), (5, 4))
    noise = NoiseSource([5])
    whole = list(nested.run(nested.start(nested.inner.initial(nested.levels[0], noise), noise)))
    for estimate in whole:
        rest = list(nested.run(estimate.state))
        assert all(a.x0.equal(b.x0) for a, b in zip(rest, whole[estimate.nfe :], strict=True))


def test_it_is_nearer_to_the_truth_than_ddrm_where_pixels_are_missing() -> None:
    """On 64 exact draws of a correlated Gaussian, ten evaluations; the exact conditional mean bounds both."""
    x = draws(64)
    measurement = simulate(x, OPERATORS["inpaint"], 0.0, noise=NoiseSource(range(64)))
    errors = [
        float((end(sampler, list(range(64)), 10) - x).square().mean())
        for sampler in (FIRE(prior(), measurement, FIRE.Settings("faithful")), DDRM(prior(), measurement))
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("n", [1, 2, 5, 10, 30, 100, 333, 1000])
@pytest.mark.parametrize("k", [333, 667, 1000])
@pytest.mark.parametrize("spacing", ["log", "power"])
def test_a_grid_has_n_different_levels(spacing: Spacing, k: int, n: int) -> None:
    schedule = NoiseSchedule.linear()
    if n > k:
        return
    levels = schedule.steps(k, n, spacing)
    assert (len(set(levels)), levels[0]) == (n, k)
    assert list(levels) == sorted(levels, reverse=True)
    assert levels[-1] >= 1
    if n >= 5:
        assert schedule.sigma(levels[-1]) < 0.03


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="grid must be one of linspace, log, power: got 'karras'"):
        FIRE.Settings(grid="karras")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aim must be natural or faithful: got 'sharp'"):
        FIRE.Settings("sharp")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"settings must be FIRE\.Settings"):
        FIRE(prior(), measured("sr2", 0.1), DDRM.Settings())


@pytest.mark.parametrize(
    ("operator", "sigma"),
    [
        (Colorization(SHAPE), 25.0),
        (SuperResolution(SHAPE, 2), 2.6),
        (Inpainting(SHAPE, MASK), 2.6),
    ],
)
def test_a_run_begins_higher_where_a_flat_colour_is_not_measured(operator: SVDOperator, sigma: float) -> None:
    """What all pixels share is lost in noise much later than what few do."""
    fire = FIRE(prior(), Measurement(torch.zeros(1, *operator.measurement_shape), operator, 0.0))
    first = fire.starts((2, 2))[0]
    assert fire.schedule.sigma(first) == pytest.approx(sigma, rel=0.02)  # whole levels
