"""A prior of slices as one of volumes: neighbouring slices are restored together."""

from __future__ import annotations

import torch
from torch import Tensor

from degradations.arguments import number, whole
from restoration.priors.tiled import TILE_BATCH
from solvers import NoiseSchedule, Prior, identity_of
from solvers.prior import rmse_of

ITERATIONS = 40
UNMEASURED = 0.1
"""x̂₀'s error, in parts of √(1 − ᾱ), of priors that do not tell it."""


class VolumePrior:
    """A prior for slices whose batch is a volume, or several volumes of equally many slices, in order.

    x̂₀ of the slices is drawn together along z: of every column of pixels x̂ it takes the u of least
    ‖u − x̂‖²/2 + w Σ |u_{d+1} − u_d|, total variation along z, with w = ``together`` times x̂₀'s own error at the
    level (``rmse``). So much of the differences between slices as the prior may have made up is taken away, little
    of what it is sure of, and next to nothing in the last evaluation. It is a heuristic, as no such prior was
    trained, and what only one slice has is flattened. Slices differ far less already where they share noise: give
    all of a volume one seed, as ``seeds=[7] * slices``.

    Args:
        prior: of single slices, maybe in tiles.
        slices: of a volume; None takes a batch for one volume.
        together: 0 leaves slices alone, with answers that are the prior's own; 1 is strong.
        batch: slices that the prior is given at once.

    Raises:
        ValueError: a number that is none of these.
    """

    def __init__(
        self, prior: Prior, slices: int | None = None, together: float = 0.0, batch: int = TILE_BATCH
    ) -> None:
        if slices is not None:
            whole("slices", slices, 1)
        if not 0 <= number("together", together) <= 100:
            raise ValueError(f"together must be from 0 to 100: got {together}")
        self.prior, self.slices, self.together = prior, slices, float(together)
        self.batch = whole("batch", batch, 1)

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's noise levels."""
        return self.prior.schedule

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one slice."""
        return self.prior.image_shape

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
        """The prior's, where slices are left alone; else nothing was measured."""
        return None if self.together else getattr(self.prior, "calibration", None)

    def rmse(self, k: int) -> float | None:
        """The prior's own."""
        return rmse_of(self.prior, k)

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers: the batch is no part of it."""
        return (
            f"{identity_of(self.prior)} volume {self.slices} {self.together}"
            if self.together
            else identity_of(self.prior)
        )

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀ (B, C, H, W) float32, unclipped, from x_k at level k, or (B,) levels, one a volume.

        Raises:
            ValueError: a batch that is no whole number of volumes.
        """
        depth = len(x_k) if self.slices is None else self.slices
        if len(x_k) % depth:
            raise ValueError(f"x_k must hold whole volumes of {depth} slices: got {len(x_k)}")
        parts = []
        for first in range(0, len(x_k), self.batch):
            some = slice(first, first + self.batch)
            parts.append(self.prior.denoise(x_k[some], k[some] if isinstance(k, Tensor) else k))
        x0 = torch.cat(parts)
        if not self.together or depth == 1:
            return x0
        width = self._width(k, x0)
        return smoothed(x0.reshape(-1, depth, *x0.shape[1:]), self.together * width).flatten(0, 1)

    def _width(self, k: int | Tensor, x0: Tensor) -> Tensor:
        """x̂₀'s error at each image's level, of each volume the first slice's: (volumes, 1, 1, 1, 1)."""
        levels = [k] * len(x0) if isinstance(k, int) else k.tolist()
        widths = []
        for level in levels[:: len(x0) if self.slices is None else self.slices]:
            told = self.rmse(level)
            spread = (1 - float(self.schedule.alpha_bar(level))) ** 0.5
            widths.append(UNMEASURED * spread if told is None else told)
        return x0.new_tensor(widths).reshape(-1, 1, 1, 1, 1)


def smoothed(volume: Tensor, weight: Tensor | float, iterations: int = ITERATIONS) -> Tensor:
    """u (V, D, ...) of least ‖u − volume‖²/2 + weight · Σ_d |u_{d+1} − u_d|, by projected steps on its dual.

    Args:
        weight: at least 0; a number, or one that broadcasts against the volume.

    Source: Chambolle, *An algorithm for total variation minimization and applications*, 2004, in one dimension,
    with the momentum of Beck and Teboulle, 2009.
    """
    limit = torch.as_tensor(weight, dtype=volume.dtype, device=volume.device)
    dual = at = torch.zeros_like(volume[:, 1:])
    t = 1.0
    for _ in range(iterations):
        before = dual
        dual = (at + 0.25 * _differences(volume - _adjoint(at))).clamp(-limit, limit)
        t, last = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
        at = dual + (last - 1) / t * (dual - before)
    return volume - _adjoint(dual)


def _differences(volume: Tensor) -> Tensor:
    return volume[:, 1:] - volume[:, :-1]


def _adjoint(dual: Tensor) -> Tensor:
    edge = torch.zeros_like(dual[:, :1])
    padded = torch.cat([edge, dual, edge], dim=1)
    return padded[:, :-1] - padded[:, 1:]
