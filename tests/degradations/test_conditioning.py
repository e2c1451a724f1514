"""Blurs, Fourier sampling and dense patterns keep their promises, however faint their smallest singular value."""

from __future__ import annotations

import pytest
import torch

from degradations import Blur, FourierSampling, OperatorCheckError, Patterns, SVDOperator, check_operator

SHAPE = (3, 16, 12)


def gaussian(sigma: float, dtype: torch.dtype, side: int = 13) -> torch.Tensor:
    offset = torch.arange(side, dtype=torch.float64) - side // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel = weights[:, None] * weights
    return (kernel / kernel.sum()).to(dtype)


class Off(Blur):
    """A blur whose V is 1 % too large."""

    def V(self, z: torch.Tensor) -> torch.Tensor:
        return 1.01 * super().V(z)


class LooseInverse(Blur):
    """A blur whose pseudo-inverse is 1 % off."""

    def pinv(self, y: torch.Tensor) -> torch.Tensor:
        return 1.01 * super().pinv(y)


class Leaking(FourierSampling):
    """Fourier sampling whose pseudo-inverse writes into the null space."""

    def pinv(self, y: torch.Tensor) -> torch.Tensor:
        best = super().pinv(y)
        return best + 0.01 * self.V((self.singular_values == 0) * torch.ones_like(best))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [0.5, 1, 2, 3])
def test_a_gaussian_blur_passes_and_its_broken_twins_do_not(sigma: float, dtype: torch.dtype) -> None:
    kernel = gaussian(sigma, dtype)
    shape = (1, 32, 32)
    check_operator(Blur(shape, kernel))
    check_operator(Blur((3, 13, 13), kernel))
    with pytest.raises(OperatorCheckError, match=r"relative error 0\.0"):
        check_operator(Off(shape, kernel))
    with pytest.raises(OperatorCheckError, match=r"A⁺"):
        check_operator(LooseInverse(shape, kernel))


class Diagonal(SVDOperator):
    """A user's operator whose singular values fall by many orders of magnitude; V mixes all pixels."""

    def __init__(self, least: float) -> None:
        values = torch.logspace(0, torch.tensor(least).log10().item(), 64, dtype=torch.float64).reshape(1, 8, 8)
        super().__init__((1, 8, 8), (1, 8, 8), values)
        generator = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64, generator=generator)).Q
        self.register_exact("basis", basis)

    def Vt(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.basis.to(x)).view_as(x)

    def V(self, z: torch.Tensor) -> torch.Tensor:
        return (z.flatten(1) @ self.basis.to(z).mT).view_as(z)

    Ut = Vt
    U = V


@pytest.mark.parametrize("least", [1e-3, 1e-6, 1e-12])
def test_any_spread_of_singular_values_passes_in_both_dtypes(least: float) -> None:
    check_operator(Diagonal(least))
    check_operator(Diagonal(least).float())


def test_a_pseudo_inverse_that_invents_what_was_not_measured_is_found() -> None:
    kept = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    check_operator(FourierSampling((1, 8, 8), kept))
    with pytest.raises(OperatorCheckError, match=r"A⁺ A"):
        check_operator(Leaking((1, 8, 8), kept))


def test_blur_convolves_about_the_kernels_centre() -> None:
    point = torch.zeros(1, 3, 16, 12)
    point[..., 5, 7] = 1
    kernel = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    wanted = torch.zeros(16, 12)
    wanted[4:7, 5:10] = kernel
    # float32 transforms of values up to 1
    torch.testing.assert_close(Blur(SHAPE, kernel)(point), wanted.expand(1, *SHAPE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(3, 16, 12), (1, 7, 5), (2, 8, 8)])
def test_fourier_sampling_and_kernels_of_all_shapes_pass(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    for lead in ((), (1,), (4, 1)):
        check_operator(FourierSampling(shape, torch.rand(*lead, *shape[1:], generator=generator) < 0.4))
        check_operator(Blur(shape, torch.rand(*lead, 3, 4, generator=generator)))
    check_operator(Blur(shape, torch.rand(*shape, generator=generator)))
    check_operator(Blur(shape, torch.rand(4, *shape, generator=generator)))


def test_fourier_sampling_keeps_values_of_the_centred_spectrum() -> None:
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    kept = torch.rand(16, 12, generator=torch.Generator().manual_seed(1)) < 0.4
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, (-2, -1)), norm="ortho"), (-2, -1)) * kept
    wanted = torch.cat([spectrum.real, spectrum.imag], dim=1)
    # float32 transforms of values near 1
    torch.testing.assert_close(FourierSampling(SHAPE, kept)(x), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [10, 192, 250])
def test_patterns_are_the_matrix_they_were_decomposed_from(count: int) -> None:
    matrix = torch.randn(count, 192, generator=torch.Generator().manual_seed(0))
    operator = Patterns(SHAPE, *torch.linalg.svd(matrix, full_matrices=False))
    check_operator(operator)
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    # float32 sums of 192 products
    torch.testing.assert_close(operator(x)[..., 0], x.flatten(2) @ matrix.mT, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Blur(SHAPE, torch.ones(3, 3).int()), TypeError, "kernel must be a floating-point tensor"),
        (lambda: Blur(SHAPE, torch.ones(3, 13)), ValueError, r"at most as large as the image, .* got \(3, 13\)"),
        (lambda: Blur(SHAPE, torch.ones(2, 3, 3)), ValueError, "kernel must be"),
        (lambda: Blur(SHAPE, torch.zeros(3, 3)), ValueError, "not 0 everywhere"),
        (lambda: FourierSampling(SHAPE, torch.ones(3, 3)), ValueError, r"mask must be .* got \(3, 3\)"),
        (lambda: FourierSampling(SHAPE, torch.full((16, 12), 0.5)), ValueError, "only True/1"),
    ],
)
def test_wrong_arguments_are_named(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
