"""Kernels by a word of the command line: a shape with numbers, or a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from degradations import kernels
from restoration.errors import ImageError
from restoration.pictures import images

SHAPES: Mapping[str, tuple[Callable[..., Tensor], tuple[int, ...], str]] = {
    "gaussian": (lambda sigma, across=None: kernels.gaussian(sigma, across), (1, 2), "gaussian:SIGMA"),
    "motion": (kernels.motion, (2,), "motion:LENGTH,ANGLE"),
    "disk": (kernels.disk, (1,), "disk:RADIUS"),
    "uniform": (kernels.uniform, (1,), "uniform:SIDE"),
}
"""What makes a kernel, how many numbers it takes, and how it is written."""


def blur_kernel(text: str) -> Tensor:
    """(h, w) float32, odd sides, sum 1: of a blur such as "gaussian:1.6", "motion:15,30" or a file.

    A file is a picture (its channels' mean) or a ``.npy`` array of two dimensions.

    Raises:
        ValueError: an unknown shape, wrong numbers, or a kernel that is not finite, not odd or sums to 0.
        ImageError: a file that cannot be read.
    """
    shape, colon, _ = text.partition(":")
    if colon and shape in SHAPES:
        return made(text, *SHAPES[shape]).float()
    if Path(text).is_file():
        kernel = checked(_read(Path(text)), text)
        if kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
            raise ValueError(f"kernel {text} must have odd sides, so that it has a middle: got {_size(kernel)}")
        return kernel.float()
    usage = ", ".join(usage for _, _, usage in SHAPES.values())
    raise ValueError(f"kernel must be {usage} or a file: got {text!r}")


def shrinking_kernel(text: str, factor: int) -> Tensor:
    """(h, w) float32 with sum 1: of shrinking by a factor with "bicubic", "lanczos", "gaussian:1.2" or a file.

    A Gaussian's numbers are pixels of the large picture. A file's sides are odd or even as the factor is.

    Raises:
        ValueError, ImageError: as :func:`blur_kernel`.
    """
    if text in kernels.SHRINKING:
        return kernels.shrinking(text, factor).float()
    if text.startswith("gaussian:"):
        return made(text, lambda s: kernels.gaussian_shrinking(s, factor), (1,), "gaussian:SIGMA").float()
    if not Path(text).is_file():
        usage = ", ".join((*kernels.SHRINKING, "gaussian:SIGMA"))
        raise ValueError(f"kernel must be {usage} or a file, to enlarge: got {text!r}")
    kernel = checked(_read(Path(text)), text)
    if any((side - factor) % 2 for side in kernel.shape):
        parity = "even" if factor % 2 == 0 else "odd"
        raise ValueError(f"kernel {text} must have {parity} sides for a factor of {factor}: got {_size(kernel)}")
    return kernel.float()


def check_fits(kernel: Tensor, name: str, height: int, width: int, given: str) -> None:
    """ValueError where a kernel is larger than a picture of that size, which the message calls ``given``."""
    if kernel.shape[0] > height or kernel.shape[1] > width:
        raise ValueError(
            f"kernel must be at most as large as the picture: {name} is {_size(kernel)}, it is {given}"
        )


def record_of(name: str | None, kernel: Tensor) -> dict[str, str | None]:
    """What outputs record of a kernel: what it was called, and what it was."""
    return {"kernel": name, "kernel_sha256": hashlib.sha256(kernel.numpy().tobytes()).hexdigest()}


def made(text: str, make: Callable[..., Tensor], counts: tuple[int, ...], usage: str) -> Tensor:
    """The kernel that a shape with numbers, e.g. "disk:3", stands for; ValueError where the numbers are wrong."""
    try:
        numbers = [float(part) for part in text.partition(":")[2].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise ValueError(f"kernel must be {usage}, in pixels and degrees: got {text!r}")
    try:
        return make(*numbers)
    except ValueError as error:
        raise ValueError(f"kernel {text!r}: {error}") from None


def checked(kernel: Tensor, name: str) -> Tensor:
    """The kernel with sum 1; ValueError unless it is finite and has a sum."""
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise ValueError(f"kernel {name} must have two dimensions: got {tuple(kernel.shape)}")
    if not bool(kernel.isfinite().all()):
        raise ValueError(f"kernel {name} must be finite: it holds NaN or infinity")
    if max(kernel.shape) > kernels.LARGEST:
        raise ValueError(f"kernel {name} may have at most {kernels.LARGEST} pixels a side: got {_size(kernel)}")
    total = kernel.sum()
    if not float(total.abs()) > 1e-6 * float(kernel.abs().sum()):
        raise ValueError(f"kernel {name} must not sum to 0: got {float(total):g}")
    return kernel / total


def _read(path: Path) -> Tensor:
    if path.suffix.lower() != ".npy":
        return images.load(path).double().mean(dim=0)
    try:
        values = np.load(path, allow_pickle=False, mmap_mode="r")  # a header may promise any size
        if values.ndim != 2 or values.dtype.kind not in "fiub" or max(values.shape) > kernels.LARGEST:
            most = kernels.LARGEST
            raise ValueError(f"must hold at most {most}×{most} real numbers: got {values.shape}, {values.dtype}")
        return torch.from_numpy(np.array(values, np.float64))
    except (ValueError, OSError, EOFError) as error:
        why = "it is no .npy file of numbers" if "pickle" in str(error) else " ".join(str(error).split())
        raise ImageError(f"{path}: cannot be read as a kernel: {why}") from None


def _size(kernel: Tensor) -> str:
    return f"{kernel.shape[1]}×{kernel.shape[0]}"
