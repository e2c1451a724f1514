"""What lies beyond the frame of a measured picture: filled in, so that the whole is one measurement."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from degradations import SVDOperator

ROUNDING = 1 / 255 / 12**0.5
"""σ of rounding to 8 bits, [0, 1] units: what a file's picture has at least."""
CONTRAST = 0.05
"""Expected difference of neighbouring pixels, [0, 1] units: how smooth the scene is taken to be."""
ROUNDS = 60
"""Of conjugate gradients for a blur; three times as many change a restored rim by 0.1 to 0.7 dB."""


def continued(y: Tensor, known: Tensor, operator: SVDOperator, sigma: float, rounds: int = ROUNDS) -> Tensor:
    """A measurement (C', H', W') of the whole operator: ``y`` where it is known, and elsewhere what fits to it.

    An operator of the Fourier kind takes its image to be periodic, and a photograph's scene goes on beyond its
    frame. So the frame is widened, and what is measured around it is set to A x̂ of the smooth scene x̂ that
    explains the rest, of least ‖known (A x − y)‖² + (σ/c)² ‖∇x‖² with c = ``CONTRAST``: conjugate gradients.

    Args:
        y: (C', H', W'); where it is not known, a first guess.
        known: (H', W'), True inside of the frame.
        operator: of the widened image.
        sigma: of the measurement's noise, above 0.
        rounds: of conjugate gradients.
    """
    a = copy.deepcopy(operator).to("cpu", torch.float32)
    inside, measured = known.float(), y[None].float()
    weight = (sigma / CONTRAST) ** 2
    scale = 1 / (a.singular_values**2 + 4 * weight)

    def normal(x: Tensor) -> Tensor:
        return a.adjoint(inside * a(x)) + weight * _laplacian(x)

    x = a.V(a.singular_values * scale * a.Ut(measured))
    r = a.adjoint(inside * measured) - normal(x)
    p, rho = torch.zeros_like(x), x.new_ones(())
    for _ in range(rounds):
        z = a.V(scale * a.Vt(r))
        rho, before = (r * z).sum(), rho
        if not float(rho) > 0:  # an exact solution
            break
        p = z + rho / before * p
        q = normal(p)
        step = rho / (p * q).sum()
        x, r = x + step * p, r - step * q
    return torch.where(known, y, a(x)[0].to(y))


def _laplacian(x: Tensor) -> Tensor:
    """−∇·∇ of a periodic image."""
    down, across = (x.roll(1, axis) + x.roll(-1, axis) for axis in (-2, -1))
    return 4 * x - down - across
