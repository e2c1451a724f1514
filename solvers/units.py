"""The network's [-1, 1] and the user's [0, 1]."""

from __future__ import annotations

from torch import Tensor


def to_model(image: Tensor) -> Tensor:
    """From [0, 1] to [-1, 1]: 2x − 1."""
    return 2 * image - 1


def from_model(x: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]: (x + 1)/2; what leaves the range stays outside."""
    return (x + 1) / 2
