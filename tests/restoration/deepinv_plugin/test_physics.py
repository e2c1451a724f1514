"""Our operators as deepinv's physics: its own checks, copies and samplers."""

from __future__ import annotations

from pathlib import Path

import deepinv
import numpy as np
import pytest
import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import GaussianNoise, PoissonNoise, ZeroNoise
from deepinv.sampling import DDRM, DPS, DiffPIR

from degradations import Colorization, Denoising, Inpainting, SuperResolution, SVDOperator
from restoration import GaussianPrior
from restoration.deepinv_plugin import NestedDDRM, as_denoiser, as_physics, from_physics

SHAPE = (3, 8, 8)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


OPERATORS = {
    "denoising": Denoising(SHAPE),
    "inpainting": Inpainting(SHAPE, uniform(8, 8) < 0.5),
    "a mask an image": Inpainting(SHAPE, uniform(2, *SHAPE) < 0.5),
    "grey": Colorization(SHAPE),
    "SR4": SuperResolution(SHAPE, 4),
}
CASES = [pytest.param(operator, id=name) for name, operator in OPERATORS.items()]


@pytest.fixture
def _seeded() -> object:
    """deepinv's checks draw from the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("operator", CASES)
def test_deepinvs_checks_pass(operator: SVDOperator) -> None:
    physics, x = as_physics(operator), uniform(2, *SHAPE)
    y = physics.A(x)
    assert y.equal(operator(x))
    # float32 sums of a few hundred products near 1, relative in deepinv 0.5 and absolute in 0.4
    assert abs(float(physics.adjointness_test(x[: operator.batch_size or 1]))) < 1e-4
    torch.testing.assert_close(physics.A(physics.A_dagger(y)), y, atol=1e-5, rtol=0)
    torch.testing.assert_close(physics.A_dagger(y), operator.pinv(y), atol=1e-5, rtol=0)
    norm = float(physics.compute_sqnorm(x, max_iter=200, tol=1e-6, verbose=False))
    # a power iteration ended at a relative change of 1e-6
    assert norm == pytest.approx(float(operator.singular_values.max()) ** 2, rel=1e-3)
    both = physics.prox_l2(x, y, 2.0)
    # the minimum of |x' − x|²/2 + |A x' − y|²: its gradient is 0, to float32
    gradient = both - x + 2.0 * physics.A_adjoint(physics.A(both) - y)
    torch.testing.assert_close(gradient, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("operator", [OPERATORS["a mask an image"], OPERATORS["grey"]], ids=["inpainting", "grey"])
def test_clones_measure_the_same_and_moving_one_leaves_the_callers_operator(operator: SVDOperator) -> None:
    physics, x = as_physics(operator, 0.1), uniform(2, *SHAPE)
    clone = physics.clone()
    assert clone.A(x).equal(physics.A(x))
    clone.double()
    assert clone.A(x.double()).dtype == torch.float64
    physics.double()
    assert operator.singular_values.dtype == torch.float32


def test_noise_is_deepinvs_and_falls_on_what_is_measured() -> None:
    operator = Inpainting(SHAPE, uniform(8, 8) < 0.5)
    assert isinstance(as_physics(operator).noise_model, ZeroNoise)
    noisy = as_physics(operator, GaussianNoise(0.3, rng=torch.Generator().manual_seed(0)))
    n = noisy(torch.zeros(4, *SHAPE))
    assert not n[:, operator.singular_values.expand(SHAPE) == 0].any()
    # about 400 draws: the standard deviation's own error is 0.3/√800
    assert float(n[n != 0].std()) == pytest.approx(0.3, abs=0.04)
    assert float(as_physics(operator, 0.25).noise_model.sigma) == 0.25
    assert as_physics(operator, torch.tensor([0.1, 0.2])).noise_model.sigma.shape == (2,)
    assert isinstance(as_physics(operator, PoissonNoise(0.1)).noise_model, PoissonNoise)


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(TypeError, match="operator must be an SVDOperator: got int"):
        as_physics(3)
    with pytest.raises(ValueError, match=r"mask must be None: only Inpainting has one .* of Denoising"):
        as_physics(Denoising(SHAPE)).update(mask=torch.ones(SHAPE))
    with pytest.raises(ValueError, match=r"must hold only True/1 \(known\) and False/0"):
        as_physics(OPERATORS["inpainting"]).update(mask=torch.full(SHAPE, 0.5))
    with pytest.raises(ValueError, match=r"mask must be \(H, W\), .*: got \(3, 4, 4\)"):
        as_physics(OPERATORS["inpainting"]).update(mask=torch.ones(3, 4, 4))


def test_inpainting_takes_other_masks_as_deepinvs_own() -> None:
    x, mask = uniform(2, *SHAPE), (uniform(2, 1, 8, 8, seed=4) < 0.5).float()
    ours, theirs = as_physics(OPERATORS["inpainting"], 0.1), deepinv.physics.Inpainting(SHAPE, torch.ones(SHAPE))
    for given in (mask, mask[:1], mask[0, 0], mask.bool(), torch.ones(1, *SHAPE)):
        wanted = x * given.expand(len(given), *SHAPE) if given.ndim == 4 else x * given
        assert ours.A(x, mask=given).equal(wanted)
        assert ours.A(x).equal(wanted)  # it stays, as theirs does
        assert ours.A_adjoint(x).equal(wanted)
        assert ours.A_dagger(wanted).equal(wanted)
        theirs.update(mask=given.float())
        assert theirs.A(x).equal(wanted)
        missing = wanted == 0
        assert ours(x)[missing].eq(0).all()
    assert from_physics(ours).singular_values.equal(torch.ones(SHAPE))
    again = NestedDDRM(GaussianPrior(torch.zeros(SHAPE), torch.eye(192)), 1, 2)(ours.A(x, mask=mask), ours, seed=0)
    assert again.shape == x.shape
    assert not OPERATORS["inpainting"].singular_values.equal(from_physics(ours).singular_values)


@pytest.mark.filterwarnings("ignore:The tuple format for dataset outputs is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("_seeded")
def test_deepinvs_generators_and_data_sets_make_masks(tmp_path: Path) -> None:
    masks = deepinv.physics.generator.BernoulliSplittingMaskGenerator(
        SHAPE, split_ratio=0.4, rng=torch.Generator().manual_seed(0)
    )
    pictures = torch.utils.data.TensorDataset(uniform(4, *SHAPE))
    path = deepinv.datasets.generate_dataset(
        pictures, as_physics(Inpainting(SHAPE, torch.ones(SHAPE)), 0.05), tmp_path, test_dataset=pictures,
        physics_generator=masks, save_physics_generator_params=True, batch_size=2, verbose=False,
    )  # fmt: skip
    x, y, params = deepinv.datasets.HDF5Dataset(path, train=True, load_physics_generator_params=True)[1]
    missing = params["mask"] == 0
    assert 0.4 < float(missing.float().mean()) < 0.8
    assert y[missing.expand_as(y)].eq(0).all()
    # 0.05 of noise on what is known: 80 draws
    assert float((y - x)[~missing.expand_as(y)].std()) == pytest.approx(0.05, abs=0.02)


def truth_and_denoiser() -> tuple[torch.Tensor, torch.nn.Module]:
    i = torch.arange(192.0)
    covariance = 0.2 * torch.exp(-(i[:, None] - i).abs() / 20)
    draw = torch.linalg.cholesky(covariance) @ torch.randn(192, generator=torch.Generator().manual_seed(3))
    return (draw.reshape(1, *SHAPE) + 1) / 2, as_denoiser(GaussianPrior(torch.zeros(SHAPE), covariance))


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("operator", [Inpainting(SHAPE, uniform(8, 8) < 0.7), SuperResolution(SHAPE, 2)])
@pytest.mark.parametrize("sampler", ["DDRM", "DiffPIR", "DPS"])
def test_deepinvs_samplers_restore_with_our_operator_and_our_prior(operator: SVDOperator, sampler: str) -> None:
    truth, denoiser = truth_and_denoiser()
    physics = as_physics(operator, 0.02)
    y = physics(truth)
    models = {
        "DDRM": lambda: DDRM(denoiser, sigmas=np.linspace(1, 0, 30)),
        "DiffPIR": lambda: DiffPIR(denoiser, L2(), sigma=0.02, max_iter=30),
        "DPS": lambda: DPS(denoiser, num_steps=100, weight=20.0),
    }
    x = models[sampler]().eval()(y, physics)
    error, blind = float((x - truth).square().mean()), float((truth - 0.5).square().mean())
    # half of the variance of the truth is far above what a working sampler leaves, and below what none explains
    assert error < blind / 2
