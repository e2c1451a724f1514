"""Deblurring: a picture blurred by a known kernel is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from degradations.measurement import NormalSource
    from restoration.pictures.frame import Frame

AROUND = 8  # pixels beyond the kernel's reach, so that opposite sides do not touch


@dataclass(frozen=True)
class Deblur(Kind):
    """A convolves with a kernel.

    The scene goes on beyond the frame of a photograph, and what was there is blurred into it: the picture is
    restored in a wider frame, whose rim is filled with what fits (``restoration.tasks.beyond``), and cropped.
    With ``fit`` the picture is periodic instead.

    Args:
        kernel: what ``restoration.tasks.kernels`` takes, e.g. "gaussian:1.6" or a file.
    """

    names = ("deblur",)
    help = "undo the blur of --kernel"
    options = ("kernel",)
    needs = MappingProxyType(
        {"kernel": "gaussian:SIGMA, motion:LENGTH,ANGLE, disk:RADIUS, uniform:SIDE or a file"}
    )
    padding = "by the scene that explains the blur"

    kernel: str | None = None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        super().check(sigma, simulate, fit)
        _ = self.weights

    @cached_property
    def weights(self) -> Tensor:
        """The kernel, (h, w) of odd sides with sum 1."""
        from restoration.tasks.kernels import blur_kernel

        return blur_kernel(self.kernel or "")

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import Blur

        return Blur(shape, self.weights)

    @property
    def margin(self) -> int:
        return max(self.weights.shape) // 2 + AROUND

    def check_size(self, height: int, width: int, given: str) -> None:
        rows, columns = self.weights.shape
        if rows > height or columns > width:
            raise ValueError(
                f"kernel must be at most as large as the picture: {self.kernel} is {columns}×{rows}, it is {given}"
            )

    def record(self) -> dict[str, Any]:
        import hashlib

        return {
            "kernel": self.kernel,
            "kernel_sha256": hashlib.sha256(self.weights.numpy().tobytes()).hexdigest(),
        }

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        """At least that of rounding to 8 bits; none is needed for a simulated blur of a periodic picture."""
        from restoration.tasks.beyond import ROUNDING

        return sigma or 0.0 if simulate and fit else max(sigma or 0.0, ROUNDING)

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        if noise == (sigma or 0.0):
            return []
        return [f"noise of σ = {noise:.2g} is assumed, as rounding to 8 bits leaves"]

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        import torch

        from restoration.tasks.beyond import continued

        if not frame.pads:
            return picture[None]
        inside = torch.zeros(frame.rows, frame.columns, dtype=torch.bool)
        frame.crop(inside).fill_(True)
        return continued(frame.pad(picture), inside, operator, sigma)[None]

    def simulated(
        self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float, noise: NormalSource
    ) -> Measurement:
        """The picture is blurred as if it went on mirrored; what lies beyond it is then not known."""
        from degradations import Measurement

        if not frame.pads:
            return super().simulated(picture, operator, frame, sigma, noise)
        blurred = frame.crop(operator(frame.pad(picture)[None]))
        blurred = blurred + sigma * noise.normal(blurred.shape).to(blurred)
        return Measurement(self.measured(blurred[0], operator, frame, sigma), operator, sigma)
