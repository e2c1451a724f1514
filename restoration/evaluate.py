"""One answer of a prior, with an ear for what wants to end the run."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from solvers import Prior, Question


class StoppedError(Exception):
    """An evaluation was given up between two calls of the network."""

    def __init__(self, why: StrEnum) -> None:
        super().__init__(why.value)
        self.why = why


class Parts(Protocol):
    """A question in parts, each answered by one call of the network."""

    def __len__(self) -> int: ...
    def question(self, i: int) -> Question: ...
    def answer(self, i: int, x0: Tensor) -> None: ...
    @property
    def x0(self) -> Tensor: ...


@runtime_checkable
class Splitting(Protocol):
    """A prior that answers by several calls of another, as one in tiles does."""

    @property
    def prior(self) -> Prior: ...
    def split(self, question: Question) -> Parts: ...


@torch.no_grad()
def evaluate(prior: Prior, question: Question, heard: Callable[[], StrEnum | None]) -> Tensor:
    """The prior's x̂₀ (B, C, H, W).

    Args:
        prior: asked once, or once a batch of tiles where it splits questions.
        question: what a run needs.
        heard: asked before every call of the network: why to give up, or None.

    Raises:
        StoppedError: it said why.
    """
    if not isinstance(prior, Splitting):
        if why := heard():
            raise StoppedError(why)
        return prior.denoise(question.x, question.k)
    parts = prior.split(question)
    for i in range(len(parts)):
        asked = parts.question(i)
        parts.answer(i, evaluate(prior.prior, asked, heard))
    return parts.x0
