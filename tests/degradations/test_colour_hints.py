"""Hints of colour: grey everywhere, and chroma where somebody has said it."""

from __future__ import annotations

import pytest
import torch

from degradations import Colorization, ColourHints, Measurement, SVDOperator, check_operator, hinted

SHAPE = (3, 6, 8)


def weights(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 8, generator=generator) * (torch.rand(6, 8, generator=generator) < 0.4)


def grey(value: float = 0.5, sigma: float = 0.0) -> Measurement:
    return Measurement(torch.full((1, 1, 6, 8), value), Colorization(SHAPE), sigma)


def noise(**pixels: float) -> torch.Tensor:
    """Infinite but at pixels such as ``at_1_2=0.05``."""
    found = torch.full((6, 8), torch.inf)
    for name, value in pixels.items():
        found[tuple(int(part) for part in name.split("_")[1:])] = value
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hints_keep_the_promises_of_an_operator(dtype: torch.dtype) -> None:
    check_operator(ColourHints(SHAPE, weights()).to(dtype))
    check_operator(ColourHints(SHAPE, weights(), weights() > 0.5, exact_grey=True).to(dtype))
    check_operator(ColourHints(SHAPE, torch.stack([weights(1), weights(2)])[:, None]).to(dtype))


def test_every_image_of_a_batch_keeps_its_hints() -> None:
    one, two = ColourHints(SHAPE, weights(1)), ColourHints(SHAPE, weights(2), weights(2) > 0.3)
    both = SVDOperator.stack([one, two])
    assert (type(both), both.batch_size) == (ColourHints, 2)
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(3))
    for i, operator in enumerate((one, two)):
        assert both(x)[i : i + 1].equal(operator(x[i : i + 1]))
        assert both.take(i).fingerprint() == operator.fingerprint()
    assert one.fingerprint() != two.fingerprint()
    assert one.fingerprint() != ColourHints(SHAPE, weights(1), exact_grey=True).fingerprint()


def test_a_hint_gives_a_pixel_its_chroma_and_the_measured_grey_its_lightness() -> None:
    red = torch.tensor([0.8, 0.5, 0.5])[:, None, None].expand(SHAPE)
    found = hinted(grey(0.4), red, noise(at_1_2=0.0))
    restored = found.operator.pinv(found.y)[0]
    # float32 sums of three
    torch.testing.assert_close(restored[:, 1, 2], torch.tensor([0.6, 0.3, 0.3]), atol=1e-6, rtol=0)
    torch.testing.assert_close(restored[:, 0, 0], torch.full((3,), 0.4), atol=1e-6, rtol=0)
    dark = hinted(grey(0.1), red, noise(at_1_2=0.0))  # 0.1 of chroma would leave [0, 1]: no, −0.1 just fits
    torch.testing.assert_close(
        dark.operator.pinv(dark.y)[0, :, 1, 2], torch.tensor([0.3, 0.0, 0.0]), atol=1e-6, rtol=0
    )
    darker = hinted(grey(0.05), red, noise(at_1_2=0.0))
    torch.testing.assert_close(
        darker.operator.pinv(darker.y)[0, :, 1, 2], torch.tensor([0.15, 0.0, 0.0]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("own", [0.0, 0.02])
@pytest.mark.parametrize("hint", [0.0, 0.05, 0.1])
def test_every_component_is_told_its_own_noise(own: float, hint: float) -> None:
    """ν = σ/s of the means and of two hints, one of them with other noise, whoever else has none."""
    measurement = hinted(grey(sigma=own), torch.rand(SHAPE), noise(at_1_2=hint, at_3_4=0.2))
    operator = measurement.operator
    assert operator.noiseless is not None
    nu = torch.where(operator.noiseless, 0.0, float(measurement.sigma) / operator.singular_values)
    # the mean of three channels with noise σ is the grey coordinate, over √3, with noise √3 σ
    torch.testing.assert_close(nu[0], torch.full((6, 8), own * 3**0.5))
    torch.testing.assert_close(nu[1:, 1, 2], torch.full((2,), hint))
    torch.testing.assert_close(nu[1:, 3, 4], torch.full((2,), 0.2))
    assert bool((operator.singular_values[1:, 0, 0] == 0).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColourHints((1, 6, 8), weights()), "3 channels"),
        (lambda: ColourHints(SHAPE, weights().T), r"weight must be \(6, 8\)"),
        (lambda: ColourHints(SHAPE, -weights()), "finite and ≥ 0"),
        (lambda: ColourHints(SHAPE, weights(), torch.ones(2, 2)), "exact must be shaped"),
        (lambda: hinted(grey(), torch.rand(SHAPE), noise()), "there is no hint"),
        (lambda: hinted(grey(), torch.rand(SHAPE), noise(at_0_0=-1.0)), "noise must be ≥ 0"),
        (lambda: hinted(grey(), torch.full(SHAPE, torch.nan), noise(at_0_0=0.0)), "colours must be finite"),
        (lambda: hinted(grey(), torch.rand(3, 2, 2), noise(at_0_0=0.0)), "colours and noise must be"),
        (
            lambda: hinted(
                Measurement(torch.rand(1, 1, 6, 8), Colorization(SHAPE, (0.3, 0.6, 0.1))),
                torch.rand(SHAPE),
                noise(at_0_0=0.0),
            ),
            "mean of the channels",
        ),
    ],
)
def test_what_is_no_hint_is_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
