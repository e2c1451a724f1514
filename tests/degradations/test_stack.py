"""Operators and measurements of single images become those of a batch, and come back as they were."""

from __future__ import annotations

import pytest
import torch

from degradations import (
    Blur,
    Colorization,
    Denoising,
    FourierSampling,
    Inpainting,
    Measurement,
    Patterns,
    SuperResolution,
    SVDOperator,
    check_operator,
    simulate,
)
from degradations.stacked import Stacked
from solvers import NoiseSource

SHAPE = (3, 8, 6)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mask(seed: int, *shape: int) -> torch.Tensor:
    return uniform(*shape, seed=seed) < 0.5


def patterns(seed: int) -> Patterns:
    return Patterns(SHAPE, *torch.linalg.svd(uniform(20, 48, seed=seed) - 0.5, full_matrices=False))


class Own(SVDOperator):
    """A user's operator: what is kept, counted from a corner that is no tensor."""

    def __init__(self, kept: torch.Tensor, shift: int = 0) -> None:
        super().__init__(SHAPE, SHAPE, kept.float()[None])
        self.shift = shift

    def Vt(self, x: torch.Tensor) -> torch.Tensor:
        return x.roll(self.shift, -1)

    def V(self, z: torch.Tensor) -> torch.Tensor:
        return z.roll(-self.shift, -1)

    def U(self, z: torch.Tensor) -> torch.Tensor:
        return self.singular_values * z

    Ut = U


OPERATORS = {
    "denoising": [Denoising(SHAPE), Denoising(SHAPE), Denoising(SHAPE)],
    "a mask for all": [Inpainting(SHAPE, mask(1, 8, 6)) for _ in range(3)],
    "masks": [Inpainting(SHAPE, mask(i, *SHAPE)) for i in range(3)],
    "masks of two kinds": [
        Inpainting(SHAPE, mask(1, *SHAPE)),
        *(Inpainting(SHAPE, mask(i, 8, 6)) for i in (2, 3)),
    ],
    "one camera": [Colorization(SHAPE), Colorization(SHAPE), Colorization(SHAPE)],
    "cameras": [Colorization(SHAPE), Colorization(SHAPE, (0.2, 0.7, 0.1)), Colorization(SHAPE)],
    "cameras of equal norm": [Colorization(SHAPE, w) for w in ((0.6, 0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.6, 0.8))],
    "super-resolution": [SuperResolution(SHAPE, 2), SuperResolution(SHAPE, 2)],
    "blurs": [Blur(SHAPE, uniform(3, 3, seed=i)) for i in range(3)],
    "mri": [FourierSampling(SHAPE, mask(i, 8, 6)) for i in range(3)],
    "patterns": [patterns(0), patterns(1), patterns(0)],
    "one's own": [Own(mask(0, 8, 6)), Own(mask(1, 8, 6))],
    "one's own, by settings alone": [Own(mask(0, 8, 6)), Own(mask(0, 8, 6), 2)],
    "classes": [Denoising(SHAPE), Inpainting(SHAPE, mask(0, 8, 6)), Blur(SHAPE, uniform(3, 3))],
}
CASES = [pytest.param(operators, id=name) for name, operators in OPERATORS.items()]
MAPS = ("Vt", "V", "Ut", "U", "forward", "adjoint", "pinv", "whiten")


@pytest.mark.parametrize("operators", CASES)
def test_each_image_keeps_its_own_operator(operators: list[SVDOperator]) -> None:
    stacked = SVDOperator.stack(operators)
    check_operator(stacked)
    assert stacked.batch_size in (None, len(operators))
    for name in MAPS:
        shape = operators[0].measurement_shape if name in ("Ut", "adjoint", "pinv", "whiten") else SHAPE
        values = uniform(len(operators), *shape, seed=5)
        together = getattr(stacked, name)(values)
        for i, operator in enumerate(operators):
            alone = getattr(operator, name)(values[i : i + 1])
            # float32: products of one image and of several may be summed in another order; A⁺ divides that by s
            least = float(operator.singular_values[operator.singular_values > 0].min())
            tolerance = 1e-5 / (least if name in ("pinv", "whiten") else 1)
            torch.testing.assert_close(together[i : i + 1], alone, atol=tolerance, rtol=0)


@pytest.mark.parametrize("operators", CASES)
def test_what_is_taken_from_a_stack_is_what_was_stacked(operators: list[SVDOperator]) -> None:
    stacked = SVDOperator.stack(operators)
    x = uniform(1, *SHAPE, seed=6)
    for i, operator in enumerate(operators):
        taken = stacked.take(i)
        assert taken.fingerprint() == operator.fingerprint()
        assert taken(x).equal(operator(x))
    last, first = stacked.take([len(operators) - 1, 0]), SVDOperator.stack([operators[-1], operators[0]])
    assert last.take(0).fingerprint() == first.take(0).fingerprint() == operators[-1].fingerprint()
    again = SVDOperator.stack([stacked.take(slice(1, None)), operators[0]])
    if again.batch_size is not None:
        assert again.take(-1).fingerprint() == operators[0].fingerprint()


@pytest.mark.parametrize("name", ["denoising", "a mask for all", "one camera", "super-resolution"])
def test_equal_operators_stay_one(name: str) -> None:
    assert SVDOperator.stack(OPERATORS[name]) is OPERATORS[name][0]


@pytest.mark.parametrize("name", ["masks", "blurs", "mri"])
def test_operators_that_hold_one_an_image_stay_of_their_class(name: str) -> None:
    assert type(SVDOperator.stack(OPERATORS[name])) is type(OPERATORS[name][0])


def test_equal_operators_in_a_mixed_batch_are_held_once() -> None:
    stacked = SVDOperator.stack(OPERATORS["patterns"])
    assert isinstance(stacked, Stacked)
    assert len(stacked.operators) == 2


def test_moving_a_stack_leaves_what_was_stacked() -> None:
    operators = [Denoising(SHAPE), Inpainting(SHAPE, mask(0, 8, 6))]
    stacked = SVDOperator.stack(operators).double()
    assert stacked.take(1).singular_values.dtype == torch.float64
    assert operators[1].singular_values.dtype == torch.float32


def test_what_cannot_be_stacked_is_told() -> None:
    with pytest.raises(ValueError, match="at least one operator"):
        SVDOperator.stack([])
    with pytest.raises(ValueError, match=r"same image_shape .* \(3, 8, 6\) and \(3, 8, 8\)"):
        SVDOperator.stack([Denoising(SHAPE), Denoising((3, 8, 8))])
    with pytest.raises(ValueError, match=r"same measurement_shape .* \(3, 8, 6\) and \(3, 4, 3\)"):
        SVDOperator.stack([Denoising(SHAPE), SuperResolution(SHAPE, 2)])
    with pytest.raises(ValueError, match="one device"):
        SVDOperator.stack([Denoising(SHAPE), Denoising(SHAPE).to("meta")])
    with pytest.raises(ValueError, match="one image for each of 2 operators: got 3"):
        SVDOperator.stack(OPERATORS["one's own"])(uniform(3, *SHAPE))


def measured(operators: list[SVDOperator], sigmas: list[float]) -> list[Measurement]:
    return [
        simulate(uniform(1, *SHAPE, seed=i), operator, sigma, noise=NoiseSource([i]))
        for i, (operator, sigma) in enumerate(zip(operators, sigmas, strict=True))
    ]


@pytest.mark.parametrize("operators", CASES)
def test_an_image_of_a_batch_is_the_measurement_it_was_alone(operators: list[SVDOperator]) -> None:
    alone = measured(operators, [0.1, 0.2, 0.3][: len(operators)])
    batch = Measurement.stack(alone)
    assert len(batch) == len(operators)
    wanted = tuple(one.fingerprint() for one in alone)
    assert batch.fingerprints() == wanted
    assert tuple(batch.take(i).fingerprint() for i in range(len(batch))) == wanted
    assert batch.to("cpu").fingerprints() == wanted
    inside = batch.in_model_units()
    for i, one in enumerate(alone):
        # float32 rounding of sums in another order
        torch.testing.assert_close(inside.y[i : i + 1], one.in_model_units().y, atol=1e-5, rtol=0)
    expanded = batch.take(1).expand(4)
    assert len(set(expanded.fingerprints())) == 1
    assert expanded.fingerprints()[0] == wanted[1]


def test_sigmas_that_differ_stay_exact_and_equal_ones_stay_one_number() -> None:
    operators = [Denoising(SHAPE)] * 3
    assert Measurement.stack(measured(operators, [0.1, 0.1, 0.1])).sigma == 0.1
    assert torch.as_tensor(Measurement.stack(measured(operators, [0.1, 0.2, 0.3])).sigma).tolist() == [
        0.1,
        0.2,
        0.3,
    ]
    several = simulate(uniform(2, *SHAPE), operators[0], torch.tensor([0.25, 0.5]), noise=NoiseSource([0, 1]))
    batch = Measurement.stack([several, *measured(operators[:1], [0.1])])
    assert torch.as_tensor(batch.sigma).tolist() == [0.25, 0.5, 0.1]
    assert batch.operator is operators[0]


def test_measurements_that_cannot_be_stacked_are_told() -> None:
    one = measured([Denoising(SHAPE)], [0.1])[0]
    with pytest.raises(ValueError, match="at least one measurement"):
        Measurement.stack([])
    with pytest.raises(ValueError, match=r"one dtype .* torch.float32 and torch.float64"):
        Measurement.stack([one, Measurement(one.y.double(), one.operator, 0.1)])
    with pytest.raises(ValueError, match="image_shape"):
        Measurement.stack([one, Measurement(torch.zeros(1, 3, 8, 8), Denoising((3, 8, 8)), 0.1)])


def test_a_shared_operator_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = SVDOperator.fingerprint

    def counted(self: SVDOperator) -> str:
        calls.append(1)
        return original(self)

    monkeypatch.setattr(SVDOperator, "fingerprint", counted)
    Measurement(uniform(5, *SHAPE), Denoising(SHAPE), 0.1).fingerprints()
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Colorization(SHAPE, (0.6, 0.8, 0.0)), Colorization(SHAPE, (0.8, 0.6, 0.0))),
        (patterns(0), patterns(1)),
        (Blur(SHAPE, torch.eye(3)), Blur(SHAPE, torch.eye(3).roll(1, 0))),
        (FourierSampling(SHAPE, mask(0, 8, 6)), FourierSampling(SHAPE, mask(1, 8, 6))),
    ],
    ids=["cameras", "patterns", "blurs", "mri"],
)
def test_two_instruments_have_two_fingerprints(one: SVDOperator, other: SVDOperator) -> None:
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("operator", "names"),
    [(Colorization(SHAPE), ["reflection"]), (patterns(0), ["v", "u"])],
    ids=["grey", "patterns"],
)
def test_bases_are_saved_and_stay_exact_in_every_dtype(operator: SVDOperator, names: list[str]) -> None:
    before = {name: operator.state_dict()[name].clone() for name in names}
    for dtype in (torch.float16, torch.float64, torch.float32):
        operator.to(dtype)
        assert operator.singular_values.dtype == dtype
        for name in names:
            assert operator.state_dict()[name].dtype == torch.float64
            assert operator.state_dict()[name].equal(before[name])
    check_operator(operator)
    assert operator.to("meta").state_dict()[names[0]].is_meta
