"""Colorization: a grey picture is measured, the mean of the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator


class Colorize(Kind):
    """A is the mean of the channels at every pixel."""

    names = ("colorize",)
    help = "colour a grey picture"
    takes_strokes = True
    takes_marks = True

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import Colorization

        return "colorize" if type(measurement.operator) is Colorization else None

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Colorization

        return Colorization(shape)

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """Grey, with the colours of strokes."""
        from degradations import ColourHints

        if isinstance(operator, ColourHints):
            return operator.pinv(y[None])[0].clamp(0, 1)
        return super().look(y, operator)

    def measured_channels(self, channels: int) -> int:
        return 1
