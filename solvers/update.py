"""DDIM's step from one noise level to another."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def ddim_update(
    x: Tensor, x0: Tensor, alpha_bar: float, alpha_bar_next: float, eta: float = 0.0, xi: Tensor | None = None
) -> Tensor:
    """x at the next level: √ᾱ' x̂₀ + √(1−ᾱ'−s²) ε̂ + s ξ, with ε̂ = (x − √ᾱ x̂₀)/√(1−ᾱ).

    s = η √((1−ᾱ')/(1−ᾱ)) √(1−ᾱ/ᾱ'). With ᾱ' = 1 it is x̂₀ itself. ``xi``: standard normal, needed for η > 0.
    Source: Song et al., DDIM, 2021, equations 12 and 16.
    """
    if alpha_bar_next == 1:
        return x0
    spread = eta * math.sqrt((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next))
    toward_x = math.sqrt((1 - alpha_bar_next - spread**2) / (1 - alpha_bar))
    moved = (math.sqrt(alpha_bar_next) - toward_x * math.sqrt(alpha_bar)) * x0 + toward_x * x
    return moved if xi is None else moved + spread * xi
