"""A prior of slices as one of volumes: neighbouring slices are restored together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from degradations.arguments import number, whole
from restoration.priors.asking import AskingPrior
from solvers import Prior, Question

ITERATIONS = 40
UNMEASURED = 0.1
"""x̂₀'s error, in parts of √(1 − ᾱ), of priors that do not tell it."""
STRONGEST = 100


class VolumePrior(AskingPrior):
    """A prior for slices whose batch is a volume, or several volumes of the same slices, one after another.

    x̂₀ of the slices is drawn together along z: of every column of pixels x̂ it takes the u of least
    ‖u − x̂‖²/2 + w Σ |u_{d+1} − u_d|, total variation along z, with w = ``together`` times x̂₀'s own error at the
    level (``rmse``). So much of the differences between slices as the prior may have made up is taken away, little
    of what it is sure of, and next to nothing in the last evaluation. It is a heuristic, as no such prior was
    trained, and what only one slice has is flattened. Slices differ far less already where they share noise: give
    all of a volume one seed, as ``seeds=[7] * 24``.

    Args:
        prior: of single slices, maybe in tiles, which also bound how many slices the network is given at once.
        slices: of a scan that a volume is made of, by number, e.g. ``range(24)``; only those that follow one
            another directly are drawn together. None takes a batch for one volume without gaps.
        together: 0 leaves slices alone, with answers that are the prior's own; 1 is strong.

    Raises:
        TypeError, ValueError: a number that is none of these; slices that do not rise.
    """

    def __init__(self, prior: Prior, slices: Sequence[int] | None = None, together: float = 0.0) -> None:
        super().__init__(prior)
        self.slices = None if slices is None else _rising(slices)
        self.together = check_together("together", together)

    @property
    def calibration(self) -> object:
        """The prior's, where slices are left alone; else nothing was measured."""
        return None if self.together else super().calibration

    def fingerprint(self) -> str:
        """Equal for priors that give the same answers."""
        own = super().fingerprint()
        return f"{own} volume {self.slices} {self.together}" if self.together else own

    def split(self, question: Question) -> Volumes:
        """One question to the prior, whose answer is drawn together.

        Raises:
            ValueError: a batch that is no whole number of volumes.
        """
        depth = len(question.x) if self.slices is None else len(self.slices)
        if len(question.x) % depth:
            raise ValueError(f"x_k must hold whole volumes of {depth} slices: got {len(question.x)}")
        return Volumes(self, question, depth)


class Volumes:
    """A question to a :class:`VolumePrior` on its way; the levels of a volume are its first slice's."""

    def __init__(self, prior: VolumePrior, question: Question, depth: int) -> None:
        self._prior, self._question, self._depth = prior, question, depth

    def __len__(self) -> int:
        """One question, however the prior splits that."""
        return 1

    def question(self, i: int) -> Question:
        """The question itself."""
        return self._question

    @torch.no_grad()
    def answer(self, i: int, x0: Tensor) -> None:
        """Draw the slices of the prior's answer together."""
        together, slices = self._prior.together, self._prior.slices
        if together and self._depth > 1:
            weight = together * self._error(x0)
            if slices is not None:  # nothing is drawn over a gap
                follows = [after - before == 1 for before, after in pairwise(slices)]
                weight = weight * x0.new_tensor(follows).reshape(1, -1, 1, 1, 1)
            x0 = smoothed(x0.reshape(-1, self._depth, *x0.shape[1:]), weight).flatten(0, 1)
        self._x0 = x0

    @property
    def x0(self) -> Tensor:
        """x̂₀ (B, C, H, W) float32, once the question is answered."""
        return self._x0

    def _error(self, x0: Tensor) -> Tensor:
        """x̂₀'s, at every volume's level: (volumes, 1, 1, 1, 1)."""
        k, errors = self._question.k, []
        levels = [k] * len(x0) if isinstance(k, int) else k.tolist()
        for level in levels[:: self._depth]:
            told = self._prior.rmse(level)
            spread = (1 - float(self._prior.schedule.alpha_bar(level))) ** 0.5
            errors.append(UNMEASURED * spread if told is None else told)
        return x0.new_tensor(errors).reshape(-1, 1, 1, 1, 1)


def check_together(name: str, value: float) -> float:
    """How strongly slices are drawn together; ValueError, TypeError where it cannot be that."""
    if not 0 <= number(name, value) <= STRONGEST:
        raise ValueError(f"{name} must be from 0 to {STRONGEST}: got {value}")
    return float(value)


def _rising(slices: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(slices, Sequence) or not slices:
        raise TypeError(f"slices must be a sequence of numbers, as range(24): got {slices!r:.60}")
    places = tuple(whole("slices", one, 0) for one in slices)
    if list(places) != sorted(set(places)):
        raise ValueError(f"slices must rise: got {places!s:.60}")
    return places


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
