"""Down-sampling is the matrix it claims to be, and Pillow's resize inside of the frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from degradations import Downsampling, SuperResolution, SVDOperator, check_operator
from degradations.kernels import gaussian_shrinking, shrinking


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = [
    ((3, 32, 48), 4, "bicubic"),
    ((2, 40, 24), 2, "lanczos"),
    ((1, 18, 30), 3, "bicubic"),
    ((1, 18, 30), 3, "box"),
    ((1, 16, 32), 8, "box"),
    ((3, 9, 7), 1, uniform(3, 5)),
    ((3, 16, 24), 4, uniform(4, 6) - 0.4),
    ((1, 15, 21), 3, uniform(3, 3)),
    ((1, 16, 24), 2, gaussian_shrinking(1.2, 2)),
    ((1, 64, 80), 2, gaussian_shrinking(6, 2)),  # says nothing of the highest frequencies
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_every_factor_and_kernel_keeps_the_promises(case, dtype: torch.dtype) -> None:
    check_operator(Downsampling(*case).to(dtype))


@pytest.mark.parametrize("case", [case for case in CASES if case[0][1] * case[0][2] < 700])
def test_a_is_the_sum_over_pixels_and_s_are_its_singular_values(case) -> None:
    (_, height, width), f, kernel = case
    weights = shrinking(kernel, f) if isinstance(kernel, str) else kernel
    rows, columns = weights.shape
    wanted = torch.zeros(height // f * width // f, height * width, dtype=torch.float64)
    for i in range(height // f):
        for k in range(width // f):
            for a in range(rows):
                for b in range(columns):
                    row, column = f * i + (f - rows) // 2 + a, f * k + (f - columns) // 2 + b
                    wanted[i * (width // f) + k, row % height * width + column % width] += weights[a, b]
    operator = Downsampling((1, height, width), f, kernel).double()
    basis = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    # singular values are kept in float32
    torch.testing.assert_close(operator(basis).flatten(1).T, wanted, atol=1e-6, rtol=0)
    ours = operator.singular_values.flatten().sort(descending=True).values[: len(wanted)]
    torch.testing.assert_close(ours, torch.linalg.svdvals(wanted), atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("name", ["bicubic", "lanczos", "box"])
def test_it_is_pillows_resize_inside_of_the_frame(name: str, factor: int) -> None:
    x = uniform(16 * factor, 20 * factor).numpy().astype(np.float32)
    theirs = Image.fromarray(x).resize((20, 16), Image.Resampling[name.upper()])
    ours = Downsampling((1, *x.shape), factor, name).double()(torch.from_numpy(x).double()[None, None])[0, 0]
    apart = (ours - torch.from_numpy(np.array(theirs))).abs()
    assert float(apart[3:-3, 3:-3].max()) < 1e-6
    # Pillow forgets what lies beyond the frame, we take the opposite side: as far as the filter reaches
    reach = {"box": 0, "bicubic": 2, "lanczos": 3}[name]
    assert float(apart[reach : 16 - reach, reach : 20 - reach].max()) < 1e-6
    assert (float(apart.max()) > 0.01) == (reach > 0)


def test_a_box_is_block_averaging() -> None:
    x = uniform(2, 3, 16, 24).float()
    ours, blocks = Downsampling((3, 16, 24), 4, "box"), SuperResolution((3, 16, 24), 4)
    # float32 transforms of values up to 1
    torch.testing.assert_close(ours(x), blocks(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.pinv(blocks(x)), blocks.pinv(blocks(x)), atol=1e-5, rtol=0)


def test_images_share_it_and_different_ones_are_stacked() -> None:
    one, same, other = (Downsampling((1, 16, 24), 2, name) for name in ("bicubic", "bicubic", "lanczos"))
    assert SVDOperator.stack([one, same]) is one
    stacked = SVDOperator.stack([one, other])
    check_operator(stacked)
    assert stacked.take(1).fingerprint() == other.fingerprint() != one.fingerprint()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Downsampling((1, 16, 18), 4), ValueError, "factor must divide .* got 4 for 16×18"),
        (lambda: Downsampling((1, 16, 16), 0), ValueError, "factor must be a positive whole number"),
        (lambda: Downsampling((1, 16, 16), 2, "area"), ValueError, "kernel must be one of box, bicubic, lanczos"),
        (lambda: Downsampling((1, 16, 16), 8), ValueError, "at most as large as the image"),
        (lambda: Downsampling((1, 16, 16), 2, torch.ones(3, 3)), ValueError, "odd or even as the factor, 2"),
        (lambda: Downsampling((1, 16, 16), 2, torch.zeros(4, 4)), ValueError, "not 0 everywhere"),
        (lambda: Downsampling((1, 16, 16), 2, torch.full((2, 2), torch.nan)), ValueError, "finite"),
        (lambda: Downsampling((1, 16, 16), 2, torch.ones(2, 2).int()), TypeError, "floating-point"),
    ],
)
def test_wrong_arguments_are_named(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
