"""Arguments that callers get wrong: one line that names the argument, what it was and what it must be."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor


def whole(name: str, value: Any, least: int | None = None) -> int:
    """The value as a whole number of at least ``least``; 4 and numpy's 4 are, 4.0, "4" and True are not.

    Raises:
        TypeError, ValueError: it is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number: got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}: got {value}")
    return int(value)


def number(name: str, value: Any) -> float:
    """The value as a real number; TypeError where it is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number: got {value!r}")
    return float(value)


def plain(name: str, tensor: Any) -> Tensor:
    """A tensor that has its values, one after another, and no imaginary ones.

    Raises:
        TypeError: anything else: no tensor, sparse, on the meta device, complex.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor: got {type(tensor).__name__}")
    if tensor.is_meta or tensor.layout != torch.strided:
        how = "on the meta device" if tensor.is_meta else f"in layout {tensor.layout}"
        raise TypeError(f"{name} must hold its values: got a tensor {how}")
    if tensor.is_complex():
        raise TypeError(f"{name} must be real: got {tensor.dtype}")
    return tensor


def as_plain(name: str, value: Any) -> Tensor:
    """The same of what becomes a tensor: numbers, lists and arrays, too."""
    if isinstance(value, Tensor):
        return plain(name, value)
    try:
        made = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a tensor or numbers: got {value!r:.60}") from None
    return plain(name, made)
