"""FD-prior: deterministic features of the prior, and a distance that grows as pictures get worse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.prior_features import PriorFeatures
from benchmarks.metrics.statistics import Statistics
from restoration.priors import DiffusionPrior, load_prior


@pytest.fixture(scope="module")
def prior() -> DiffusionPrior:
    return load_prior("faces-64", "cpu")


def portraits(count: int, side: int = 64) -> Tensor:
    """Ovals with eyes, sharp edges and fine hair on shaded grounds: (count, 3, side, side)."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, side)
    y, x = axis[:, None], axis[None, :]
    pictures = []
    for _ in range(count):
        a, b, c, d = torch.rand(4, generator=generator).tolist()
        skin, ground = torch.rand(2, 3, 1, 1, generator=generator) * 0.4 + torch.tensor([0.5, 0.1]).reshape(
            2, 1, 1, 1
        )
        picture = ground * (1 + 0.5 * x * (a - 0.5) + 0.5 * y * (b - 0.5))
        picture = torch.where((y + 0.3) ** 2 + x**2 < 0.6, 0.15 + 0.1 * torch.sin((30 + 20 * c) * x + d), picture)
        picture = torch.where(
            (x / (0.5 + 0.15 * c)) ** 2 + (y / (0.7 + 0.1 * d)) ** 2 < 1, skin * (1 - 0.2 * x), picture
        )
        eyes = (x.abs() - 0.25) ** 2 + (y + 0.15 + 0.1 * a) ** 2 < 0.006
        mouth = (x.abs() < 0.2 + 0.1 * b) & ((y - 0.4).abs() < 0.04)
        pictures.append(torch.where(eyes | mouth, 0.15, picture))
    return torch.stack(pictures).clamp(0, 1)


NAMES = [f"{i}.png" for i in range(24)]


def statistics(features: PriorFeatures, pictures: Tensor) -> Statistics:
    found = Statistics(features.space)
    found.update(features(pictures, NAMES[: len(pictures)]))
    return found


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    taps = torch.arange(-12.0, 13)
    kernel = torch.exp(-(taps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(pictures, (12,) * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)


def mosaic(pictures: Tensor, side: int) -> Tensor:
    return functional.interpolate(functional.avg_pool2d(pictures, side), scale_factor=side)


def test_it_orders_noise_blur_and_mosaics_by_their_strength(prior: DiffusionPrior) -> None:
    features, originals = PriorFeatures(prior), portraits(12)
    reference = statistics(features, originals)
    noise = torch.randn(originals.shape, generator=torch.Generator().manual_seed(1))
    for worse in (
        [originals + sigma * noise for sigma in (0.05, 0.15, 0.4)],
        [blurred(originals, sigma) for sigma in (0.7, 1.5, 3)],
        [mosaic(originals, side) for side in (2, 4, 8)],
    ):
        distances = [frechet_distance(statistics(features, pictures), reference) for pictures in worse]
        values = [distance.value for distance in distances]
        assert values == sorted(values)
        assert values[0] > 1e-4
        assert {distance.name for distance in distances} == {"FD-prior"}


def test_the_same_pictures_are_at_distance_zero(prior: DiffusionPrior) -> None:
    features, originals = PriorFeatures(prior), portraits(6)
    found = frechet_distance(statistics(features, originals), statistics(features, originals))
    assert abs(found.value) < 1e-12
    assert not found.reliable


def test_features_depend_on_the_picture_and_its_name_alone(prior: DiffusionPrior) -> None:
    features, originals = PriorFeatures(prior), portraits(4)
    together = features(originals, NAMES[:4])
    assert together.shape == (4, 128)
    assert together.dtype == torch.float32
    alone = features(originals[2:3], NAMES[2:3])
    torch.testing.assert_close(alone, together[2:3], rtol=0, atol=1e-5)  # float32 in batches of other sizes
    assert features(originals, NAMES[:4]).equal(together)
    assert not features(originals, NAMES[4:8]).equal(together)
    rounded = (originals.clamp(0, 1) * 255).round() / 255
    assert features(rounded, NAMES[:4]).equal(together)  # of 8 bits, as files are


def test_larger_pictures_are_cut_into_windows_that_cover_them(prior: DiffusionPrior) -> None:
    features, tile = PriorFeatures(prior), portraits(1)
    large = tile.repeat(1, 1, 2, 3)[:, :, :, :130]  # three windows of 64 overlap in 130 columns
    found, one = features(large, ["a"]), features(tile, ["a"])
    assert found.shape == (1, 128)
    assert not found.equal(one)  # other noise, and other cuts
    # a change in the last corner is seen
    changed = large.clone()
    changed[:, :, -8:, -8:] = 1
    assert not torch.allclose(features(changed, ["a"]), found, atol=1e-4)


def test_what_the_prior_cannot_take_is_refused(prior: DiffusionPrior) -> None:
    features = PriorFeatures(prior)
    with pytest.raises(ValueError, match=r"3 channels and at least 64×64 pixels .* got \(1, 3, 32, 64\)"):
        features(torch.zeros(1, 3, 32, 64), ["a"])
    with pytest.raises(ValueError, match="one an image: got 2 for 1"):
        features(torch.zeros(1, 3, 64, 64), ["a", "b"])
    with pytest.raises(ValueError, match="k must be from 1 to 1000: got 0"):
        PriorFeatures(prior, k=0)


def test_the_space_names_the_prior_and_the_level(prior: DiffusionPrior) -> None:
    assert PriorFeatures(prior).space == PriorFeatures(prior).space
    assert PriorFeatures(prior, k=20).space != PriorFeatures(prior, k=30).space
    assert prior.weights_sha256 in PriorFeatures(prior).space.detail
