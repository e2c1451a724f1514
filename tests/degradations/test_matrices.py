"""Compressed sensing, dense and separable operators are the matrices they claim to be."""

from __future__ import annotations

import pytest
import torch

from degradations import CompressedSensing, Dense, Separable, SVDOperator, check_operator
from degradations.dense import KEPT, _known
from degradations.hadamard import walsh_hadamard
from degradations.separable import convolution

SHAPE = (2, 6, 4)


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3


OPERATORS = {
    "a quarter": CompressedSensing((3, 8, 16), 0.25),
    "no power of two": CompressedSensing((3, 7, 11), 0.5, seed=3),
    "everything": CompressedSensing((1, 4, 6), 1),
    "one pattern": CompressedSensing((1, 4, 4), 1 / 16),
    "few rows": Dense(SHAPE, uniform(10, 48).float()),
    "many rows": Dense(SHAPE, uniform(70, 48)),
    "rank 3": Dense(SHAPE, uniform(10, 3) @ uniform(3, 48, seed=1)),
    "shrinking": Separable((3, 8, 12), uniform(4, 8).float(), uniform(5, 12).float()),
    "growing": Separable((1, 5, 4), uniform(9, 5), uniform(7, 4)),
    "blur with a threshold": Separable(
        (3, 16, 12), convolution(torch.full((9,), 1 / 9), 16), convolution(torch.full((9,), 1 / 9), 12), 0.03
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPERATORS)
def test_they_keep_the_promises(name: str, dtype: torch.dtype) -> None:
    import copy

    check_operator(copy.deepcopy(OPERATORS[name]).to(dtype))


def test_walsh_hadamard_is_its_matrix() -> None:
    h = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(4):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    x = uniform(3, 16)
    torch.testing.assert_close(walsh_hadamard(x), x @ h / 4)


def test_patterns_are_plus_and_minus_one_and_fall_on_all_pixels() -> None:
    operator = CompressedSensing((1, 8, 8), 0.25)
    patterns = operator(torch.eye(64).reshape(64, 1, 8, 8))[..., 0].flatten(1).T
    torch.testing.assert_close(patterns.abs(), torch.full((16, 64), 1 / 8))
    # signs are drawn: no pattern is even bright, as the unshuffled transform's first one is
    assert float(patterns.mean(1).abs().max()) * 8 < 0.6
    other = CompressedSensing((1, 8, 8), 0.25, seed=1)
    assert other.fingerprint() != operator.fingerprint() == CompressedSensing((1, 8, 8), 0.25).fingerprint()


@pytest.mark.parametrize("rank", [10, 48, 70, 3])
def test_a_dense_operator_is_its_matrix(rank: int) -> None:
    matrix = uniform(10, 3) @ uniform(3, 48, seed=1) if rank == 3 else uniform(rank, 48)
    operator, x = Dense(SHAPE, matrix), uniform(2, *SHAPE, seed=2)
    torch.testing.assert_close(operator(x)[..., 0, 0], x.flatten(1) @ matrix.T)
    assert int((operator.singular_values > 0).sum()) == min(rank, 48)
    wanted = x.flatten(1) @ matrix.T @ matrix.pinverse().T
    torch.testing.assert_close(operator.pinv(operator(x)).flatten(1), wanted)


def test_an_equal_matrix_is_decomposed_once_and_few_are_remembered() -> None:
    one, two = Dense(SHAPE, uniform(10, 48, seed=5)), Dense(SHAPE, uniform(10, 48, seed=5))
    assert one.v.data_ptr() == two.v.data_ptr()
    assert SVDOperator.stack([one, two]) is one
    for seed in range(6, 6 + KEPT + 2):
        Dense(SHAPE, uniform(10, 48, seed=seed))
    assert len(_known) == KEPT


def test_a_separable_operator_is_two_products() -> None:
    rows, columns, x = uniform(4, 8), uniform(5, 12, seed=1), uniform(2, 3, 8, 12, seed=2)
    torch.testing.assert_close(Separable((3, 8, 12), rows, columns)(x), rows @ x @ columns.T)


def test_convolution_is_about_the_middle_with_zeros_beyond() -> None:
    wanted = [[2.0, 1, 0, 0], [3, 2, 1, 0], [0, 3, 2, 1], [0, 0, 3, 2]]
    assert convolution(torch.tensor([1.0, 2, 3]), 4).tolist() == wanted


def test_below_its_threshold_nothing_is_measured() -> None:
    blur = convolution(torch.full((9,), 1 / 9, dtype=torch.float64), 16)
    s = torch.linalg.svdvals(blur)
    operator = Separable((1, 16, 16), blur, blur, 0.03)
    assert int((operator.singular_values > 0).sum()) == int((s > 0.03).sum()) ** 2 < 16**2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CompressedSensing((1, 8, 8), 0), ValueError, "ratio must be above 0"),
        (lambda: CompressedSensing((1, 8, 8), 1.5), ValueError, "at most 1: got 1.5"),
        (lambda: CompressedSensing((1, 8, 8), 0.001), ValueError, "leave one measurement"),
        (lambda: CompressedSensing((1, 8, 8), float("nan")), ValueError, "ratio must be"),
        (lambda: CompressedSensing((1, 8, 8), 0.5, -1), ValueError, "seed must be a whole number"),
        (lambda: Dense(SHAPE, uniform(10, 47)), ValueError, r"matrix must be \(m, 48\)"),
        (lambda: Dense(SHAPE, torch.zeros(10, 48)), ValueError, "not 0 everywhere"),
        (lambda: Dense(SHAPE, torch.full((1, 48), torch.nan)), ValueError, "finite"),
        (lambda: Dense(SHAPE, torch.ones(10, 48).int()), TypeError, "floating-point"),
        (lambda: Separable(SHAPE, uniform(3, 5), uniform(4, 4)), ValueError, r"rows must be \(n, 6\)"),
        (lambda: Separable(SHAPE, uniform(3, 6), uniform(4, 4) / 0), ValueError, "columns must be .* finite"),
        (lambda: Separable(SHAPE, uniform(3, 6), torch.ones(4, 4).int()), TypeError, "columns must be a floating"),
        (lambda: Separable(SHAPE, uniform(3, 6), uniform(4, 4), 99), ValueError, "threshold must leave"),
    ],
)
def test_wrong_arguments_are_named(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
