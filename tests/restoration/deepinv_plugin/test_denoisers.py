"""A prior as a deepinv denoiser and back: σ on the right scale, levels between the whole ones, ranges kept."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from deepinv.models import ADMUNet, Denoiser, DiffUNet, DRUNet, NCSNpp
from deepinv.physics import Denoising, GaussianNoise, Inpainting
from diffusers import UNet2DModel

from restoration import DiffusionPrior, GaussianPrior, NoiseSchedule
from restoration.deepinv_plugin import DenoiserPrior, NestedDDRM, as_denoiser, from_denoiser
from restoration.priors.diffusion import Prediction
from restoration.priors.tiled import TiledPrior, prior_for

SHAPE = (1, 8, 8)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(prediction: Prediction = "epsilon") -> DiffusionPrior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), layers_per_block=1,
            norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        ).eval()  # fmt: skip
    return DiffusionPrior(network, NoiseSchedule.linear(), prediction)


def gaussian() -> GaussianPrior:
    i = torch.arange(64.0)
    return GaussianPrior(torch.full(SHAPE, 0.2), 0.2 * torch.exp(-(i[:, None] - i).abs() / 4))


class WholeLevels:
    """A prior of which nothing but the protocol is known."""

    def __init__(self, prior: GaussianPrior) -> None:
        self.schedule, self.image_shape, self.denoise = prior.schedule, prior.image_shape, prior.denoise


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("k", [1, 2, 250, 1000])
def test_at_whole_levels_it_is_the_prior_itself(prediction: Prediction, k: int) -> None:
    prior = tiny(prediction)
    x_k, alpha_bar = normal(2, *SHAPE), prior.schedule.alpha_bar(k)
    x = (x_k / math.sqrt(alpha_bar) + 1) / 2
    denoised = as_denoiser(prior)(x, prior.schedule.sigma(k) / 2)
    wanted = (prior.denoise(x_k, k) + 1) / 2
    # float32; x̂₀ of a random ε-network grows to √((1−ᾱ)/ᾱ) = σ_k, 157 at k = 1000
    torch.testing.assert_close(denoised, wanted, atol=1e-6 * max(1, prior.schedule.sigma(k)), rtol=1e-5)


def test_levels_are_found_from_sigma_and_kept_in_range() -> None:
    schedule = NoiseSchedule.linear()
    levels = torch.arange(1, 1001)
    # interpolation at its own knots, in float64
    torch.testing.assert_close(schedule.level(schedule.sigma(levels)), levels.double(), atol=1e-9, rtol=0)
    middle = torch.tensor(math.sqrt(schedule.sigma(400) * schedule.sigma(401)), dtype=torch.float64)
    torch.testing.assert_close(float(schedule.level(middle)), 400.5)
    assert schedule.level(torch.tensor([1e-9, 1e9])).tolist() == [1.0, 1000.0]


def test_between_levels_the_answer_moves_steadily_from_one_to_the_other() -> None:
    prior, x = tiny(), (normal(1, *SHAPE) + 1) / 2
    denoiser, below, above = as_denoiser(prior), prior.schedule.sigma(400) / 2, prior.schedule.sigma(401) / 2
    with torch.no_grad():
        answers = [denoiser(x, below ** (1 - share) * above**share) for share in (0, 0.25, 0.5, 0.75, 1)]
    away = [float((answer - answers[0]).norm()) for answer in answers]
    assert away == sorted(set(away))
    # a smooth function of log σ over one level: the middle is half of the way, to a few per cent
    assert away[2] / away[4] == pytest.approx(0.5, abs=0.05)


def test_a_gaussian_prior_is_exact_at_any_sigma() -> None:
    prior, sigma = gaussian(), 0.0371
    x = (normal(2, *SHAPE) + 1) / 2
    covariance = (prior._axes * prior._variances) @ prior._axes.mT
    gain = covariance @ torch.linalg.inv(covariance + (2 * sigma) ** 2 * torch.eye(64, dtype=torch.float64))
    wanted = (0.2 + (2 * x - 1 - 0.2).flatten(1).double() @ gain.mT + 1) / 2
    # the answer is float32
    torch.testing.assert_close(as_denoiser(prior)(x, sigma).flatten(1).double(), wanted, atol=1e-6, rtol=0)


def test_a_prior_of_whole_levels_is_interpolated_between_them() -> None:
    whole, exact = as_denoiser(WholeLevels(gaussian())), as_denoiser(gaussian())
    x, schedule = (normal(3, *SHAPE) + 1) / 2, gaussian().schedule
    sigma = torch.tensor([schedule.sigma(300) / 2, schedule.sigma(40) / 2 * 1.003, schedule.sigma(999) / 2])
    # at a level only rounding is left; between two, whose σ are 1 % apart, so is the square of that
    torch.testing.assert_close(whole(x, sigma), exact(x, sigma), atol=1e-4, rtol=0)


def test_each_image_has_its_own_sigma() -> None:
    for prior in (tiny(), gaussian(), WholeLevels(gaussian())):
        denoiser, x = as_denoiser(prior), (normal(3, *SHAPE) + 1) / 2
        sigma = torch.tensor([0.0, 0.1, 0.7])
        together = denoiser(x, sigma)
        assert together[0].equal(x[0])
        for i in (1, 2):
            # float32: sums over a batch may be ordered otherwise
            torch.testing.assert_close(
                together[i], denoiser(x[i : i + 1], float(sigma[i]))[0], atol=1e-5, rtol=1e-5
            )
        assert denoiser(x, sigma.reshape(3, 1, 1, 1)).equal(together)


def test_gradients_pass_as_data_terms_of_deepinv_need() -> None:
    for prior in (tiny(), gaussian()):
        x = ((normal(1, *SHAPE) + 1) / 2).requires_grad_()
        (gradient,) = torch.autograd.grad(as_denoiser(prior)(x, 0.2).sum(), x)
        assert float(gradient.abs().sum()) > 0


def test_the_network_moves_and_counts_with_the_denoiser() -> None:
    prior = tiny()
    denoiser = as_denoiser(prior)
    assert isinstance(denoiser, Denoiser)
    assert sum(p.numel() for p in denoiser.parameters()) == sum(p.numel() for p in prior.network.parameters())
    x = (normal(1, *SHAPE) + 1) / 2
    assert denoiser(x.double(), 0.1).dtype == torch.float64
    tiled = as_denoiser(TiledPrior(prior, (1, 8, 12)))(torch.rand(1, 1, 8, 12), 0.1)
    assert tiled.shape == (1, 1, 8, 12)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (-0.1, "finite and ≥ 0"),
        (float("nan"), "finite and ≥ 0"),
        (torch.ones(3), "one for each of 2 images: got 3"),
    ],
)
def test_what_is_no_sigma_is_told(sigma: float | torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_denoiser(gaussian())(torch.zeros(2, *SHAPE), sigma)


def test_what_is_no_prior_is_told() -> None:
    with pytest.raises(TypeError, match="prior must have schedule"):
        as_denoiser("faces-64")


def test_a_prior_survives_being_a_denoiser() -> None:
    prior = gaussian()
    back = from_denoiser(as_denoiser(prior), SHAPE, sigma_range=(0, math.inf))
    for k in (1, 100, 1000):
        x_k = normal(2, *SHAPE, seed=k)
        # through [0, 1] and back in float32; x_k/√ᾱ reaches 157 and more at k = 1000
        atol = 1e-6 * max(1, prior.schedule.sigma(k))
        torch.testing.assert_close(back.denoise(x_k, k), prior.denoise(x_k, k), atol=atol, rtol=0)


class Recorder(Denoiser):
    """Answers grey, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[torch.Tensor, float]] = []

    def forward(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        self.asked.append((x, sigma))
        return torch.full_like(x, 0.5)


def test_a_denoisers_range_is_where_runs_start_and_what_it_is_told() -> None:
    denoiser = Recorder()
    model = NestedDDRM(denoiser, 2, 5, sigma_range=(0.02, 1.0))
    y = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    model(y, Inpainting(SHAPE, torch.zeros(SHAPE)), seed=0)
    told = [sigma for _, sigma in denoiser.asked]
    assert len(told) == 10
    schedule = NoiseSchedule.linear()
    highest = int((schedule.sigma(range(1, 1001)) <= 2).sum())
    assert max(told) == told[0] == pytest.approx(schedule.sigma(highest) / 2, abs=1e-9)
    assert min(told) == told[-1] == 0.02
    # nothing was measured: q(x | y) is grey with σ = 1 of noise, 64 draws
    assert float(denoiser.asked[0][0].mean()) == pytest.approx(0.5, abs=0.5)
    assert float(denoiser.asked[0][0].std()) == pytest.approx(1.0, abs=0.4)


def test_deepinvs_own_denoisers_run() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drunet = DRUNet(1, 1, nc=(4, 4, 8, 8), nb=1, pretrained=None).eval()
    physics = Inpainting((1, 32, 32), 0.5, noise_model=GaussianNoise(0.02), rng=torch.Generator().manual_seed(0))
    y = physics.A(torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1)))
    x, previews = NestedDDRM(drunet, 2, 3)(y, physics, seed=0, get_trajectory=True)
    assert x.shape == y.shape
    assert len(previews) == 2
    assert from_denoiser(drunet, (1, 32, 32)).schedule.K < 1000
    assert NestedDDRM(drunet, 2, 3)(y, physics, seed=0).equal(x)


def test_diffunet_knows_every_level() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DiffUNet(pretrained=None).eval()
    prior = from_denoiser(network, (3, 32, 32))
    assert prior.schedule.K == 1000
    physics = Denoising(GaussianNoise(0.1))
    y = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert NestedDDRM(network, 1, 2)(y, physics, seed=0).shape == y.shape


@pytest.mark.parametrize("size", [(8, 8), (20, 9), (3, 30), (1, 1), (5, 7)])
def test_images_of_any_size_are_denoised(size: tuple[int, int]) -> None:
    prior, x = tiny(), (normal(2, 1, *size) + 1) / 2
    answer = as_denoiser(prior)(x, 0.1)
    assert answer.shape == x.shape
    height, width = (max(8, side) for side in size)
    if (height, width) == size:
        assert answer.equal(as_denoiser(prior_for(prior, (1, *size)))(x, 0.1))
    rows, columns = (torch.arange(side) for side in (height, width))
    # mirrored about the last row and column, over and over; of a single one nothing else is there
    for side, index in zip(size, (rows, columns), strict=True):
        period = max(2 * (side - 1), 1)
        index.copy_(torch.minimum(index % period, period - index % period) if side > 1 else 0 * index)
    whole = as_denoiser(prior_for(prior, (1, height, width)))(x[..., rows[:, None], columns], 0.1)
    assert answer.equal(whole[..., : size[0], : size[1]])


def test_a_denoiser_in_tiles_takes_other_sizes_by_the_same_tiles() -> None:
    tiled = TiledPrior(tiny(), (1, 8, 12), overlap=3, tile_batch=2)
    x = (normal(1, 1, 11, 8) + 1) / 2
    wanted = as_denoiser(TiledPrior(tiled.prior, (1, 11, 8), overlap=3))(x, 0.1)
    # batches of other sizes sum in another order
    torch.testing.assert_close(as_denoiser(tiled)(x, 0.1), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8), (1, 1, 8, 8, 8), (0, 1, 8, 8)])
def test_images_of_other_channels_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x must be \(B, 1, H, W\), of the prior's channels: got"):
        as_denoiser(tiny())(torch.zeros(shape), 0.1)


@pytest.mark.parametrize("kind", [NCSNpp, ADMUNet])
def test_edm_networks_know_their_range(kind: type[Denoiser]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(
            img_resolution=16, in_channels=3, out_channels=3, model_channels=32, channel_mult=(1,), num_blocks=1,
            pretrained=None,
        ).eval()  # fmt: skip
    prior = from_denoiser(network, (3, 16, 16))
    # EDM's σ are 0.002 … 80 on the [-1, 1] scale
    assert prior.schedule.sigma(prior.schedule.K) == pytest.approx(80, rel=0.02)
    assert prior.lowest == 0.001
    assert prior.denoise(normal(1, 3, 16, 16), 1).isfinite().all()
    assert as_denoiser(prior)(torch.rand(1, 3, 16, 16), 1e-6).isfinite().all()


def test_what_was_made_a_prior_is_itself_again_as_a_denoiser() -> None:
    denoiser = Recorder()
    back = as_denoiser(from_denoiser(denoiser, SHAPE, sigma_range=(0.02, 1.0)))
    x = (normal(4, *SHAPE) + 1) / 2
    back(x, torch.tensor([0.3, 0.0, 0.001, 7.0]))
    asked, told = denoiser.asked[-1]
    torch.testing.assert_close(asked, x, atol=1e-6, rtol=0)  # to [-1, 1] and back in float32
    # between the levels too, and within its range; σ = 0 is not asked for
    assert [told.tolist()[i] for i in (0, 2, 3)] == pytest.approx([0.3, 0.02, 1.0])


def test_a_networks_other_weights_are_another_prior() -> None:
    prior = tiny()
    before = prior.fingerprint()
    prior.network.to("cpu").requires_grad_(False).eval()
    assert prior.fingerprint() == copy.deepcopy(prior).fingerprint() == before
    as_denoiser(prior).network.load_state_dict({name: 2 * w for name, w in prior.network.state_dict().items()})
    loaded = prior.fingerprint()
    assert loaded != before
    with torch.no_grad():
        next(iter(prior.network.parameters())).mul_(0.5)  # as an optimizer does
    assert len({prior.fingerprint(), loaded, before}) == 3


def test_ranges_that_cannot_be_are_told() -> None:
    with pytest.raises(ValueError, match="sigma_range must be given for Recorder"):
        NestedDDRM(Recorder())
    with pytest.raises(ValueError, match="0 ≤ lowest < highest"):
        from_denoiser(Recorder(), SHAPE, sigma_range=(0.5, 0.1))
    with pytest.raises(ValueError, match=r"reach the schedule's first level, 0\.005: got 0\.001"):
        from_denoiser(Recorder(), SHAPE, sigma_range=(0.0, 0.001))
    with pytest.raises(TypeError, match="denoiser must be a module"):
        from_denoiser(lambda x, sigma: x, SHAPE, sigma_range=(0.0, 1.0))


def test_priors_of_other_weights_have_other_fingerprints() -> None:
    def made(seed: int) -> DenoiserPrior:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return from_denoiser(DRUNet(1, 1, nc=(4, 4, 4, 4), nb=1, pretrained=None), SHAPE)

    assert made(0).fingerprint() == made(0).fingerprint() != made(1).fingerprint()
