"""Slices of a volume, restored together."""

from __future__ import annotations

import pytest
import torch

from degradations import Denoising, simulate
from restoration import GaussianPrior, Restorer, TiledPrior
from restoration.evaluate import evaluate
from restoration.priors.volume import VolumePrior, smoothed
from solvers import FIRE, NoiseSource, Question

SHAPE = (1, 8, 8)


def prior() -> GaussianPrior:
    return GaussianPrior(torch.full(SHAPE, 0.2), 0.5 * torch.eye(64))


def test_slices_that_are_left_alone_get_the_prior_s_own_answers() -> None:
    x = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    alone = VolumePrior(prior())
    torch.testing.assert_close(alone.denoise(x, 300), prior().denoise(x, 300), atol=0, rtol=0)
    levels = torch.tensor([300, 300, 300, 20, 20])
    torch.testing.assert_close(alone.denoise(x, levels), prior().denoise(x, levels), atol=0, rtol=0)
    assert alone.fingerprint() == VolumePrior(prior()).fingerprint()
    assert alone.fingerprint() != VolumePrior(prior(), together=0.5).fingerprint()


def test_total_variation_of_a_step_shrinks_it_by_the_weight_from_either_side() -> None:
    volume = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 4, 1)
    # the exact minimum: each side moves by weight / its length
    exact = torch.tensor([0.1, 0.1, 0.9, 0.9]).reshape(1, 4, 1)
    torch.testing.assert_close(smoothed(volume, 0.2, 200), exact, atol=1e-4, rtol=0)
    flat = smoothed(volume, 5.0, 400)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.5), atol=1e-3, rtol=0)
    assert smoothed(volume, 0.0).equal(volume)


def test_volumes_in_one_batch_do_not_see_each_other() -> None:
    x = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))
    both = VolumePrior(prior(), slices=range(3), together=1.0).denoise(x, 500)
    one = VolumePrior(prior(), slices=range(3), together=1.0).denoise(x[3:], 500)
    torch.testing.assert_close(both[3:], one, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="whole volumes of 4 slices: got 6"):
        VolumePrior(prior(), slices=range(4)).denoise(x, 500)
    with pytest.raises(ValueError, match="together must be from 0 to 100"):
        VolumePrior(prior(), together=-1)


def test_nothing_is_drawn_over_a_gap_between_slices() -> None:
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    parted = VolumePrior(prior(), slices=(0, 1, 7, 8), together=1.0).denoise(x, 500)
    for pair in (slice(0, 2), slice(2, 4)):
        one = VolumePrior(prior(), slices=(0, 1), together=1.0).denoise(x[pair], 500)
        torch.testing.assert_close(parted[pair], one, atol=1e-6, rtol=0)
    assert VolumePrior(prior(), (0, 2), 1.0).denoise(x[:2], 500).equal(prior().denoise(x[:2], 500))
    with pytest.raises(ValueError, match="slices must rise"):
        VolumePrior(prior(), (0, 2, 2))


def test_whoever_wants_to_stop_is_heard_between_the_tiles_of_a_volume() -> None:
    tiles = TiledPrior(prior(), (1, 8, 12), tile_batch=2)
    volume = VolumePrior(tiles, together=1.0)
    x = torch.randn(3, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    asked: list[None] = []
    answer = evaluate(volume, Question(x, 500), lambda: asked.append(None))
    assert len(asked) == 3  # six windows, two a call
    assert answer.equal(volume.denoise(x, 500))
    assert volume.image_shape == (1, 8, 12)


def test_shared_noise_and_drawing_together_each_take_away_flicker() -> None:
    """Of a volume of equal slices all that differs between them is flicker."""
    clean = torch.full((6, *SHAPE), 0.6)
    measurement = simulate(clean, Denoising(SHAPE), 0.3, noise=NoiseSource(range(6)))
    sampler = FIRE.Settings(aim="natural")

    def flicker(seeds: list[int], together: float) -> float:
        restorer = Restorer(VolumePrior(prior(), together=together), sampler, clamp=False)
        images = restorer.restore(measurement, allocation=(6,), seeds=seeds).image
        return float(images.diff(dim=0).square().mean().sqrt())

    alone, shared, drawn = flicker([*range(6)], 0.0), flicker([7] * 6, 0.0), flicker([7] * 6, 1.0)
    # measured 0.34, 0.26 and 0.19: half of it is the measurement's own noise, which nobody may take away at once
    assert shared < 0.9 * alone
    assert drawn < 0.9 * shared
