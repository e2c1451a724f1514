"""deepinv's samplers as methods of a comparison, with the parameters its classes have by themselves.

Nothing is changed but the number of evaluations. Each is told σ by the physics' noise model where it can take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from degradations import Measurement
from restoration.errors import RestorationError
from restoration.priors import DiffusionPrior
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
class DeepinvDDRM:
    """``deepinv.sampling.DDRM``."""

    nfe: int
    name: str = "deepinv DDRM"
    foreign: bool = True

    @property
    def settings(self) -> str:
        """Its σ grid."""
        return f"sigmas = np.linspace(1, 0, {self.nfe}), eta 0.85, etab 1.0, GaussianNoise(σ)"

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its sample."""
        import numpy as np
        from deepinv import sampling

        model = sampling.DDRM(denoiser_of(prior), sigmas=np.linspace(1, 0, self.nfe))
        # it divides y in place where U is the identity
        restored: Tensor = model(measurement.y.clone(), told(measurement))
        return restored


@dataclass(frozen=True)
class DiffPIR:
    """``deepinv.sampling.DiffPIR``.

    Told σ = 0 it answers NaN where nothing was measured, so that then its own default of 0.05 stands.
    """

    nfe: int
    name: str = "deepinv DiffPIR"
    foreign: bool = True

    @property
    def settings(self) -> str:
        """Its steps, λ and ζ."""
        return (
            f"max_iter {self.nfe}, zeta 0.1, lambda_ 7.0, L2 data fidelity, GaussianNoise(σ); of noiseless "
            "measurements ZeroNoise, with which its default of σ = 0.05 stands"
        )

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its sample."""
        from deepinv import sampling
        from deepinv.optim.data_fidelity import L2

        device = measurement.y.device
        model = sampling.DiffPIR(denoiser_of(prior), L2(), max_iter=self.nfe, device=device)
        noisy = float(measurement.sigma) > 0
        restored: Tensor = model(measurement.y.clone(), told(measurement, sigma_known=noisy))
        return restored


@dataclass(frozen=True)
class DPS:
    """``deepinv.sampling.DPS``, whose every evaluation is also differentiated.

    Args:
        nfe: evaluations; 0.4.1 makes one more.
        weight: of the measurement; its class has 1, of which its documentation says that hundreds are typical.
    """

    nfe: int
    name: str = "deepinv DPS"
    weight: float = 1.0
    foreign: bool = True

    @property
    def settings(self) -> str:
        """Its steps and weight."""
        return f"num_steps {self.nfe + 1}, weight {self.weight:g}, else as its class has it by itself; float64"

    def restore(self, prior: DiffusionPrior, measurement: Measurement, seed: int) -> Tensor:
        """Its sample."""
        from deepinv import sampling

        device = measurement.y.device
        generator = torch.Generator(device).manual_seed(seed)
        model = sampling.DPS(
            denoiser_of(prior), num_steps=self.nfe + 1, weight=self.weight, device=device, rng=generator
        )
        restored: Tensor = model(measurement.y.clone(), told(measurement))
        return restored.float()
