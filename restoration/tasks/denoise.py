"""Denoising: all of the picture is measured, with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator


class Denoise(Kind):
    """A is the identity; without noise there is nothing to do, so sigma is needed."""

    names = ("denoise",)
    help = "remove noise of --sigma"
    needs_sigma = True

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import Denoising

        return "denoise" if type(measurement.operator) is Denoising else None

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Denoising

        return Denoising(shape)
