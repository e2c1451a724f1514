"""DDRM's step, and what holds of its results whatever the network."""

from __future__ import annotations

import math

import pytest
import torch

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, simulate
from solvers import DDRM, NoiseSchedule, NoiseSource, ddrm_coefficients

SHAPE = (3, 16, 16)
MASK = torch.rand(16, 16, generator=torch.Generator().manual_seed(2)) < 0.5
OPERATORS = {
    "denoising": Denoising(SHAPE),
    "sr4": SuperResolution(SHAPE, 4),
    "colorization": Colorization(SHAPE),
    "unequal colorization": Colorization(SHAPE, [0.299, 0.587, 0.114]),
    "inpainting": Inpainting(SHAPE, MASK),
}


class RandomNetwork:
    """A prior that answers with a fixed random convolution: rough, unclipped, and nothing like a denoiser."""

    schedule = NoiseSchedule.linear()
    image_shape = SHAPE
    kernel = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(5)) / 3

    def __init__(self) -> None:
        self.calls: list[int] = []

    def denoise(self, x_k: torch.Tensor, k: int) -> torch.Tensor:
        self.calls.append(k)
        return torch.nn.functional.conv2d(x_k, self.kernel, padding=1).tanh() * 1.5


def clean(n: int) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def run(ddrm: DDRM, seeds: list[int], n: int = 8) -> list[torch.Tensor]:
    noise = NoiseSource(seeds)
    return list(ddrm.sample(ddrm.initial(1000, noise), 1000, n, noise))


@pytest.mark.parametrize("eta", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("eta_b", [0.0, 0.6, 1.0])
def test_coefficients_are_the_table(eta: float, eta_b: float) -> None:
    sigma, after = 2.0, 0.5
    nu = torch.tensor([math.inf, 0.7, 0.5, 0.2, 0.0], dtype=torch.float64)
    a, b, c, d = ddrm_coefficients(sigma, after, nu, eta, eta_b)
    keep = math.sqrt(1 - eta**2)
    kept, pulled = keep * after / sigma, keep * after / 0.7
    assert b.tolist() == pytest.approx([kept, 0, 0, 0, 0])
    assert c.tolist() == pytest.approx([0, pulled, eta_b, eta_b, eta_b])
    assert a.tolist() == pytest.approx([1 - kept, 1 - pulled, 1 - eta_b, 1 - eta_b, 1 - eta_b])
    rest = [math.sqrt(after**2 - eta_b**2 * n**2) for n in (0.5, 0.2, 0.0)]
    assert d.tolist() == pytest.approx([eta * after, eta * after, *rest])


def test_coefficients_are_finite_at_the_last_step() -> None:
    a, b, c, d = ddrm_coefficients(0.01, 0.0, torch.tensor([math.inf, 0.1, 0.0]), 0.85, 1.0)
    assert (a.tolist(), b.tolist(), c.tolist(), d.tolist()) == ([1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0])


@pytest.mark.parametrize("name", OPERATORS)
def test_a_noiseless_result_reproduces_the_measurement(name: str) -> None:
    operator = OPERATORS[name]
    measurement = simulate(clean(2), operator, 0.0, noise=NoiseSource([0, 1]))
    x0 = run(DDRM(RandomNetwork(), measurement), [3, 4])[-1]
    # float32 rounding of sums of at most 16 values of order 1
    torch.testing.assert_close(operator(x0), measurement.y, atol=2e-6, rtol=0)
    assert float((x0 - clean(2)).abs().max()) > 0.1 or name == "denoising"


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("sigma", [0.0, 0.2])
def test_an_image_is_the_same_alone_and_in_a_batch_of_five(name: str, sigma: float) -> None:
    measurement = simulate(clean(5), OPERATORS[name], sigma, noise=NoiseSource(range(5)))
    ddrm = DDRM(RandomNetwork(), measurement)
    together = run(ddrm, [10, 11, 12, 13, 14])[-1]
    alone = run(ddrm.take(3), [13])[-1]
    # float32: convolutions of one and of five images may round differently, and steps pass that on
    torch.testing.assert_close(together[3:4], alone, atol=2e-5, rtol=0)
    other = run(ddrm.take(3), [14])[-1]
    assert float((other - alone).abs().max()) > 0.1 or (name == "denoising" and sigma == 0)


def test_sigma_is_per_image() -> None:
    operator = OPERATORS["sr4"]
    y = simulate(clean(2), operator, 0.1, noise=NoiseSource([0, 1])).y
    both = run(DDRM(RandomNetwork(), Measurement(y, operator, torch.tensor([0.0, 0.3]))), [1, 2])[-1]
    for i, sigma in enumerate((0.0, 0.3)):
        alone = run(DDRM(RandomNetwork(), Measurement(y[i : i + 1], operator, sigma)), [i + 1])[-1]
        torch.testing.assert_close(both[i : i + 1], alone, atol=2e-5, rtol=0)


def test_sigma_and_mask_are_per_image_together() -> None:
    masks = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(8)) < 0.5
    sigma = torch.tensor([0.0, 0.2, 0.4])
    measurement = simulate(clean(3), Inpainting(SHAPE, masks), sigma, noise=NoiseSource([0, 1, 2]))
    ddrm = DDRM(RandomNetwork(), measurement)
    together = run(ddrm, [4, 5, 6])[-1]
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], run(ddrm.take(i), [4 + i])[-1], atol=2e-5, rtol=0)


def test_the_state_is_float32_whatever_the_measurements_dtype() -> None:
    measurement = simulate(clean(1).double(), OPERATORS["colorization"], 0.1, noise=NoiseSource([0]))
    assert {x0.dtype for x0 in run(DDRM(RandomNetwork(), measurement), [1])} == {torch.float32}


def test_a_network_that_tracks_gradients_leaves_none_in_the_estimates() -> None:
    class Tracking(RandomNetwork):
        kernel = torch.nn.Parameter(RandomNetwork.kernel.clone())

    measurement = simulate(clean(1), OPERATORS["sr4"], 0.1, noise=NoiseSource([0]))
    assert not any(x0.requires_grad for x0 in run(DDRM(Tracking(), measurement), [1]))


def test_one_item_an_evaluation_and_none_is_written_again() -> None:
    prior = RandomNetwork()
    ddrm = DDRM(prior, simulate(clean(1), OPERATORS["inpainting"], 0.1, noise=NoiseSource([0])))
    noise, items, copies = NoiseSource([1]), [], []
    for x0 in ddrm.sample(ddrm.initial(1000, noise), 1000, 6, noise):
        items.append(x0)
        copies.append(x0.clone())
        assert len(prior.calls) == len(items)
    assert prior.calls == list(NoiseSchedule.linear().steps(1000, 6))
    assert all(item.equal(copy) for item, copy in zip(items, copies, strict=True))


def test_closing_early_spends_no_further_evaluation() -> None:
    prior = RandomNetwork()
    ddrm = DDRM(prior, simulate(clean(1), OPERATORS["sr4"], 0.1, noise=NoiseSource([0])))
    noise = NoiseSource([1])
    process = ddrm.sample(ddrm.initial(1000, noise), 1000, 6, noise)
    next(process)
    process.close()
    assert prior.calls == [1000]


def test_a_preview_draws_the_range_towards_the_measurement_by_the_estimates_own_error() -> None:
    operator = OPERATORS["inpainting"]
    x0 = clean(1)
    known = operator.singular_values.expand(1, *SHAPE)
    exact = DDRM(RandomNetwork(), Measurement(known * 0.5, operator, 0.0)).preview(x0)
    torch.testing.assert_close(exact, torch.where(known > 0, 0.5, x0))
    nu = 0.4
    noisy = DDRM(RandomNetwork(), Measurement(known * 0.5, operator, nu)).preview(x0)
    residual = (0.5 - x0)[known > 0]
    r2 = max(float((residual**2 - nu**2).mean()), 0)
    weight = r2 / (r2 + nu**2)
    assert 0.1 < weight < 0.9
    torch.testing.assert_close(noisy, torch.where(known > 0, x0 + weight * (0.5 - x0), x0))
    # An estimate closer to the measurement than its noise explains is left alone.
    near = DDRM(RandomNetwork(), Measurement(known * x0 + known * 0.01, operator, nu)).preview(x0)
    torch.testing.assert_close(near, x0)


def test_a_preview_is_made_image_by_image() -> None:
    operator = OPERATORS["denoising"]
    sigma = torch.tensor([0.0, 0.3, 0.3])
    y = clean(3) + torch.tensor([0.5, 0.5, 0.0])[:, None, None, None]
    together = DDRM(RandomNetwork(), Measurement(y, operator, sigma)).preview(clean(3))
    for i in range(3):
        alone = DDRM(RandomNetwork(), Measurement(y[i : i + 1], operator, sigma[i : i + 1]))
        torch.testing.assert_close(together[i : i + 1], alone.preview(clean(3)[i : i + 1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"eta": 1.1}, "eta must be from 0 to 1: got 1.1"), ({"eta_b": -0.1}, "eta_b must be from 0 to 1")],
)
def test_wrong_etas_are_named(arguments, message: str) -> None:
    measurement = Measurement(clean(1), OPERATORS["denoising"], 0.1)
    with pytest.raises(ValueError, match=message):
        DDRM(RandomNetwork(), measurement, **arguments)


def test_a_measurement_of_another_image_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="measurement must be of images shaped as the prior's"):
        DDRM(RandomNetwork(), Measurement(torch.zeros(1, 3, 8, 8), Denoising((3, 8, 8)), 0.1))
