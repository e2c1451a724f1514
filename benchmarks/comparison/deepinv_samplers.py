"""deepinv's samplers as methods of a comparison, with the parameters its classes have by themselves.

Nothing is changed but the number of evaluations. Each is told σ by the physics' noise model where it can take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from benchmarks.engine.methods import Method, joint_seed
from degradations import Measurement
from restoration.errors import RestorationError
from solvers import Prior

if TYPE_CHECKING:
    from deepinv.physics import DecomposablePhysics

EXTRA = "deepinv is not installed: pip install nested-restoration[deepinv]"


class MissingError(RestorationError):
    """deepinv cannot be imported."""


def require_deepinv() -> str:
    """Its version.

    Raises:
        MissingError: what to install.
    """
    try:
        import deepinv
    except ImportError:
        raise MissingError(EXTRA) from None
    return str(deepinv.__version__)


def told(measurement: Measurement, *, sigma_known: bool = True) -> DecomposablePhysics:
    """The measurement's operator as physics, with its σ, or with a noise model that does not tell one."""
    from restoration.deepinv_plugin import as_physics

    sigma = float(measurement.sigma) if sigma_known else None
    return as_physics(measurement.operator, sigma).to(measurement.y.device)


def denoiser_of(prior: Prior) -> Any:
    """The prior's network as a denoiser of images in [0, 1]."""
    from restoration.deepinv_plugin import as_denoiser

    return as_denoiser(prior)


@dataclass(frozen=True)
class Sampler(Method):
    """One that makes a picture with all of its evaluations.

    Args:
        nfe: evaluations.
    """

    nfe: int
    foreign: ClassVar[bool] = True

    @property
    def allocation(self) -> tuple[int, ...]:
        """All at once."""
        return (self.nfe,)


@dataclass(frozen=True)
class DeepinvDDRM(Sampler):
    """``deepinv.sampling.DDRM``, which draws from the global generator."""

    name: str = "deepinv DDRM"

    @property
    def settings(self) -> str:
        """Its σ grid."""
        return "sigmas = np.linspace(1, 0, evaluations), eta 0.85, etab 1.0, GaussianNoise(σ)"

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its samples."""
        import numpy as np
        from deepinv import sampling

        from benchmarks.comparison.folded import Folded, fold

        physics, denoiser, sigmas = told(measurement), denoiser_of(prior), np.linspace(1, 0, self.nfe)
        y = measurement.y.clone()  # it divides y in place where U is the identity
        if len(physics.mask) == 1:
            yield sampling.DDRM(denoiser, sigmas=sigmas)(y, physics)
        else:  # it takes one mask for all
            folded = Folded(physics)
            yield folded.unfold(sampling.DDRM(folded.denoiser(denoiser), sigmas=sigmas)(fold(y), folded))


@dataclass(frozen=True)
class DiffPIR(Sampler):
    """``deepinv.sampling.DiffPIR``, which draws from the global generator.

    Told σ = 0 it answers NaN where nothing was measured, so that then its own default of 0.05 stands.
    """

    name: str = "deepinv DiffPIR"

    @property
    def settings(self) -> str:
        """Its steps, λ and ζ."""
        return (
            "max_iter = evaluations, zeta 0.1, lambda_ 7.0, L2 data fidelity, GaussianNoise(σ); of noiseless "
            "measurements ZeroNoise, with which its default of σ = 0.05 stands"
        )

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its samples."""
        from deepinv import sampling
        from deepinv.optim.data_fidelity import L2

        device = measurement.y.device
        model = sampling.DiffPIR(denoiser_of(prior), L2(), max_iter=self.nfe, device=device)
        noisy = float(measurement.sigma) > 0
        yield model(measurement.y.clone(), told(measurement, sigma_known=noisy))


@dataclass(frozen=True)
class DPS(Sampler):
    """``deepinv.sampling.DPS``, whose every evaluation is also differentiated.

    Args:
        weight: of the measurement; its class has 1, of which its documentation says that hundreds are typical.
    """

    name: str = "deepinv DPS"
    weight: float = 1.0

    @property
    def allocation(self) -> tuple[int, ...]:
        """0.4.1 evaluates once more, at the end."""
        return (self.nfe + require_deepinv().startswith("0.4."),)

    @property
    def settings(self) -> str:
        """Its steps and weight."""
        return f"num_steps = evaluations + 1, weight {self.weight:g}, else as its class has it by itself; float64"

    def restore(self, prior: Prior, measurement: Measurement, seeds: Sequence[int]) -> Iterator[Tensor]:
        """Its samples."""
        from deepinv import sampling

        device = measurement.y.device
        generator = torch.Generator(device).manual_seed(joint_seed(seeds))
        model = sampling.DPS(
            denoiser_of(prior), num_steps=self.nfe + 1, weight=self.weight, device=device, rng=generator
        )
        yield model(measurement.y.clone(), told(measurement)).float()
