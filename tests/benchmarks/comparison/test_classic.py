"""The usual ways without a network."""

from __future__ import annotations

import pytest
import torch

from benchmarks.comparison.classic import Classic
from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, simulate
from restoration.priors import GaussianPrior
from solvers import NoiseSource

SHAPE = (3, 16, 16)
PRIOR = GaussianPrior(torch.zeros(3, 2, 2), torch.eye(12))  # it is not asked
RAMP = (torch.linspace(0, 1, 16).expand(SHAPE)[None] * torch.tensor([1.0, 0.5, 0.8]).reshape(1, 3, 1, 1)).clone()


def restored(measurement: Measurement) -> torch.Tensor:
    return next(Classic().restore(PRIOR, measurement, range(len(measurement))))


def test_enlarging_keeps_what_was_measured_and_is_smooth() -> None:
    operator = SuperResolution(SHAPE, 2)
    x = restored(Measurement(operator(RAMP), operator, 0.0))
    torch.testing.assert_close(operator(x), operator(RAMP), atol=1e-6, rtol=0)  # float32 rounding
    assert (
        float((x - RAMP)[..., 2:-2].abs().max()) < 0.02
    )  # a ramp, but for its border; blocks would be off by 0.03


def test_inpainting_continues_a_ramp() -> None:
    mask = torch.ones(16, 16, dtype=torch.bool)
    mask[6:10, 6:10] = False
    operator = Inpainting(SHAPE, mask)
    x = restored(Measurement(operator(RAMP), operator, 0.0))
    torch.testing.assert_close(x, RAMP, atol=1e-4, rtol=0)  # a ramp is biharmonic: the solver's rounding


def test_a_batch_with_a_mask_for_each_is_filled_as_each_alone_is() -> None:
    masks = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    operator = Inpainting(SHAPE, masks)
    both = Measurement(operator(RAMP.expand(2, -1, -1, -1)), operator, 0.0)
    alone = torch.cat([restored(both.take(i)) for i in range(2)])
    assert restored(both).equal(alone)


def test_anything_else_is_the_pseudo_inverse() -> None:
    operator = Colorization(SHAPE)
    y = operator(RAMP)
    assert restored(Measurement(y, operator, 0.0)).equal(operator.pinv(y))


def test_denoising_is_bm3d_of_a_batch_as_of_each_picture() -> None:
    pytest.importorskip("bm3d")
    both = simulate(RAMP.expand(2, -1, -1, -1), Denoising(SHAPE), 0.1, noise=NoiseSource([0, 1]))
    together = restored(both)
    error, before = ((x - RAMP).square().mean() for x in (together, both.y))
    assert float(error) < 0.2 * float(before)
    assert restored(both.take(1)).equal(together[1:])  # in this process as in another
