"""What a notebook shows of a preview."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from degradations import Measurement, SuperResolution
from restoration.notebook import png_of
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image)


def test_previews_and_results_are_shown_as_their_pictures() -> None:
    prior = GaussianPrior(torch.zeros(1, 4, 4), 0.2 * torch.eye(16))
    measurement = Measurement(torch.rand(2, 1, 2, 2), SuperResolution((1, 4, 4), 2), 0.0)
    done = Restorer(prior).restore(measurement, outer=1, inner=2, seeds=[0, 1])
    for shown, image in ((done, done.image), (done.preview, done.preview.image)):
        png, size = shown._repr_png_()  # type: ignore[misc]
        assert size == {
            "width": 48 * 10,
            "height": 192,
        }  # two of 4 × 4 and 2 pixels between them, 48 times as large
        found = pixels(png)
        assert found.shape == (4, 10)
        np.testing.assert_array_equal(found[:, :4], (image[0, 0] * 255).round().byte().numpy())
        np.testing.assert_array_equal(found[:, 6:], (image[1, 0] * 255).round().byte().numpy())


def test_large_pictures_are_shown_as_they_are() -> None:
    png, size = png_of(torch.full((1, 3, 200, 300), 0.5))  # type: ignore[misc]
    assert size == {"width": 300, "height": 200}
    assert pixels(png).shape == (200, 300, 3)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (0, 3, 8, 8)])
def test_what_is_no_picture_has_none(shape: tuple[int, ...]) -> None:
    assert png_of(torch.zeros(shape)) is None
