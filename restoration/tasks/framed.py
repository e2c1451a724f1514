"""What tasks share whose operator takes its image to be periodic: what lies beyond the frame of a picture."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restoration.tasks.kind import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from degradations.measurement import NormalSource
    from restoration.pictures.frame import Frame

AROUND = 8  # pixels beyond the kernel's reach, so that opposite sides do not touch


@dataclass(frozen=True)
class Framed(Kind):
    """A mixes each pixel with others around it.

    The scene goes on beyond the frame of a photograph, and what was there is mixed into it: the picture is
    restored in a wider frame, whose rim is filled with what fits (``restoration.tasks.beyond``), and cropped.
    With ``fit`` the picture is periodic instead.
    """

    @property
    @abstractmethod
    def reach(self) -> int | None:
        """How far A looks, in pixels of the restored picture; None where it mixes nothing across the frame."""

    @property
    def padding(self) -> str:  # type: ignore[override]
        """How a picture is padded, in words."""
        return "by reflection" if self.reach is None else "by the scene that explains it"

    @property
    def margin(self) -> int:
        if self.reach is None:
            return 0
        return -(-(self.reach + AROUND) // self.factor) * self.factor

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        """At least that of rounding to 8 bits; none is needed for a simulated, periodic picture."""
        from restoration.tasks.beyond import ROUNDING

        exact = self.reach is None or (simulate and fit)
        return sigma or 0.0 if exact else max(sigma or 0.0, ROUNDING)

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        if noise == (sigma or 0.0):
            return []
        return [f"noise of σ = {noise:.2g} is assumed, as rounding to 8 bits leaves"]

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        from restoration.tasks.beyond import ROUNDS, continued

        if self.reach is None or not frame.pads:
            return super().measured(picture, operator, frame, sigma)
        small = frame.shrunk(self.factor)
        rounds = -(-ROUNDS // self.factor)  # a shrinking A is quickly inverted
        return continued(small.pad(picture), _inside(small), operator, sigma, rounds)[None]

    def simulated(
        self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float, noise: NormalSource
    ) -> Measurement:
        """The picture is degraded as if it went on mirrored; what lies beyond it is then not known."""
        from degradations import Measurement

        if self.reach is None or not frame.pads:
            return super().simulated(picture, operator, frame, sigma, noise)
        y = frame.shrunk(self.factor).crop(operator(frame.pad(picture)[None]))
        y = y + sigma * noise.normal(y.shape).to(y)
        return Measurement(self.measured(y[0], operator, frame, sigma), operator, sigma)


def _inside(frame: Frame) -> torch.Tensor:
    """(rows, columns), True where the picture is."""
    import torch

    inside = torch.zeros(frame.rows, frame.columns, dtype=torch.bool)
    frame.crop(inside).fill_(True)
    return inside
