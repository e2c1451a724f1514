"""Non-local means with the true σ."""

from __future__ import annotations

import pytest
import torch
from skimage import data

from benchmarks.comparison.non_local_means import NonLocalMeans
from degradations import Denoising, Measurement, SuperResolution, simulate
from restoration.priors import GaussianPrior
from solvers import NoiseSource

PRIOR = GaussianPrior(torch.zeros(3, 2, 2), torch.eye(12))  # it is not asked
FACE = torch.from_numpy(data.astronaut()[32:160:2, 160:288:2].copy()).permute(2, 0, 1)[None].float() / 255
SHAPE = (3, 64, 64)


def restored(measurement: Measurement) -> torch.Tensor:
    return next(NonLocalMeans().restore(PRIOR, measurement, range(len(measurement))))


@pytest.mark.parametrize(("sigma", "gain"), [(0.05, 1.6), (0.1, 2.5), (0.25, 5)])
def test_it_lowers_the_error_on_a_face(sigma: float, gain: float) -> None:
    measurement = simulate(FACE, Denoising(SHAPE), sigma, noise=NoiseSource([0]))
    before, after = ((x - FACE).square().mean() for x in (measurement.y, restored(measurement)))
    assert float(before) > gain * float(after)


def test_each_picture_of_a_batch_and_a_grey_one_are_denoised_at_their_own_sigma() -> None:
    both = simulate(
        FACE.expand(2, -1, -1, -1), Denoising(SHAPE), torch.tensor([0.02, 0.1]), noise=NoiseSource([0, 1])
    )
    together = restored(both)
    alone = torch.cat([restored(both.take(i)) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    grey = Measurement(both.y[1:, :1], Denoising((1, 64, 64)), 0.1)
    assert float((restored(grey) - FACE[:, :1]).square().mean()) < 0.5 * 0.1**2


def test_it_says_nothing_of_other_tasks_nor_without_noise() -> None:
    small = SuperResolution(SHAPE, 2)
    assert NonLocalMeans().applies(Measurement(FACE, Denoising(SHAPE), 0.1))
    assert not NonLocalMeans().applies(Measurement(FACE, Denoising(SHAPE), 0.0))
    assert not NonLocalMeans().applies(Measurement(small(FACE), small, 0.1))
