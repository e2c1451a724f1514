"""What solvers ask of a prior."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from solvers.schedule import NoiseSchedule


class Prior(Protocol):
    """A prior knows clean images: it estimates x₀ from a noisy version.

    Images are on the [-1, 1] scale, variance preserving: x_k = √ᾱ_k x₀ + √(1−ᾱ_k) ε.
    """

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels it was made for."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it describes."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes: images come and go there."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers, so that a stored run finds its prior."""
        ...

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ = E[x₀ | x_k], (B, C, H, W) float32, unclipped. Costs one network evaluation (NFE).

        Args:
            x_k: (B, C, H, W).
            k: the noise level of all images, 1 … K, or one an image: (B,) whole numbers.
        """
        ...


@runtime_checkable
class MeasuredPrior(Protocol):
    """A prior that knows how wrong it is; samplers can do without."""

    def rmse(self, k: int) -> float | None:
        """x̂₀'s root mean squared error at level k, on the [-1, 1] scale; None where it was not measured."""
        ...


def rmse_of(prior: Prior, k: int) -> float | None:
    """A prior's RMSE at level k, on the [-1, 1] scale; None where it is not known."""
    return prior.rmse(k) if isinstance(prior, MeasuredPrior) else None


def identity_of(prior: Prior) -> str:
    """What a prior says of itself, or else a SHA-256 of its class, shape and everything it holds that has a value.

    A prior without a ``fingerprint()`` is told from another of its class by its tensors, modules, numbers and
    texts, wherever they are kept in it.
    """
    told = getattr(prior, "fingerprint", None)
    if told is not None:
        return str(told() if callable(told) else told)
    kind = type(prior)
    digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__} {tuple(prior.image_shape)}".encode())
    held = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    for name, value in sorted((held | getattr(prior, "__dict__", {})).items()):
        for part in _content(value):
            digest.update(name.encode() + part)
    return digest.hexdigest()


def _content(value: object) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, torch.nn.Module):
        for name, tensor in value.state_dict().items():
            yield name.encode()
            yield from _content(tensor)
    elif isinstance(value, bool | int | float | complex | str):
        yield repr(value).encode()


def per_image(k: int | Tensor, values: Tensor, like: Tensor) -> float | Tensor:
    """``values[k]``: a number for one level; for one an image, (B, 1, 1, 1) in the dtype and place of ``like``.

    Args:
        k: a level, or (B,) of them.
        values: one number a level 0 … K, float64.

    Raises:
        ValueError: levels that are not whole numbers from 0 to K, or not one an image.
    """
    if not isinstance(k, Tensor):
        if k != int(k) or not 0 <= k < len(values):
            raise ValueError(f"k must be whole numbers from 0 to {len(values) - 1}: got {k}")
        return float(values[int(k)])
    if k.shape != (len(like),) or k.is_floating_point():
        raise ValueError(f"k must be a whole number or ({len(like)},) of them, one an image: got {k}")
    levels = k.cpu()
    if bool((levels < 0).any()) or bool((levels >= len(values)).any()):
        raise ValueError(f"k must be from 0 to {len(values) - 1}: got {k.tolist()}")
    return values[levels].to(like).reshape(-1, *(1,) * (like.ndim - 1))
