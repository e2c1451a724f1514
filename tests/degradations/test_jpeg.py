"""JPEG's linear part is the matrix it claims to be, and what libjpeg's encoder does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from degradations import JPEG, SVDOperator, check_operator
from degradations.blocks import SUBSAMPLINGS, level

LUMA = 16 + 3.0 * torch.arange(8)[:, None] + 2.0 * torch.arange(8)
CHROMA = 17 + 5.0 * torch.arange(8)[:, None] + 1.0 * torch.arange(8)


def photo(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_subsampling_keeps_the_promises(subsampling: str, dtype: torch.dtype) -> None:
    down, across = SUBSAMPLINGS[subsampling]
    operator = JPEG((3, 16 * down, 8 * across), (LUMA, CHROMA), subsampling).to(dtype)
    check_operator(operator)
    assert operator.measurement_shape == (down * across + 2, 16, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grey_keeps_the_promises_and_has_steps_for_singular_values(dtype: torch.dtype) -> None:
    operator = JPEG((1, 8, 24), [LUMA])
    check_operator(operator.to(dtype))
    values = operator.singular_values[0, :, :8].flatten().sort().values
    torch.testing.assert_close(values, (255 / LUMA).flatten().sort().values.to(dtype))


def by_the_book(x: torch.Tensor, luma: torch.Tensor, chroma: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """y of one image (3, H, W) by sums over pixels, frequency by frequency, block by block."""
    red, green, blue = 255 * x
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = -0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 0.5 * red - 0.418688 * green - 0.081312 * blue
    small = [c.unfold(0, down, down).unfold(1, across, across).mean(dim=(2, 3)) for c in (cb, cr)]
    n = torch.arange(8, dtype=torch.float64)

    def transform(plane: torch.Tensor, table: torch.Tensor, step: tuple[int, int], begin: tuple[int, int]):
        rows = range(begin[0], plane.shape[0] // 8, step[0])
        columns = range(begin[1], plane.shape[1] // 8, step[1])
        out = torch.zeros(8 * len(rows), 8 * len(columns), dtype=torch.float64)
        for i, row in enumerate(rows):
            for k, column in enumerate(columns):
                block = plane[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                for u in range(8):
                    for v in range(8):
                        wave = torch.outer(
                            torch.cos((2 * n + 1) * u * torch.pi / 16), torch.cos((2 * n + 1) * v * torch.pi / 16)
                        )
                        scale = (0.5**0.5 if u == 0 else 1) * (0.5**0.5 if v == 0 else 1) / 4
                        out[8 * i + u, 8 * k + v] = scale * (block * wave).sum() / table[u, v]
        return out

    planes = [transform(y, luma, (down, across), (i, k)) for i in range(down) for k in range(across)]
    return torch.stack([*planes, *(transform(c, chroma, (1, 1), (0, 0)) for c in small)])


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_is_the_standards_equation(subsampling: str) -> None:
    down, across = SUBSAMPLINGS[subsampling]
    x = photo(3, 16 * down, 8 * across)
    operator = JPEG(x.shape, (LUMA, CHROMA), subsampling).double()
    wanted = by_the_book(x, LUMA, CHROMA, down, across)
    # singular values are kept in float32
    torch.testing.assert_close(operator(x[None])[0], wanted, atol=1e-5, rtol=1e-5)


def test_one_macroblock_is_decomposed_once_and_images_share_it() -> None:
    one, two = JPEG((3, 16, 16), (LUMA, CHROMA), "4:2:0"), JPEG((3, 32, 16), (LUMA, CHROMA), "4:2:0")
    assert one.v.data_ptr() == two.v.data_ptr()
    assert SVDOperator.stack([one, JPEG((3, 16, 16), (LUMA, CHROMA), "4:2:0")]) is one
    other = SVDOperator.stack([one, JPEG((3, 16, 16), (CHROMA, CHROMA), "4:2:0")])
    check_operator(other)
    assert other.take(0).fingerprint() == one.fingerprint() != other.take(1).fingerprint()


def test_the_level_is_that_of_mid_grey() -> None:
    for channels, tables, planes in ((1, [LUMA], 1), (3, [LUMA, CHROMA], 3)):
        y = JPEG((channels, 8, 8), tables)(torch.full((1, channels, 8, 8), 128 / 255))[0]
        # float32 sums of 64 products of some hundred
        torch.testing.assert_close(y, level(tables, planes).float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JPEG((3, 16, 24), (LUMA, CHROMA), "4:2:0"), "divided by 16×16 pixels: got 24×16"),
        (lambda: JPEG((2, 16, 16), (LUMA, CHROMA)), "must have 3 channels, or 1"),
        (lambda: JPEG((1, 16, 16), [LUMA], "4:2:0"), "or 1 with 4:4:4"),
        (lambda: JPEG((3, 16, 16), (LUMA, CHROMA), "4:1:0"), "subsampling must be one of"),
        (lambda: JPEG((3, 16, 16), [LUMA]), r"tables must be 2 or 3 of \(8, 8\)"),
        (lambda: JPEG((3, 16, 16), (LUMA, CHROMA[:4])), r"tables must be .*\(4, 8\)"),
        (lambda: JPEG((1, 8, 8), [LUMA - 16]), "finite steps above 0"),
        (lambda: JPEG((1, 8, 8), [np.nan * LUMA]), "finite steps above 0"),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
