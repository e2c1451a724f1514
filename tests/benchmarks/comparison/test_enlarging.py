"""Enlarging with Pillow's kernels."""

from __future__ import annotations

import pytest
import torch

from benchmarks.comparison.enlarging import BICUBIC, LANCZOS, Enlarged
from degradations import Denoising, Inpainting, Measurement, SuperResolution
from restoration.priors import GaussianPrior

PRIOR = GaussianPrior(torch.zeros(3, 2, 2), torch.eye(12))  # it is not asked
SHAPE = (3, 24, 32)


def enlarged(method: Enlarged, x: torch.Tensor, factor: int = 4) -> torch.Tensor:
    operator = SuperResolution(x.shape[1:], factor)
    (done,) = method.restore(PRIOR, Measurement(operator(x), operator, 0.0), range(len(x)))
    assert done.shape == x.shape
    return done


@pytest.mark.parametrize("method", [BICUBIC, LANCZOS])
def test_a_constant_picture_stays_constant_even_outside_of_what_8_bits_hold(method: Enlarged) -> None:
    levels = torch.tensor([0.1234567, -0.5, 1.7]).reshape(1, 3, 1, 1).expand(2, *SHAPE)
    # Lanczos's weights are divided by their sum: float32 rounding
    torch.testing.assert_close(enlarged(method, levels), levels, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [BICUBIC, LANCZOS])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_ramp_lies_where_it_lay(method: Enlarged, factor: int) -> None:
    down, along = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    ramp = torch.stack([down, along, down + along])[None] / 64
    border = 3 * factor  # beyond it a kernel looks over the picture's edge
    error = (enlarged(method, ramp, factor) - ramp)[..., border:-border, border:-border]
    # Bicubic reproduces a ramp; Lanczos ripples by 4 % of a small pixel's step. Half a pixel of shift is 1/128.
    assert float(error.abs().max()) < (1e-5 if method is BICUBIC else 0.05 * factor / 32)
    assert abs(float(error.mean())) < 1e-5  # float32 rounding


def test_bicubic_is_keys_kernel() -> None:
    x = torch.zeros(1, *SHAPE)
    x[..., :, 16:20] = 1  # one column of small pixels
    row = enlarged(BICUBIC, x)[0, 0, 12]
    # Keys, a = -1/2, at distances of 1/8, 3/8, 5/8 and 7/8 of a small pixel, and at 9/8 to 15/8
    distances = torch.tensor([0.125, 0.375, 0.625, 0.875])
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * (d := 1 + distances) ** 3 + 2.5 * d**2 - 4 * d + 2
    torch.testing.assert_close(row[18:26], torch.cat([near, far]), rtol=0, atol=1e-6)  # float32 rounding


@pytest.mark.parametrize("method", [BICUBIC, LANCZOS])
def test_it_says_nothing_of_other_tasks(method: Enlarged) -> None:
    y = torch.zeros(1, *SHAPE)
    mask = torch.ones(24, 32, dtype=torch.bool)
    small = SuperResolution(SHAPE, 2)
    assert method.applies(Measurement(small(y), small, 0.0))
    for operator in (Denoising(SHAPE), Inpainting(SHAPE, mask)):
        assert not method.applies(Measurement(y, operator, 0.1))
