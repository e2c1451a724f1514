"""Tiles: exact where nothing is blended, bounded, pure, and true to the measurement across seams."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator, simulate
from nested import NestedState
from restoration import GaussianPrior, Restorer, TiledPrior, prior_for
from restoration.priors.tiled import blending, starts
from solvers import NoiseSchedule, NoiseSource

WINDOW = (3, 8, 8)
SHAPES = [(3, 8, 21), (3, 19, 8), (3, 20, 12), (3, 9, 9), (3, 12, 40)]


class Network:
    """What tests ask of a network: an answer that depends on the whole window, and a record of its batches."""

    schedule = NoiseSchedule.linear()
    device = torch.device("cpu")
    name = "network"

    def __init__(
        self, image_shape: tuple[int, int, int] = WINDOW, slope: float = 0.3, spread: float = 0.1
    ) -> None:
        self.image_shape = image_shape
        self.slope, self.spread = slope, spread
        self.batches: list[int] = []
        place = torch.linspace(-1, 1, image_shape[1] * image_shape[2]).reshape(1, *image_shape[1:])
        self.pattern = spread * place

    def fingerprint(self) -> str:
        return f"network {self.slope} {self.spread}"

    def denoise(self, x_k: Tensor, k: int) -> Tensor:
        assert x_k.shape[1:] == self.image_shape
        self.batches.append(len(x_k))
        return self.slope * x_k + self.spread * x_k.mean(dim=(1, 2, 3), keepdim=True) + self.pattern * k / 1000


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("phase", [None, 0.0, 0.3, 0.99])
@pytest.mark.parametrize(("length", "overlap"), [(8, 2), (9, 2), (20, 0), (21, 7), (64, 3)])
def test_windows_cover_a_side_and_overlap_as_asked(length: int, overlap: int, phase: float | None) -> None:
    begins = starts(length, 8, overlap, phase)
    assert (begins[0], begins[-1]) == (0, length - 8)
    steps = [after - before for before, after in pairwise(begins)]
    assert all(0 < step <= 8 - overlap for step in steps)
    fewest = -(-(length - 8) // (8 - overlap)) + 1
    assert len(begins) <= fewest + (phase is not None)


@pytest.mark.parametrize("phase", [None, 0.7])
def test_weights_sum_to_one_at_every_pixel_and_rise_from_near_zero(phase: float | None) -> None:
    for length, overlap in [(8, 2), (9, 2), (30, 0), (29, 5)]:
        begins = starts(length, 8, overlap, phase)
        total = torch.zeros(length)
        for begin, weights in zip(begins, blending(begins, 8, length), strict=True):
            assert float(weights.min()) > 0
            total[begin : begin + 8] += weights
        torch.testing.assert_close(total, torch.ones(length), atol=2e-7, rtol=0)  # float32 rounding
    inner = blending([0, 4, 8], 8, 16)[1]
    assert float(inner[0]) < 0.05  # a window's border hardly counts where another's middle is


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [False, True])
def test_an_affine_denoiser_of_pixels_is_tiled_exactly(shape: tuple[int, int, int], shift: bool) -> None:
    class Affine(Network):
        def denoise(self, x_k: Tensor, k: int) -> Tensor:
            return 0.7 * x_k - 0.2

    x = noise(2, *shape)
    for k in (1, 500, 1000):
        torch.testing.assert_close(TiledPrior(Affine(), shape, 3, shift=shift).denoise(x, k), 0.7 * x - 0.2)


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_the_weighted_mean_of_the_windows(shape: tuple[int, int, int]) -> None:
    network, x = Network(), noise(1, *shape)
    tiles = TiledPrior(network, shape, 3)
    row = torch.sin((torch.arange(8) + 0.5) * torch.pi / 8) ** 2
    bump = row[:, None] * row
    weighted, weights = torch.zeros(shape), torch.zeros(shape[1:])
    for top, left in tiles.windows(700):
        cut = (..., slice(top, top + 8), slice(left, left + 8))
        weighted[cut] += bump * network.denoise(x[cut], 700)[0]
        weights[cut] += bump
    torch.testing.assert_close(tiles.denoise(x, 700)[0], weighted / weights, atol=1e-6, rtol=1e-5)


def test_a_picture_of_the_priors_size_gets_its_own_answer_bit_for_bit() -> None:
    network, x = Network(), noise(3, *WINDOW)
    assert TiledPrior(network, WINDOW).denoise(x, 300).equal(network.denoise(x, 300))
    assert prior_for(network, WINDOW) is network
    assert isinstance(prior_for(network, (3, 8, 9)), TiledPrior)


def test_one_dimension_may_fit() -> None:
    assert TiledPrior(Network(), (3, 8, 21), 3).windows(5) == [(0, 0), (0, 4), (0, 9), (0, 13)]


@pytest.mark.parametrize("shift", [False, True])
def test_denoising_is_a_pure_float32_function_of_image_and_level(shift: bool) -> None:
    tiles, x = TiledPrior(Network(), (3, 20, 17), 3, shift=shift), noise(2, 3, 20, 17)
    before = x.clone()
    first = tiles.denoise(x, 400)
    tiles.denoise(x, 900)
    assert tiles.denoise(x, 400).equal(first)
    assert x.equal(before)
    assert first.dtype == torch.float32
    assert first.shape == x.shape


def test_windows_move_from_level_to_level_only_if_asked() -> None:
    still, moving = (TiledPrior(Network(), (3, 40, 40), 3, shift=shift) for shift in (False, True))
    assert len({tuple(still.windows(k)) for k in range(1, 1000, 111)}) == 1
    assert len({tuple(moving.windows(k)) for k in range(1, 1000, 111)}) > 5


def test_the_network_gets_at_most_a_tile_batch_and_work_grows_with_the_pixels() -> None:
    network = Network()
    counts = []
    for side in (32, 64):
        network.batches.clear()
        TiledPrior(network, (3, side, side), 2, tile_batch=5).denoise(noise(2, 3, side, side), 9)
        assert max(network.batches) == 5
        counts.append(sum(network.batches))
    assert counts[0] == 2 * 5 * 5  # (32 − 8)/6 + 1 windows a side
    assert counts[1] / counts[0] < 4 * 1.3


def test_the_tile_batch_changes_nothing_but_memory() -> None:
    x = noise(2, 3, 20, 30)
    small, large = (TiledPrior(Network(), (3, 20, 30), 3, tile_batch=n) for n in (1, 64))
    torch.testing.assert_close(small.denoise(x, 50), large.denoise(x, 50), atol=1e-6, rtol=1e-6)
    assert small.fingerprint() == large.fingerprint()


def test_an_image_does_not_depend_on_its_batch_neighbours() -> None:
    x, tiles = noise(3, 3, 20, 30), TiledPrior(Network(), (3, 20, 30), 3, tile_batch=7)
    torch.testing.assert_close(tiles.denoise(x, 50)[1:2], tiles.denoise(x[1:2], 50), atol=1e-6, rtol=1e-6)


def test_what_changes_the_answer_changes_the_fingerprint() -> None:
    made = [
        TiledPrior(Network(), (3, 20, 30), 3),
        TiledPrior(Network(), (3, 20, 30), 4),
        TiledPrior(Network(), (3, 30, 20), 3),
        TiledPrior(Network(), (3, 20, 30), 3, shift=True),
        TiledPrior(Network(slope=0.4), (3, 20, 30), 3),
    ]
    assert len({tiles.fingerprint() for tiles in made}) == len(made)
    assert made[0].fingerprint() != Network().fingerprint()


def test_it_passes_on_what_a_prior_tells() -> None:
    tiles = TiledPrior(Network(), (3, 20, 30))
    assert (tiles.name, tiles.device, tiles.overlap) == ("network", torch.device("cpu"), 1)
    assert tiles.schedule is Network.schedule
    assert not hasattr(tiles, "weights_sha256")  # a network of no file


def operators(shape: tuple[int, int, int]) -> list[SVDOperator]:
    mask = noise(*shape[1:], seed=4) > 0
    return [SuperResolution(shape, 4), Colorization(shape), Inpainting(shape, mask), Denoising(shape)]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("shape", [(3, 20, 32), (3, 8, 28)])
def test_a_noiseless_run_reproduces_the_measurement_across_seams(which: int, shape: tuple[int, int, int]) -> None:
    operator = operators(shape)[which]
    measurement = Measurement(operator(noise(2, *shape).sigmoid()), operator)
    posterior = Restorer(TiledPrior(Network(), shape, 3, tile_batch=6)).posterior(measurement)
    source = NoiseSource([1, 2])
    *_, x = posterior.sample(posterior.initial(1000, source), 1000, 5, source)
    torch.testing.assert_close(operator((x + 1) / 2), measurement.y, atol=2e-5, rtol=0)  # float32 rounding


def gaussian() -> GaussianPrior:
    place = torch.arange(64.0)
    distance = (place // 8 - place[:, None] // 8).abs() + (place % 8 - place[:, None] % 8).abs()
    covariance = torch.block_diag(*[0.2 * torch.exp(-distance / 6)] * 3)
    return GaussianPrior(torch.zeros(WINDOW), covariance)


def test_a_gaussian_prior_in_tiles_denoises_better_than_none() -> None:
    shape = (3, 16, 24)
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 16), torch.linspace(0, 4, 24), indexing="ij")
    clean = (0.5 + 0.4 * torch.sin(rows) * torch.cos(columns)).expand(1, *shape).contiguous()
    measurement = simulate(clean, Denoising(shape), 0.2, noise=NoiseSource([3]))
    restored = Restorer(TiledPrior(gaussian(), shape)).restore(measurement, 2, 10, seeds=[0]).image
    assert float((restored - clean).square().mean()) < 0.3 * float((measurement.y - clean).square().mean())


def test_a_stored_run_finds_its_tiles_again(tmp_path: Path) -> None:
    shape, operator = (3, 20, 17), Inpainting((3, 20, 17), noise(20, 17) > 0)
    measurement = Measurement(operator(noise(1, *shape).sigmoid()), operator)

    def restorer(overlap: int = 3, tile_batch: int = 16) -> Restorer:
        return Restorer(TiledPrior(Network(), shape, overlap, tile_batch))

    whole = restorer().restore(measurement, 3, 2, seeds=[5])
    restorer().restore(measurement, 3, 2, seeds=[5], max_nfe=4).preview.state.save(tmp_path / "state")
    state = NestedState.load(tmp_path / "state")
    assert restorer().restore(measurement, 3, 2, state=state).image.equal(whole.image)
    other_batch = restorer(tile_batch=3).restore(measurement, 3, 2, state=state).image
    torch.testing.assert_close(other_batch, whole.image, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="another run"):
        restorer(overlap=4).restore(measurement, 3, 2, state=state)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x_k must be \(B, 3, 20, 17\): got \(1, 3, 20, 18\)"):
        TiledPrior(Network(), (3, 20, 17)).denoise(noise(1, 3, 20, 18), 5)


def test_tiles_count_as_one_evaluation() -> None:
    operator = Denoising((3, 20, 17))
    measurement = Measurement(noise(1, 3, 20, 17).sigmoid(), operator, 0.1)
    done = Restorer(TiledPrior(Network(), (3, 20, 17))).restore(measurement, 3, 2, seeds=[5])
    assert (done.nfe, done.total_nfe) == (6, 6)


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((3, 7, 20), {}, r"image_shape must be \(3, H, W\) of at least the prior's 8×8: got \(3, 7, 20\)"),
        ((1, 20, 20), {}, "image_shape must be"),
        ((20, 20), {}, "image_shape must be"),
        ((3, 20, 20), {"overlap": -1}, "overlap must be from 0 to 7 pixels for windows of 8: got -1"),
        ((3, 20, 20), {"overlap": 8}, "overlap must be"),
        ((3, 20, 20), {"tile_batch": 0}, "tile_batch must be at least 1: got 0"),
    ],
)
def test_wrong_arguments_are_named(shape: tuple[int, ...], given: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TiledPrior(Network(), shape, **given)


def test_any_noise_is_denoised_as_at_its_own_level_and_with_gradients() -> None:
    prior = GaussianPrior(torch.zeros(1, 4, 4), torch.eye(16))
    tiles = TiledPrior(prior, (1, 6, 7), 2, tile_batch=3)
    x, schedule = noise(2, 1, 6, 7).requires_grad_(), prior.schedule
    sigma = torch.tensor([schedule.sigma(300), schedule.sigma(700)])
    x0 = tiles.denoise_at(x, sigma)
    signal = schedule.alpha_bar((300, 700)).sqrt().float().reshape(-1, 1, 1, 1)
    at_levels = tiles.denoise(signal * x.detach(), torch.tensor([300, 700]))
    torch.testing.assert_close(x0.detach(), at_levels, atol=1e-6, rtol=1e-5)  # float32 rounding
    (gradient,) = torch.autograd.grad(x0.sum(), x)
    # pixels are independent under this prior: each is shrunk by 1/(1 + σ²)
    torch.testing.assert_close(
        gradient, (1 / (1 + sigma**2)).reshape(-1, 1, 1, 1).expand_as(x), atol=1e-6, rtol=1e-5
    )
    assert not hasattr(TiledPrior(Network(), (3, 9, 9)), "denoise_at")  # nor has its prior
