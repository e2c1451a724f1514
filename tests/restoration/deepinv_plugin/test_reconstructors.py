"""Our samplers inside deepinv: units, noise, seeds, previews, and its own test loop."""

from __future__ import annotations

from typing import Any

import deepinv
import pytest
import torch
from deepinv.loss.metric import PSNR
from deepinv.models import Denoiser, Reconstructor
from deepinv.physics import (
    MRI,
    BlurFFT,
    DecomposablePhysics,
    Denoising,
    GaussianNoise,
    Inpainting,
    Physics,
    PoissonNoise,
    SinglePixelCamera,
    Tomography,
    ZeroNoise,
)

import degradations
from degradations import Measurement, SuperResolution
from restoration import FIRE, GaussianPrior, Restorer, Spectral
from restoration.deepinv_plugin import DDRM, NestedDDRM, as_denoiser, as_physics, from_denoiser
from restoration.priors.tiled import TiledPrior

SHAPE = (1, 4, 4)


def prior(shape: tuple[int, int, int] = SHAPE) -> GaussianPrior:
    count = shape[0] * shape[1] * shape[2]
    i = torch.arange(float(count))
    return GaussianPrior(torch.zeros(shape), 0.1 * torch.exp(-(i[:, None] - i).abs() / 4))


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def inpainting(sigma: float | torch.Tensor | None = None) -> Inpainting:
    noise = ZeroNoise() if sigma is None else GaussianNoise(sigma)
    return Inpainting(SHAPE, (uniform(*SHAPE, seed=1) < 0.5).float(), noise_model=noise)


def ours(physics: Physics, y: torch.Tensor, sigma: float) -> Measurement:
    return Measurement(y, degradations.Inpainting(SHAPE, physics.mask[0]), sigma)


def test_they_are_reconstructors() -> None:
    assert isinstance(NestedDDRM(prior()), Reconstructor)
    assert isinstance(DDRM(prior()), Reconstructor)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_the_result_is_that_of_our_own_restorer(sigma: float) -> None:
    physics = inpainting(sigma or None)
    y = physics.A(uniform(2, *SHAPE))
    x = NestedDDRM(prior(), 2, 3)(y, physics, seed=5)
    wanted = Restorer(prior(), "ddrm").restore(ours(physics, y, sigma), outer=2, inner=3, seeds=[5, 6]).image
    assert x.equal(wanted)
    plain = DDRM(prior(), 6)(y, physics, seed=5)
    wanted = (
        Restorer(prior(), "ddrm")
        .restore(ours(physics, y, sigma), outer=2, inner=3, vanilla=True, seeds=[5, 6])
        .image
    )
    assert plain.equal(wanted)


@pytest.mark.parametrize(
    ("physics", "shape"),
    [
        (inpainting(), SHAPE),
        (SinglePixelCamera(8, SHAPE), SHAPE),
        (SinglePixelCamera(8, SHAPE, fast=False), SHAPE),
        (BlurFFT(SHAPE, torch.tensor([[[[0.2, 0.5], [0.2, 0.1]]]])), SHAPE),
        (MRI((uniform(4, 4) < 0.5).float()), (2, 4, 4)),
        (MRI((uniform(4, 4) < 0.5).float()), SHAPE),
        (as_physics(SuperResolution(SHAPE, 2)), SHAPE),
    ],
    ids=["inpainting", "single pixel", "dense patterns", "blur", "complex MRI", "real MRI", "SR2"],
)
def test_a_noiseless_result_reproduces_the_measurement(physics: Physics, shape: tuple[int, int, int]) -> None:
    truth = 0.5 + 0.02 * (uniform(2, *shape) - 0.5)  # so flat that a result in [0, 1] needs no clamping
    flat = GaussianPrior(torch.zeros(shape), 1e-3 * torch.eye(truth[0].numel()))

    def measure(x: torch.Tensor) -> torch.Tensor:
        real = isinstance(physics, MRI) and x.shape[1] == 1
        result: torch.Tensor = physics.A(torch.cat([x, torch.zeros_like(x)], dim=1) if real else x)
        return result

    y = measure(truth)
    x = NestedDDRM(flat, 2, 3)(y, physics, seed=0)
    assert x.shape == truth.shape
    assert 0 < float(x.min()) < float(x.max()) < 1
    # float32, with singular values down to 0.1 and k-space values up to 2
    torch.testing.assert_close(measure(x), y, atol=2e-5, rtol=0)


def test_complex_images_keep_their_signs() -> None:
    physics, truth = MRI(torch.ones(4, 4)), 0.6 * (uniform(1, 2, 4, 4) - 0.5)
    y = physics.A(truth)
    x, previews = NestedDDRM(prior((2, 4, 4)), 2, 3)(y, physics, seed=0, get_trajectory=True)
    # everything was measured without noise: float32 transforms of values near 1
    torch.testing.assert_close(x, truth, atol=1e-5, rtol=0)
    torch.testing.assert_close(previews[0], truth, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        next(DDRM(prior((2, 4, 4)), 3).iterate(y, physics, seed=0))[1], truth, atol=1e-5, rtol=0
    )


def test_the_prior_draws_what_was_not_measured_towards_its_mean() -> None:
    sharp = GaussianPrior(torch.full(SHAPE, -0.5), 1e-8 * torch.eye(16))
    x = NestedDDRM(sharp, 2, 3)(torch.full((1, *SHAPE), 0.7), Denoising(GaussianNoise(0.1)), seed=0)
    # the prior is 5e-5 wide in [0, 1]; 0.25 is −0.5 on its own scale
    torch.testing.assert_close(x, torch.full((1, *SHAPE), 0.25), atol=1e-3, rtol=0)


def test_each_image_has_its_own_sigma_and_seed() -> None:
    sigma = torch.tensor([0.05, 0.4])
    y, model = uniform(2, *SHAPE), NestedDDRM(prior(), 2, 3)
    for model_sigma in (sigma, sigma.reshape(2, 1, 1, 1)):
        together = model(y, Denoising(GaussianNoise(model_sigma)), seed=7)
        for i in range(2):
            alone = model(y[i : i + 1], Denoising(GaussianNoise(float(sigma[i]))), seed=7 + i)
            # float32: sums over a batch may be ordered otherwise
            torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)
    assert model(y, Denoising(GaussianNoise(sigma)), seed=[7, 8]).equal(together)


def test_seed_0_is_a_seed_and_no_seed_is_drawn() -> None:
    physics, model = inpainting(0.1), NestedDDRM(prior(), 2, 3)
    y = physics.A(uniform(1, *SHAPE))
    assert model(y, physics, seed=0).equal(model(y, physics, seed=0))
    assert not model(y, physics, seed=0).equal(model(y, physics, seed=1))
    drawn = model(y, physics)
    seeds = model.seeds
    assert not model(y, physics).equal(drawn)
    assert model(y, physics, seed=seeds).equal(drawn)


def test_a_models_seed_is_the_start_of_a_stream() -> None:
    physics, y = inpainting(0.1), uniform(2, *SHAPE)
    model, given = NestedDDRM(prior(), 2, 3, seed=5), NestedDDRM(prior(), 2, 3)
    assert model(y, physics).equal(given(y, physics, seed=5))
    assert model.seeds == (5, 6)
    assert model(y, physics).equal(given(y, physics, seed=7))
    assert model(y, physics, seed=1).equal(given(y, physics, seed=1))
    assert list(model.iterate(y, physics))[-1][1].equal(
        given(y, physics, seed=9)
    )  # a given seed was no part of it
    model.seed = 5
    assert model(y, physics).equal(given(y, physics, seed=5))
    # what an image gets does not depend on how a loader groups them
    halves = DDRM(prior(), 3, seed=4)
    together = DDRM(prior(), 3, seed=4)(y, physics)
    torch.testing.assert_close(torch.cat([halves(y[:1], physics), halves(y[1:], physics)]), together)


def test_unset_seeds_are_drawn_from_torchs_generator_or_the_models_own() -> None:
    physics, y = inpainting(0.1), uniform(2, *SHAPE)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = NestedDDRM(prior(), 2, 3)(y, physics)
        again = NestedDDRM(prior(), 2, 3)(y, physics)
        torch.manual_seed(3)
        assert NestedDDRM(prior(), 2, 3)(y, physics).equal(first)
        assert not again.equal(first)
    state = torch.get_rng_state()
    own = [NestedDDRM(prior(), 2, 3, rng=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert own[0](y, physics).equal(own[1](y, physics))
    assert not own[0](y, physics).equal(own[0](y, physics))
    assert torch.get_rng_state().equal(state)
    with pytest.raises(ValueError, match="seed or rng must be None"):
        NestedDDRM(prior(), seed=0, rng=torch.Generator())


def test_y_is_not_touched_nor_with_a_seed_the_global_random_state() -> None:
    physics = inpainting(0.1)
    y = physics.A(uniform(2, *SHAPE))
    before, state = y.clone(), torch.get_rng_state()
    NestedDDRM(prior(), 2, 3)(y, physics, seed=1)
    list(NestedDDRM(prior(), 2, 3).iterate(y, physics, seed=0))
    assert y.equal(before)
    assert torch.get_rng_state().equal(state)


def test_previews_are_completed_outer_steps_and_of_a_plain_run_every_evaluation() -> None:
    physics = inpainting(0.1)
    y = physics.A(uniform(1, *SHAPE))
    seen: list[tuple[int, torch.Tensor]] = []
    x, previews = NestedDDRM(prior(), allocation=(4, 3, 2))(
        y, physics, seed=0, get_trajectory=True, callback=lambda nfe, x0: seen.append((nfe, x0))
    )
    assert [nfe for nfe, _ in seen] == list(range(1, 10))
    assert len(previews) == 3
    assert previews[-1].equal(x)
    for preview, nfe in zip(previews, (4, 7, 9), strict=True):
        assert preview.equal(seen[nfe - 1][1])
    plain, previews = DDRM(prior(), 5)(y, physics, seed=0, get_trajectory=True)
    assert len(previews) == 5
    assert previews[-1].equal(plain)
    assert all(float(p.min()) >= 0 and float(p.max()) <= 1 for p in previews)


def test_iterating_yields_every_evaluation_and_may_be_left() -> None:
    physics, model = inpainting(0.1), NestedDDRM(prior(), 2, 3)
    y = physics.A(uniform(1, *SHAPE))
    steps = list(model.iterate(y, physics, seed=0))
    assert [nfe for nfe, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert steps[-1][1].equal(model(y, physics, seed=0))
    for nfe, _ in model.iterate(y, physics, seed=0):
        if nfe == 2:
            break
    assert nfe == 2


def test_a_callback_that_returns_true_ends_the_run_with_the_newest_completed_image() -> None:
    physics, model = inpainting(0.1), NestedDDRM(prior(), 2, 3)
    y = physics.A(uniform(1, *SHAPE))
    steps = dict(model.iterate(y, physics, seed=0))
    assert model(y, physics, seed=0, callback=lambda nfe, _: nfe == 4).equal(steps[3])


def test_results_come_in_the_measurements_dtype_and_carry_no_gradient() -> None:
    y = uniform(1, *SHAPE).double().requires_grad_()
    x = NestedDDRM(prior(), 2, 3)(y, Denoising(GaussianNoise(0.1)), seed=0)
    assert x.dtype == torch.float64
    assert not x.requires_grad


class Rotated(DecomposablePhysics):
    """Dense bases in float64."""

    def __init__(self) -> None:
        super().__init__(
            mask=torch.ones(1, *SHAPE, dtype=torch.float64), img_size=SHAPE, noise_model=GaussianNoise(0.1)
        )
        self.basis = torch.linalg.qr(uniform(16, 16).double()).Q

    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.basis).reshape(x.shape)

    def V(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.basis.mT).reshape(x.shape)


@pytest.mark.parametrize(
    "physics",
    [Rotated(), SinglePixelCamera(8, SHAPE, fast=False, noise_model=GaussianNoise(0.1)).double()],
    ids=["one's own", "single pixel"],
)
def test_a_physics_in_float64_restores(physics: Physics) -> None:
    y = physics.A(uniform(2, *SHAPE).double())
    assert DDRM(prior(), 3)(y, physics, seed=0).dtype == torch.float64


def test_a_denoiser_runs_in_its_own_dtype() -> None:
    denoiser = Affine().double()
    y = uniform(1, *SHAPE)
    x = DDRM(denoiser, 3, sigma_range=(0, 1))(y, Denoising(GaussianNoise(0.1)), seed=0)
    assert x.dtype == torch.float32
    assert denoiser.saw == torch.float64


class Affine(Denoiser):
    """Half of x, in the dtype of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        self.saw = x.dtype
        return torch.nn.functional.linear(x.reshape(-1, 1), self.weight.reshape(1, 1)).reshape(x.shape)


def test_the_weights_of_a_denoiser_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, y, physics = Affine(), uniform(1, *SHAPE), Denoising(GaussianNoise(0.1))
    model, hashed = DDRM(denoiser, 2, sigma_range=(0, 1)), []
    whole = denoiser.state_dict
    monkeypatch.setattr(denoiser, "state_dict", lambda: hashed.append(1) or whole())
    assert not model(y, physics, seed=0).equal(model(y, physics, seed=1))
    assert len(hashed) == 1


def test_the_network_inside_a_tiled_prior_moves_with_the_model() -> None:
    inner = from_denoiser(Affine(), SHAPE, sigma_range=(0, 1))
    model = DDRM(TiledPrior(inner, (1, 4, 6)), 2)
    assert [p.dtype for p in model.double().parameters()] == [torch.float64]
    assert inner.denoiser.weight.dtype == torch.float64


def test_a_prior_of_other_images_is_told_as_such() -> None:
    with pytest.raises(
        ValueError, match=r"that of Inpainting, \(1, 8, 8\): got \(1, 4, 4\) \(a prior brings its own"
    ):
        DDRM(prior())(uniform(1, 1, 8, 8), Inpainting((1, 8, 8), 0.5, noise_model=GaussianNoise(0.1)))


@pytest.mark.filterwarnings("ignore:The tuple format for dataset outputs is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:non_blocking_transfers=True can only be used:UserWarning")
def test_it_runs_in_deepinvs_test_loop() -> None:
    physics = inpainting(0.05)
    truth = 0.5 + 0.3 * (uniform(4, *SHAPE) - 0.5)
    pairs = torch.utils.data.TensorDataset(truth, physics.A(truth))
    loader = torch.utils.data.DataLoader(pairs, batch_size=2)
    results: dict[str, Any] = deepinv.test(
        NestedDDRM(prior(), 2, 3), loader, physics, metrics=[PSNR()], verbose=False, show_progress_bar=False
    )
    # half the pixels are known to 0.05, and the others are within 0.15 of the prior's mean: 12 dB is far worse
    assert results["PSNR"] > 12


def test_the_prior_inside_as_denoiser_is_found_again() -> None:
    physics = inpainting(0.1)
    y = physics.A(uniform(1, *SHAPE))
    assert DDRM(as_denoiser(prior()), 4)(y, physics, seed=0).equal(DDRM(prior(), 4)(y, physics, seed=0))


def test_sigma_is_never_assumed() -> None:
    y, model = uniform(2, *SHAPE), NestedDDRM(prior(), 2, 2)
    poisson = Denoising(PoissonNoise(0.1))
    with pytest.raises(ValueError, match="Denoising has PoissonNoise as its noise_model"):
        model(y, poisson)
    nothing = Denoising(GaussianNoise(0.1))
    nothing.noise_model = None
    with pytest.raises(ValueError, match="Denoising has no noise_model"):
        model.iterate(y, nothing)
    with pytest.raises(ValueError, match=r"one number, or one for each of 2 images: got 3"):
        model(y, Denoising(GaussianNoise(torch.tensor([0.1, 0.2, 0.3]))))
    wanted = model(y, Denoising(GaussianNoise(0.1)), seed=0)
    # GaussianNoise keeps σ in float32
    torch.testing.assert_close(model(y, poisson, seed=0, sigma=0.1), wanted, atol=1e-5, rtol=0)


def test_other_wrong_arguments_are_told() -> None:
    y, model = uniform(1, *SHAPE), NestedDDRM(prior())
    with pytest.raises(TypeError, match="Tomography has no singular value decomposition"):
        model(y, Tomography(angles=4, img_width=4, normalize=True))
    with pytest.raises(ValueError, match=r"y must hold \(1, 4, 4\) for each image, .*: got \(1, 3, 4, 4\)"):
        model(uniform(1, 3, 4, 4), Denoising(GaussianNoise(0.1)))
    with pytest.raises(ValueError, match="seeds must be a sequence of 1"):
        model(y, Denoising(GaussianNoise(0.1)), seed=[1, 2])
    with pytest.raises(ValueError, match="at least 1"):
        NestedDDRM(prior(), 0, 10)
    with pytest.raises(TypeError, match="denoiser must be a deepinv denoiser or a prior: got str"):
        NestedDDRM("drunet")
    with pytest.raises(ValueError, match="must be None for a prior"):
        NestedDDRM(prior(), image_shape=SHAPE)


@pytest.mark.parametrize("posterior", [FIRE.Settings("natural"), FIRE.Settings("faithful"), FIRE, "fire"])
def test_any_sampler_of_ours_is_a_reconstructor(posterior: Spectral.Settings | type[Spectral] | str) -> None:
    physics = inpainting(0.1)
    y = uniform(1, *SHAPE)
    measurement = ours(physics, y, 0.1)
    for model, allocation in (
        (NestedDDRM(prior(), 2, 3, posterior=posterior), (3, 3)),
        (DDRM(prior(), 4, posterior=posterior), (4,)),
    ):
        same = Restorer(prior(), posterior).restore(measurement, allocation=allocation, seeds=[5])
        # deepinv's σ is a float32 tensor, ours here a number
        torch.testing.assert_close(model(y, physics, seed=5), same.image, rtol=0, atol=1e-5)
    assert DDRM(prior(), posterior="ddrm", eta=0.5).posterior == DDRM(prior(), eta=0.5).posterior


def test_a_setting_that_the_sampler_does_not_have_is_told() -> None:
    with pytest.raises(TypeError, match="FIRE has no setting eta"):
        NestedDDRM(prior(), posterior="fire", eta=0.5)
    with pytest.raises(ValueError, match="posterior must be one of ddrm, "):
        DDRM(prior(), posterior="water")
