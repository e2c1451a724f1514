"""Does a degradation keep the promises the solvers rely on?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from degradations.operator import SVDOperator


class OperatorCheckError(AssertionError, ValueError):
    """An operator breaks one of its promises; the message says which and gives both numbers."""


def check_operator(operator: SVDOperator) -> None:
    """Check on random inputs that A = U diag(s) Vᵀ holds together; use it in the tests of your own operator.

    Linearity of A, ⟨A x, y⟩ = ⟨x, Aᵀ y⟩, VᵀV = VVᵀ = I, U and Ut adjoint partial isometries, A = U diag(s) Vᵀ,
    Ut = 0 where s = 0, A A⁺ A = A, A⁺ A a projection, no input written to.

    A⁺ divides the rounding errors of A x, about ε s_max |x|, by s: a coefficient of A⁺ A x is right to ε s_max/s
    at best, and of one with s below ε s_max nothing can be shown. So errors of A⁺ A are weighed by s/s_max: well
    conditioned operators are held to the full tolerance, and no honest blur is refused for its faintest
    frequencies. V and U, which the solvers use, are checked to the full tolerance whatever s is.

    Args:
        operator: on any device, in any floating dtype; the tolerance follows the dtype.

    Raises:
        OperatorCheckError: naming the broken promise, with the two numbers that should agree.
    """
    s = operator.singular_values
    batch = operator.batch_size or 2
    generator = torch.Generator().manual_seed(0)

    def normal(shape: tuple[int, int, int]) -> Tensor:
        return torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(s)

    x, x2, z = (normal(operator.image_shape) for _ in range(3))
    y = normal(operator.measurement_shape)
    inputs = [tensor.clone() for tensor in (x, z, y)]
    # Rounding grows with the number of terms summed; 100 eps of the norm is far from any honest defect.
    tolerance = 100 * torch.finfo(s.dtype).eps

    def agree(promise: str, left: Tensor, right: Tensor, reached: float = 1.0) -> None:
        """``reached`` is the norm of the largest intermediate result, whose rounding both sides share."""
        if left.shape != right.shape:
            raise OperatorCheckError(f"{promise}: shapes differ, {tuple(left.shape)} and {tuple(right.shape)}")
        error, scale = float((left - right).norm()), max(float(left.norm()), float(right.norm()))
        if not error <= tolerance * max(scale, reached):
            worst = int((left - right).abs().argmax())
            a, b = float(left.flatten()[worst]), float(right.flatten()[worst])
            raise OperatorCheckError(f"{promise}: {a:.9g} is not {b:.9g} (relative error {error / scale:.2g})")

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum()

    if not bool((s >= 0).all() and s.isfinite().all()):
        raise OperatorCheckError(f"singular values must be finite and ≥ 0: least is {float(s.min()):.9g}")
    _broadcasts(operator)
    known = (s > 0).to(s).expand(x.shape)
    forward = operator(x)
    if forward.shape != y.shape:
        raise OperatorCheckError(f"A x must be shaped {tuple(y.shape)}: got {tuple(forward.shape)}")
    agree("A(2x - 3x') = 2Ax - 3Ax'", operator(2 * x - 3 * x2), 2 * forward - 3 * operator(x2))
    agree("⟨Ax, y⟩ = ⟨x, Aᵀy⟩", dot(forward, y), dot(x, operator.adjoint(y)))
    agree("⟨Vᵀx, z⟩ = ⟨x, Vz⟩", dot(operator.Vt(x), z), dot(x, operator.V(z)))
    agree("VᵀV = I", operator.Vt(operator.V(z)), z)
    agree("VVᵀ = I", operator.V(operator.Vt(x)), x)
    agree("|Vᵀx| = |x|", operator.Vt(x).norm(), x.norm())
    agree("⟨Uᵀy, z⟩ = ⟨y, Uz⟩", dot(operator.Ut(y), z), dot(y, operator.U(z)))
    agree("UᵀU = I on the range", operator.Ut(operator.U(z)), known * z)
    agree("Uᵀ is 0 where s is 0", operator.Ut(y), known * operator.Ut(y))
    agree("A = U diag(s) Vᵀ", forward, operator.U(s * operator.Vt(x)))
    largest, best = float(s.max()), operator.pinv(forward)
    size = float(best.norm())
    agree("A A⁺ A = A", operator(best), forward, max(1.0, largest * size))
    weight = torch.where(s > 0, s / (largest or 1), 1)
    agree("A⁺ A = V diag(s > 0) Vᵀ", weight * operator.Vt(best), weight * known * operator.Vt(x), max(1.0, size))
    for before, after in zip(inputs, (x, z, y), strict=True):
        agree("inputs are not written to", after, before)


def _broadcasts(operator: SVDOperator) -> None:
    shape, image = tuple(operator.singular_values.shape), operator.image_shape
    try:
        fits = tuple(np.broadcast_shapes(shape, (operator.batch_size or 1, *image)))[1:] == image
    except ValueError:
        fits = False
    if not fits:
        raise OperatorCheckError(f"singular_values must broadcast against {image}: got {shape}")
