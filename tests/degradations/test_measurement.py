"""Measurements: units, selection, simulation."""

from __future__ import annotations

import pytest
import torch

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, simulate
from solvers import NoiseSource

SHAPE = (3, 8, 8)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "operator",
    [
        Denoising(SHAPE),
        SuperResolution(SHAPE, 4),
        Colorization(SHAPE, [0.2, 0.3, 0.9]),
        Inpainting(SHAPE, torch.rand(SHAPE) < 0.5),
    ],
)
def test_model_units_measure_the_image_in_model_units(operator) -> None:
    x = images(2)
    measured = simulate(x, operator, 0.1, noise=torch.zeros(2, *operator.measurement_shape))
    inside = measured.in_model_units()
    torch.testing.assert_close(inside.y, operator(2 * x - 1), atol=1e-6, rtol=0)  # float32 rounding
    assert inside.sigma == 0.2


def test_simulated_noise_has_its_standard_deviation_image_by_image() -> None:
    x = torch.zeros(3, 3, 64, 64)
    sigma = torch.tensor([0.0, 0.1, 0.5])
    measured = simulate(x, Denoising((3, 64, 64)), sigma, noise=NoiseSource([1, 2, 3]))
    # 12,288 samples: the estimate's standard error is 0.6 %
    torch.testing.assert_close(measured.y.std(dim=(1, 2, 3)), sigma, atol=0, rtol=0.03)


def test_missing_pixels_stay_empty_when_noise_is_added() -> None:
    known = torch.rand(8, 8) < 0.5
    measured = simulate(images(1), Inpainting(SHAPE, known), 0.3, noise=NoiseSource([1]))
    assert not measured.y[..., ~known].any()


def test_take_and_expand_follow_images_sigmas_and_masks() -> None:
    masks = torch.rand(3, *SHAPE) < 0.5
    m = Measurement(images(3), Inpainting(SHAPE, masks), torch.tensor([0.1, 0.2, 0.3]))
    one = m.take(1)
    assert one.y.equal(m.y[1:2])
    assert one.operator.singular_values.equal(masks[1:2].float())
    assert one.sigma.tolist() == pytest.approx([0.2])
    two = m.take([2, 0])
    assert two.y.equal(m.y[[2, 0]])
    assert two.operator.singular_values.equal(masks[[2, 0]].float())
    many = one.expand(4)
    assert len(many) == 4
    assert many.operator.batch_size in (None, 4)
    assert many.y[3].equal(m.y[1])
    with pytest.raises(ValueError, match="one image"):
        m.expand(2)


def test_moving_also_moves_an_operator_that_is_elsewhere_than_y() -> None:
    """A "meta" buffer holds nothing that could be copied, so that torch says who tries."""
    m = Measurement(images(1), Inpainting(SHAPE, torch.ones(8, 8)).to("meta"), 0.1)
    with pytest.raises(NotImplementedError, match="meta"):
        m.to("cpu")


def test_sigmas_may_come_as_a_list() -> None:
    m = Measurement(images(2), Denoising(SHAPE), [0.1, 0.2])
    assert torch.as_tensor(m.in_model_units().sigma).tolist() == pytest.approx([0.2, 0.4])


def test_fingerprint_tells_measurements_apart() -> None:
    m = Measurement(images(1), Denoising(SHAPE), 0.1)
    same = Measurement(images(1), Denoising(SHAPE), 0.1)
    others = [
        Measurement(images(1) + 1e-6, Denoising(SHAPE), 0.1),
        Measurement(images(1), Denoising(SHAPE), 0.2),
        Measurement(images(1), Inpainting(SHAPE, torch.rand(8, 8) < 0.5), 0.1),
        Measurement(images(1)[:, :1], Colorization(SHAPE), 0.1),
        Measurement(images(1)[:, :1], Colorization(SHAPE, [0.4, 0.3, 0.3]), 0.1),
    ]
    assert m.fingerprint() == same.fingerprint()
    assert len({m.fingerprint(), *(other.fingerprint() for other in others)}) == 6


def test_frozen() -> None:
    m = Measurement(images(1), Denoising(SHAPE), 0.1)
    with pytest.raises(AttributeError):
        m.sigma = 0.2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((images(1)[:, :1], Denoising(SHAPE), 0.1), ValueError, r"y must be \(B, 3, 8, 8\)"),
        ((images(1)[0], Denoising(SHAPE), 0.1), ValueError, "y must be"),
        ((images(1) * float("nan"), Denoising(SHAPE), 0.1), ValueError, "finite"),
        ((images(1), Denoising(SHAPE), -0.1), ValueError, "sigma must be finite and ≥ 0: got -0.1"),
        ((images(1), Denoising(SHAPE), float("inf")), ValueError, "sigma"),
        ((images(2), Denoising(SHAPE), torch.zeros(3)), ValueError, "sigma must be a number or"),
        ((images(1).byte(), Denoising(SHAPE), 0.1), TypeError, "floating-point"),
        ((images(1).numpy(), Denoising(SHAPE), 0.1), TypeError, "y must be a tensor"),
        ((images(1), Denoising(SHAPE), None), TypeError, "sigma must be a number"),
        ((images(2), Inpainting(SHAPE, torch.ones(3, *SHAPE)), 0.0), ValueError, "as many images"),
    ],
)
def test_wrong_measurements_are_refused(arguments, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Measurement(*arguments)


def test_simulate_refuses_images_of_another_shape() -> None:
    with pytest.raises(ValueError, match="x must be"):
        simulate(torch.rand(1, 3, 4, 4), Denoising(SHAPE), 0.1, noise=NoiseSource([0]))
    with pytest.raises(ValueError, match="sigma must be a number or"):
        simulate(images(1), Denoising(SHAPE), torch.zeros(2), noise=NoiseSource([0]))
    with pytest.raises(ValueError, match="noise must be shaped as y"):
        simulate(images(1), Denoising(SHAPE), 0.1, noise=torch.zeros(1))
