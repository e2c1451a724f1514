"""A mosaic holds one colour of each pixel, where its pattern says."""

from __future__ import annotations

import pytest
import torch

from degradations import Mosaic, SVDOperator, check_operator
from degradations.mosaic import PATTERNS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_keeps_the_promises(pattern: str, dtype: torch.dtype) -> None:
    for shape in ((3, 8, 12), (3, 5, 7)):
        check_operator(Mosaic(shape, pattern).to(dtype))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pixel_is_the_channel_that_its_letter_names(pattern: str) -> None:
    x = torch.rand(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    y = Mosaic((3, 5, 8), pattern)(x)
    for row in range(5):
        for column in range(8):
            channel = "RGB".index(pattern[row % 2 * 2 + column % 2])
            assert y[:, 0, row, column].equal(x[:, channel, row, column])


def test_images_share_it_and_different_ones_are_stacked() -> None:
    one, same, other = Mosaic((3, 4, 6)), Mosaic((3, 4, 6)), Mosaic((3, 4, 6), "GBRG")
    assert SVDOperator.stack([one, same]) is one
    stacked = SVDOperator.stack([one, other])
    check_operator(stacked)
    assert stacked.take(1).fingerprint() == other.fingerprint() != one.fingerprint()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="pattern must be one of RGGB, BGGR, GRBG, GBRG: got 'RGB'"):
        Mosaic((3, 4, 4), "RGB")
    with pytest.raises(ValueError, match="must have 3 channels to make a mosaic: got 1"):
        Mosaic((1, 4, 4))
