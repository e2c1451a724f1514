"""What priors have in common that answer by asking another."""

from __future__ import annotations

import torch
from torch import Tensor

from restoration.evaluate import Parts, evaluate
from solvers import NoiseSchedule, Prior, Question, identity_of
from solvers.prior import rmse_of


class AskingPrior:
    """A prior that makes its answer of another's, whose noise levels, device, name and calibration are its own.

    Args:
        prior: that is asked.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.image_shape = prior.image_shape

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    @property
    def device(self) -> torch.device:
        """Where the prior computes."""
        return self.prior.device

    @property
    def name(self) -> str:
        """The prior's."""
        return self.prior.name

    @property
    def calibration(self) -> object:
        """The prior's, where it was calibrated; else None."""
        return getattr(self.prior, "calibration", None)

    def rmse(self, k: int) -> float | None:
        """The prior's own."""
        return rmse_of(self.prior, k)

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers."""
        return identity_of(self.prior)

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) float32, unclipped, from x_k at level k, or (B,) levels; a function of them alone.

        Raises:
            ValueError: images that :meth:`split` does not take.
        """
        return evaluate(self, Question(x_k, k), lambda: None)

    def split(self, question: Question) -> Parts:
        """One question as questions to the prior, and how the answer is made of its answers."""
        raise NotImplementedError
