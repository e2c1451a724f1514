"""DDIM: the paper's Algorithm 1, and the inner process of its Algorithm 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from solvers.fingerprint import fingerprint
from solvers.noise import NoiseSource
from solvers.prior import Prior
from solvers.question import InnerRun, Sampler
from solvers.update import ddim_update


class DDIM(Sampler):
    """Unconditional sampling, deterministic for η = 0, ancestral (DDPM's variance) for η = 1.

    Args:
        prior: the denoiser.
        eta: 0 … 1.

    Source: Song et al., DDIM, 2021; Elata et al., Nested Diffusion, 2024, Algorithm 1.
    """

    @dataclass(frozen=True)
    class Settings:
        """DDIM's choice.

        Args:
            eta: stochasticity, 0 … 1.
        """

        eta: float = 0.0

        def __post_init__(self) -> None:
            if not 0 <= self.eta <= 1:
                raise ValueError(f"eta must be from 0 to 1: got {self.eta}")

    def __init__(self, prior: Prior, eta: float = 0.0) -> None:
        self.prior = prior
        self.settings = DDIM.Settings(eta)
        self.eta = float(eta)

    def initial(self, k: int, noise: NoiseSource) -> Tensor:
        """Pure noise (B, C, H, W): where a run from a high level k starts."""
        return noise.normal((len(noise.seeds), *self.prior.image_shape))

    def answer(self, run: InnerRun, x0: Tensor, noise: NoiseSource) -> tuple[InnerRun, Tensor]:
        """DDIM's step, and x̂₀."""
        k, *left = run.levels
        k_next = left[0] if left else 0
        xi = noise.normal(run.x.shape) if self.eta and k_next else None
        x = ddim_update(run.x, x0, self.schedule.alpha_bar(k), self.schedule.alpha_bar(k_next), self.eta, xi)
        return InnerRun(x, tuple(left)), x0

    def preview(self, x0: Tensor) -> Tensor:
        """x̂₀ itself: nothing more is known before the run ends."""
        return x0

    def take(self, index: int | Sequence[int]) -> DDIM:
        """Itself: nothing in it belongs to one image."""
        return self

    def fingerprint(self) -> str:
        """SHA-256 of prior, schedule and η."""
        return fingerprint("DDIM", self.prior, self.eta)

    def identities(self) -> tuple[str, ...]:
        """Its fingerprint, which all images share."""
        return (self.fingerprint(),)
