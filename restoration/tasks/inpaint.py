"""Inpainting: a part of the pixels is measured; a mask says which are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from restoration.pictures.frame import Frame

CALIBRATED = (0.25, 0.75)
"""Shares of known values for which a calibration holds that was measured at one half."""


class Inpaint(Kind):
    """A keeps the known pixels."""

    names = ("inpaint",)
    help = "fill what --mask marks"
    takes_mask = True
    takes_marks = True

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        from degradations import Inpainting

        if not isinstance(measurement.operator, Inpainting):
            return None
        known = float(measurement.operator.singular_values.float().mean())
        return "inpaint" if CALIBRATED[0] <= known <= CALIBRATED[1] else None

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Inpainting

        if known is None:
            raise ValueError("inpaint needs known, (H, W), True where the picture is known: got None")
        return Inpainting(shape, known)

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        return super().measured(picture, operator, frame, sigma) * operator.singular_values

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """Missing values are mid-grey."""
        import torch

        return torch.where(operator.singular_values.expand_as(y) > 0, y, 0.5)
