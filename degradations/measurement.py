"""What was measured, by which operator, with how much noise."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from degradations.arguments import as_plain, plain, whole
from degradations.operator import Index, SVDOperator


class NormalSource(Protocol):
    """Anything that draws standard normal numbers, e.g. ``solvers.NoiseSource``."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of the given (B, ...) shape."""
        ...


@dataclass(frozen=True, eq=False)
class Measurement:
    """y = A x + σ n, n standard normal.

    Args:
        y: (B, C', H', W'), finite, in the units of the images it measures ([0, 1] above ``Restorer``).
        operator: A.
        sigma: standard deviation of the noise in y's units, scalar or (B,), ≥ 0. On the [0, 1] scale it is
            half of what DDRM's and the Nested Diffusion paper quote on the [-1, 1] scale.

    Raises:
        ValueError: shapes that do not fit the operator, values that are not finite, a negative sigma.
    """

    y: Tensor
    operator: SVDOperator
    sigma: float | Tensor = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.operator, SVDOperator):
            raise TypeError(f"operator must be an SVDOperator: got {self.operator!r:.60}")
        wanted = self.operator.measurement_shape
        if not isinstance(self.y, Tensor):
            raise TypeError(f"y must be a tensor: got {type(self.y).__name__}")
        if self.y.is_meta or self.y.layout != torch.strided:
            plain("y", self.y)
        self._check_sigma()
        if self.y.ndim != 4 or tuple(self.y.shape[1:]) != wanted:
            raise ValueError(f"y must be (B, {', '.join(map(str, wanted))}): got {tuple(self.y.shape)}")
        if not self.y.is_floating_point():
            raise TypeError(f"y must be a floating-point tensor: got {self.y.dtype}")
        if not bool(self.y.isfinite().all()):
            raise ValueError("y must be finite: got NaN or infinity")
        if self.operator.batch_size not in (None, len(self)):
            raise ValueError(
                f"operator must be made for as many images as y holds: got {self.operator.batch_size} "
                f"for {len(self)}"
            )
        sigma = torch.as_tensor(self.sigma)
        if sigma.shape not in ((), (len(self),)):
            raise ValueError(f"sigma must be a number or ({len(self)},): got shape {tuple(sigma.shape)}")
        if not bool(sigma.isfinite().all()) or bool((sigma < 0).any()):
            raise ValueError(f"sigma must be finite and ≥ 0: got {self.sigma}")

    def _check_sigma(self) -> None:
        """A number or a plain tensor; a list becomes one."""
        sigma = self.sigma
        if isinstance(sigma, Tensor):
            plain("sigma", sigma)
        elif isinstance(sigma, (bool, str)):
            raise TypeError(f"sigma must be a number or one an image: got {sigma!r}")
        elif not isinstance(sigma, (int, float)):
            try:
                object.__setattr__(self, "sigma", as_plain("sigma", sigma))
            except TypeError:
                raise TypeError(f"sigma must be a number or one an image: got {sigma!r}") from None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Index) -> Measurement:
        """The measurement of the images that ``index`` (a position, slice or sequence) selects."""
        chosen = [index] if isinstance(index, int) else index
        sigma = torch.as_tensor(self.sigma)
        return Measurement(self.y[chosen], self.operator.take(index), sigma[chosen] if sigma.ndim else self.sigma)

    def expand(self, n: int) -> Measurement:
        """n copies of the measurement of one image, e.g. to draw n posterior samples at once."""
        whole("n", n, 1)
        if len(self) != 1:
            raise ValueError(f"only the measurement of one image can be expanded: got {len(self)}")
        return self.take([0] * n)

    def to(self, device: torch.device | str) -> Measurement:
        """The measurement on a device; this one is left where it is."""
        target = torch.empty(0, device=device).device
        operator = self.operator
        if any(buffer.device != target for buffer in operator.buffers()):
            operator = copy.deepcopy(operator).to(target)
        sigma = self.sigma.to(target) if isinstance(self.sigma, Tensor) else self.sigma
        return Measurement(self.y.to(target), operator, sigma)

    def in_model_units(self) -> Measurement:
        """From [0, 1] units to the network's [-1, 1]: y' = 2y − A·1, σ' = 2σ."""
        count = self.operator.batch_size or 1
        ones = torch.ones(count, *self.operator.image_shape, dtype=self.y.dtype, device=self.y.device)
        return Measurement(2 * self.y - self.operator(ones), self.operator, 2 * self.sigma)

    @staticmethod
    def stack(measurements: Iterable[Measurement]) -> Measurement:
        """One measurement of the images of all, in order, each with its own operator and sigma.

        Args:
            measurements: of images of one shape, on one device and in one dtype.

        Returns:
            y (B, C', H', W'). Sigma stays one number where all are equal, else it is (B,) in float64, exact. The
            operator is what :meth:`SVDOperator.stack` makes.

        Raises:
            ValueError: no measurements, or different shapes, devices or dtypes.
        """
        given = list(measurements)
        if not given:
            raise ValueError("measurements must hold at least one measurement to stack: got none")
        for name in ("dtype", "device"):
            found = {getattr(measurement.y, name) for measurement in given}
            if len(found) > 1:
                listed = " and ".join(sorted(map(str, found)))
                raise ValueError(
                    f"measurements must have one {name} to be stacked: got {listed}; convert y with .to()"
                )
        # A shared operator counts for every image of its measurement.
        operator = SVDOperator.stack(
            one
            for measurement in given
            for one in [measurement.operator] * (1 if measurement.operator.batch_size else len(measurement))
        )
        y = torch.cat([measurement.y for measurement in given])
        sigma = torch.cat(
            [torch.as_tensor(m.sigma, dtype=torch.float64, device="cpu").expand(len(m)) for m in given]
        )
        same = bool((sigma == sigma[0]).all())
        return Measurement(y, operator, _scalar(given[0].sigma) if same else sigma.to(y.device))

    def fingerprints(self) -> tuple[str, ...]:
        """One SHA-256 an image, equal to ``take(i).fingerprint()``; a shared operator is read only once."""
        if self.operator.batch_size is None:
            operators = [self.operator.fingerprint()] * len(self)
        else:
            operators = [self.operator.take(i).fingerprint() for i in range(len(self))]
        sigma = torch.as_tensor(self.sigma).expand(len(self))
        return tuple(_hashed(operators[i], self.y[i : i + 1], sigma[i]) for i in range(len(self)))

    def fingerprint(self) -> str:
        """SHA-256 of y, σ and the operator: equal for equal measurements, on any device.

        σ counts to float32, in which a plain number is compared; one image's is the same as a number or as (1,).
        """
        sigma = torch.as_tensor(self.sigma)
        return _hashed(self.operator.fingerprint(), self.y, sigma.reshape(()) if len(self) == 1 else sigma)


def _hashed(operator: str, y: Tensor, sigma: Tensor) -> str:
    digest = hashlib.sha256(operator.encode())
    for tensor in (y, sigma.float()):
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().double().numpy().tobytes())
    return digest.hexdigest()


def _scalar(sigma: float | Tensor) -> float | Tensor:
    """One of equal sigmas, as it was given."""
    return sigma.flatten()[0] if isinstance(sigma, Tensor) else sigma


def simulate(
    x: Tensor, operator: SVDOperator, sigma: float | Tensor, *, noise: NormalSource | Tensor
) -> Measurement:
    """Degrade clean images: y = A x + σ n.

    Args:
        x: (B, C, H, W).
        operator: A.
        sigma: standard deviation of the noise in x's units, scalar or (B,).
        noise: a source with ``normal(shape)``, or standard normal numbers in y's shape.

    Raises:
        ValueError: x or the noise does not fit the operator; sigma is negative.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != operator.image_shape:
        raise ValueError(f"x must be (B, {', '.join(map(str, operator.image_shape))}): got {tuple(x.shape)}")
    clean = operator(x)
    if not isinstance(noise, Tensor) and not callable(getattr(noise, "normal", None)):
        raise TypeError(f"noise must be a tensor, or a source of normal numbers: got {noise!r:.60}")
    n = noise if isinstance(noise, Tensor) else noise.normal(clean.shape)
    if n.shape != clean.shape:
        raise ValueError(f"noise must be shaped as y, {tuple(clean.shape)}: got {tuple(n.shape)}")
    noiseless = Measurement(clean, operator, sigma)  # checks sigma before it is used
    scale = torch.as_tensor(noiseless.sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
    # Noise on values that were never measured would be invented data: U Uᵀ keeps it to the measured ones.
    spectral = operator.Ut(n.to(clean))
    if operator.noiseless is not None:
        spectral = torch.where(operator.noiseless, 0, spectral)
    measured = operator.U(spectral)
    return replace(noiseless, y=clean + scale * measured)
