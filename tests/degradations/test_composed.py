"""Several degradations at once are the products of their matrices."""

from __future__ import annotations

import pytest
import torch

from degradations import (
    JPEG,
    Blur,
    Colorization,
    Denoising,
    Downsampling,
    Grey,
    Inpainting,
    Masked,
    Mosaic,
    SuperResolution,
    SVDOperator,
    check_operator,
)

SHAPE, PLANE = (3, 8, 12), (1, 8, 12)


def mask(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.6


def kernel() -> torch.Tensor:
    return torch.rand(3, 3, generator=torch.Generator().manual_seed(1))


MADE = {
    "grey and shrunk": Grey(SHAPE, SuperResolution(PLANE, 2)),
    "grey and shrunk by bicubic": Grey(SHAPE, Downsampling(PLANE, 2)),
    "grey and blurred": Grey(SHAPE, Blur(PLANE, kernel()), (0.3, 0.6, 0.1)),
    "grey and compressed": Grey((3, 8, 16), JPEG((1, 8, 16), [torch.full((8, 8), 20.0)])),
    "grey and scratched": Grey(SHAPE, Masked(Denoising(PLANE), mask(8, 12))),
    "grey, shrunk and scratched": Grey(SHAPE, Masked(SuperResolution(PLANE, 2), mask(4, 6))),
    "two channels": Grey((2, 8, 12), Inpainting(PLANE, mask(8, 12))),
    "scratched": Masked(Denoising(SHAPE), mask(*SHAPE)),
    "colour lost, then pixels": Masked(Colorization(SHAPE), mask(8, 12)),
    "shrunk, then pixels lost": Masked(SuperResolution(SHAPE, 4), mask(2, 3)),
    "mosaic, then pixels lost": Masked(Mosaic(SHAPE), mask(8, 12)),
    "a mask an image": Masked(Mosaic(SHAPE), mask(4, 1, 8, 12)),
    "a mask an image of grey": Grey(SHAPE, Masked(SuperResolution(PLANE, 2), mask(3, 1, 4, 6))),
    "lost twice, a mask an image": Masked(Inpainting(SHAPE, mask(3, *SHAPE, seed=2)), mask(8, 12)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MADE)
def test_every_composition_keeps_the_promises(name: str, dtype: torch.dtype) -> None:
    import copy

    check_operator(copy.deepcopy(MADE[name]).to(dtype))


def matrix(operator: SVDOperator) -> torch.Tensor:
    basis = torch.eye(operator.image_shape[0] * operator.image_shape[1] * operator.image_shape[2])
    return operator(basis.reshape(-1, *operator.image_shape)).flatten(1).T


@pytest.mark.parametrize(
    ("whole", "first", "then"),
    [
        ("grey and shrunk", Colorization(SHAPE), SuperResolution(PLANE, 2)),
        ("grey and shrunk by bicubic", Colorization(SHAPE), Downsampling(PLANE, 2)),
        ("grey and blurred", Colorization(SHAPE, (0.3, 0.6, 0.1)), Blur(PLANE, kernel())),
        ("grey and scratched", Colorization(SHAPE), Inpainting(PLANE, mask(8, 12))),
        ("colour lost, then pixels", Colorization(SHAPE), Inpainting(PLANE, mask(8, 12))),
        ("shrunk, then pixels lost", SuperResolution(SHAPE, 4), Inpainting((3, 2, 3), mask(2, 3))),
        ("mosaic, then pixels lost", Mosaic(SHAPE), Inpainting(PLANE, mask(8, 12))),
    ],
)
def test_a_composition_is_the_product_of_matrices(whole: str, first: SVDOperator, then: SVDOperator) -> None:
    wanted = matrix(then) @ matrix(first)
    # float32 sums and transforms of values up to 1
    torch.testing.assert_close(matrix(MADE[whole]), wanted, atol=1e-6, rtol=0)
    ours = MADE[whole].singular_values.expand(SHAPE).flatten().sort(descending=True).values
    torch.testing.assert_close(ours[: len(wanted)], torch.linalg.svdvals(wanted), atol=1e-6, rtol=0)


def test_each_image_of_a_batch_keeps_its_own_mask() -> None:
    makers = {
        "scratched grey": lambda seed: Grey(SHAPE, Masked(Denoising(PLANE), mask(8, 12, seed=seed))),
        "scratched mosaic": lambda seed: Masked(Mosaic(SHAPE), mask(8, 12, seed=seed)),
        "blurred grey": lambda seed: Grey(SHAPE, Blur(PLANE, kernel() + seed)),
    }
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(3))
    for name, make in makers.items():
        operators = [make(seed) for seed in range(3)]
        stacked = SVDOperator.stack(operators)
        assert type(stacked) is type(operators[0]), name
        check_operator(stacked)
        assert stacked.batch_size == 3
        for i, operator in enumerate(operators):
            torch.testing.assert_close(stacked(x)[i : i + 1], operator(x[i : i + 1]), atol=1e-6, rtol=0)
            assert stacked.take(i).fingerprint() == operator.fingerprint()
        assert SVDOperator.stack([make(0), make(0)]).batch_size is None


def test_other_inner_operators_have_other_fingerprints() -> None:
    one, two = Masked(Denoising(PLANE), mask(8, 12)), Masked(Inpainting(PLANE, torch.ones(8, 12)), mask(8, 12))
    assert one.fingerprint() != two.fingerprint()
    assert Grey(SHAPE, one).fingerprint() != Grey(SHAPE, two).fingerprint()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Masked(Blur(PLANE, kernel()), mask(8, 12)), "the U of Blur mixes values"),
        (lambda: Masked(Downsampling(PLANE, 2), mask(4, 6)), "the U of Downsampling mixes values"),
        (lambda: Masked(SuperResolution(SHAPE, 2), mask(8, 12)), r"mask must be .*\(3, 4, 6\): got \(8, 12\)"),
        (lambda: Masked(Denoising(SHAPE), torch.full((8, 12), 0.5)), "only True/1"),
        (lambda: Grey(SHAPE, Denoising(SHAPE)), r"inner must be of images \(1, 8, 12\)"),
        (lambda: Grey(PLANE, Denoising(PLANE)), "at least 2 channels"),
    ],
)
def test_what_cannot_be_composed_is_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
