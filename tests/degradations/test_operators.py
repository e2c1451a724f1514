"""Every operator keeps its promises, and is the explicit matrix it claims to be."""

from __future__ import annotations

import pytest
import torch

from degradations import (
    Achromatic,
    Colorization,
    Denoising,
    Inpainting,
    OperatorCheckError,
    SuperResolution,
    SVDOperator,
    check_operator,
)

SHAPES = [(3, 16, 16), (3, 24, 8), (1, 8, 16), (2, 4, 4)]


def mask(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) < 0.5


def operators(shape: tuple[int, int, int]) -> dict[str, SVDOperator]:
    made: dict[str, SVDOperator] = {
        "denoising": Denoising(shape),
        "mask per pixel": Inpainting(shape, mask(*shape[1:])),
        "mask per channel value": Inpainting(shape, mask(*shape)),
        "one mask an image": Inpainting(shape, mask(5, *shape)),
        "one mask an image, per pixel": Inpainting(shape, mask(5, 1, *shape[1:])),
        "number mask": Inpainting(shape, mask(*shape[1:]).int()),
    }
    made |= {
        f"sr{f}": SuperResolution(shape, f) for f in (1, 2, 3, 4, 8, 16) if shape[1] % f == 0 and shape[2] % f == 0
    }
    if shape[0] > 1:
        unequal = [0.299, 0.587, 0.114][: shape[0]]
        one_channel, signed = [0.0] * (shape[0] - 1) + [2.0], [(-1.0) ** c * (c + 1) for c in range(shape[0])]
        made |= {"grey": Colorization(shape)}
        made |= {f"grey {w}": Colorization(shape, w) for w in (unequal, one_channel, signed)}
    if shape[0] == 3:
        plane = (1, *shape[1:])
        made |= {
            "grey picture": Achromatic(Denoising(plane)),
            "grey picture, mask": Achromatic(Inpainting(plane, mask(*shape[1:]))),
            "grey pictures, one mask an image": Achromatic(Inpainting(plane, mask(5, 1, *shape[1:]))),
            "grey picture, sr2": Achromatic(SuperResolution(plane, 2)),
        }
    return made


CASES = [
    pytest.param(operator, id=f"{name} {'x'.join(map(str, shape))}")
    for shape in SHAPES
    for name, operator in operators(shape).items()
]


@pytest.mark.parametrize("operator", CASES)
def test_check_operator_passes(operator: SVDOperator) -> None:
    check_operator(operator)


def matrix(operator: SVDOperator) -> torch.Tensor:
    basis = torch.eye(int(torch.tensor(operator.image_shape).prod()))
    columns = [operator(column.reshape(1, *operator.image_shape)).flatten() for column in basis]
    return torch.stack(columns, dim=1)


def expected_matrix(name: str, shape: tuple[int, int, int]) -> torch.Tensor:
    """A written down pixel by pixel, from what the degradation means."""
    channels, height, width = shape
    index = torch.arange(channels * height * width).reshape(shape)
    if name == "denoising":
        return torch.eye(index.numel())
    if name == "mask per pixel":
        return torch.diag(mask(height, width).expand(shape).flatten().float())
    if name == "mask per channel value":
        return torch.diag(mask(*shape).flatten().float())
    rows = []
    if name == "grey [0.299, 0.587, 0.114]":
        for pixel in index.flatten(1).T:
            row = torch.zeros(index.numel())
            row[pixel] = torch.tensor([0.299, 0.587, 0.114])
            rows.append(row)
    else:
        factor = int(name[2:])
        for block in index.unfold(1, factor, factor).unfold(2, factor, factor).reshape(-1, factor**2):
            row = torch.zeros(index.numel())
            row[block] = 1 / factor**2
            rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize(
    "name", ["denoising", "mask per pixel", "mask per channel value", "grey [0.299, 0.587, 0.114]", "sr2", "sr3"]
)
def test_bases_and_singular_values_reproduce_the_explicit_matrix(name: str) -> None:
    shape = (3, 6, 6)
    operator = operators(shape)[name]
    a = matrix(operator)
    wanted = expected_matrix(name, shape)
    # float32 sums of at most nine terms
    torch.testing.assert_close(a, wanted, atol=1e-6, rtol=0)
    ours = operator.singular_values.expand(shape).flatten().sort(descending=True).values
    theirs = torch.linalg.svdvals(wanted.double())
    torch.testing.assert_close(ours[: len(theirs)].double(), theirs, atol=1e-6, rtol=0)
    assert not ours[len(theirs) :].any()
    y = torch.randn(2, *operator.measurement_shape, generator=torch.Generator().manual_seed(0))
    pinv = y.flatten(1) @ torch.linalg.pinv(wanted).T
    torch.testing.assert_close(operator.pinv(y).flatten(1), pinv, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["denoising", "mask per pixel", "grey", "sr2"])
def test_operators_work_in_the_dtype_of_the_image(name: str, dtype: torch.dtype) -> None:
    operator = operators((3, 6, 6))[name]
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert operator.V(operator.Vt(x.to(dtype))).dtype == dtype
    back = operator.V(operator.Vt(x.to(dtype))).float()
    torch.testing.assert_close(back, x, atol=1e-6 if dtype == torch.float64 else 0.05, rtol=0)
    if dtype == torch.float64:
        check_operator(operator.double())


def test_equal_weights_measure_the_mean_of_the_channels() -> None:
    x = torch.rand(2, 3, 5, 4)
    torch.testing.assert_close(Colorization((3, 5, 4))(x), x.mean(dim=1, keepdim=True))


class Broken(SuperResolution):
    """Super-resolution with one promise broken."""

    def __init__(self, how: str) -> None:
        super().__init__((1, 4, 4), 2)
        self.how = how

    def Vt(self, x: torch.Tensor) -> torch.Tensor:
        z = super().Vt(x)
        if self.how == "not orthonormal":
            return 1.01 * z
        if self.how == "not linear":
            return z + 0.01
        if self.how == "writes to its input":
            x += 0.1
        return z

    def Ut(self, y: torch.Tensor) -> torch.Tensor:
        z = super().Ut(y)
        if self.how == "null space":
            z[..., 1, 1] = 1
        return 1.01 * z if self.how == "not adjoint" else z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1.01 if self.how == "not its own SVD" else 1)


@pytest.mark.parametrize(
    "how",
    ["not orthonormal", "not linear", "null space", "not adjoint", "not its own SVD", "writes to its input"],
)
def test_a_broken_operator_is_told_with_both_numbers(how: str) -> None:
    with pytest.raises(OperatorCheckError, match=r"-?\d.* is not -?\d"):
        check_operator(Broken(how))


def test_singular_values_of_another_shape_are_told() -> None:
    operator = Denoising((3, 4, 4))
    operator.singular_values = torch.ones(3, 5, 4)
    with pytest.raises(OperatorCheckError, match="broadcast"):
        check_operator(operator)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SuperResolution((3, 200, 200), 16), "factor must divide .* got 16 for 200×200"),
        (lambda: SuperResolution((3, 8, 8), 0), "factor must be a positive whole number: got 0"),
        (lambda: SuperResolution((3, 8, 8), 1.5), "factor must be a positive whole number: got 1.5"),
        (lambda: Colorization((1, 8, 8)), "at least 2 channels"),
        (lambda: Colorization((3, 8, 8), [0, 0, 0]), "not all 0"),
        (lambda: Colorization((3, 8, 8), [1, 1]), "weights must be 3"),
        (lambda: Colorization((3, 8, 8), [1, float("nan"), 1]), "finite"),
        (lambda: Inpainting((3, 8, 8), torch.ones(4, 8)), r"mask must be .* got \(4, 8\)"),
        (lambda: Inpainting((3, 8, 8), torch.full((8, 8), 0.5)), "only True/1"),
        (lambda: Denoising((8, 8)), "image_shape must be"),
        (lambda: Denoising((0, 8, 8)), "image_shape must be"),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
