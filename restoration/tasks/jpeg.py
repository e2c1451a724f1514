"""Undoing JPEG: the coefficients in a file are measured, each to half of its step."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from restoration.tasks.kind import Kind, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from degradations.measurement import NormalSource
    from restoration.pictures.frame import Frame
    from restoration.pictures.jpeg import JPEGFile

WITHIN = 0.45
"""How far from a file's coefficient a result may be, in steps: a half, less what rounding to 8 bits moves."""
ROUNDS = 3


@dataclass(frozen=True)
class Jpeg(Kind):
    """A is colours, block transform and division by the file's tables; the file itself tells them.

    Args:
        quality: of ``--simulate``, as Pillow's, 4:2:0; a file tells its own.
        file: the numbers of the file that is restored.
    """

    names = ("jpeg",)
    others = "or, simulated, jpeg10 for --quality 10"
    help = "undo JPEG's compression, from the JPEG file"
    takes_sigma = False
    options = ("quality",)
    padding = "with mirrored blocks"

    quality: int | None = None
    file: JPEGFile | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        found = re.fullmatch(r"jpeg([1-9][0-9]?|100)?", name)
        return cls(quality=int(found[1]) if found[1] else None) if found else None

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        if sigma:
            raise ValueError(f"sigma must be left away for jpeg, whose noise is its rounding: got {sigma:g}")
        if simulate and (self.quality is None or not 1 <= self.quality <= 100):
            raise ValueError(f"jpeg with simulate needs quality, 1 to 100 (--quality): got {self.quality}")
        if not simulate and self.quality is not None:
            raise ValueError("quality is for simulate (--simulate): a JPEG file tells its own tables")
        if fit and not simulate:
            raise ValueError("fit would cut a JPEG file's blocks: leave it away (--fit)")

    def opened(self, path: Path, picture: Tensor) -> tuple[Self, Tensor]:
        """The task with the file's numbers, and the picture as it is stored, not turned upright."""
        from restoration.pictures import jpeg

        file = jpeg.read(path)
        return replace(self, file=file), file.as_stored(picture).contiguous()

    def degrading(self, picture: Tensor) -> Self:
        from restoration.pictures import jpeg

        assert self.quality is not None  # checked
        return replace(self, file=jpeg.encoded(picture, self.quality))

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        file = self._known
        colours = "grey" if len(file.tables) == 1 else file.subsampling
        steps = [float(end) for end in (file.tables[0].min(), file.tables[0].max())]
        return [
            f"JPEG, {colours}, luma in steps from {steps[0]:g} to {steps[1]:g} of 255; rounding is taken as σ = "
            f"{noise:.2f} of a step"
        ]

    @property
    def _known(self) -> JPEGFile:
        if self.file is None:
            raise ValueError("jpeg needs the JPEG file, whose numbers it restores from: Task.opened(path)")
        return self.file

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        return self._known.rounding()

    @property
    def multiple(self) -> int:
        return 16 if self.file is None else max(self.file.block)

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations import JPEG

        file = self._suited(shape[0])
        return JPEG(shape, file.tables, file.subsampling)

    def _suited(self, channels: int) -> JPEGFile:
        """The file's numbers for images of 1 or 3 channels."""
        return self._known.coloured() if channels == 3 else self._known.luma()

    def _whole(self, channels: int) -> tuple[SVDOperator, Tensor]:
        """The operator of the file's macroblocks, and what was measured of them, (1, n, H', W')."""
        from degradations import JPEG
        from degradations.blocks import level

        file = self._suited(channels)
        operator = JPEG((channels, file.rows, file.columns), file.tables, file.subsampling)
        planes, rows, columns = operator.measurement_shape
        shift = level(file.tables, planes).repeat(1, rows // 8, columns // 8)
        return operator, (file.coefficients + shift).float()[None]

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        """The file's numbers; around them those of its mirrored picture, in whole macroblocks."""
        import torch

        whole, y = self._whole(operator.image_shape[0])
        rows, columns = operator.image_shape[1:]
        if whole.image_shape == operator.image_shape:
            return y
        x = whole.pinv(y)
        down, across = (
            _mirrored(torch.arange(size) - begin, side)
            for size, begin, side in zip((rows, columns), (frame.top, frame.left), x.shape[2:], strict=True)
        )
        around: Tensor = operator(x[..., down, :][..., across])
        return around

    def simulated(
        self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float, noise: NormalSource
    ) -> Measurement:
        """What Pillow's file of the picture holds."""
        from degradations import Measurement

        return Measurement(self.measured(picture, operator, frame, sigma), operator, sigma)

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        return operator.pinv(y[None])[0]

    def settled(self, images: Tensor, measurement: Measurement) -> Tensor:
        """The nearest pictures, by A's own measure, whose coefficients the file's may have been rounded from."""
        operator, y = measurement.operator, measurement.y.to(images)
        for _ in range(ROUNDS):
            there = operator(images)
            images = (images + operator.pinv(there.clamp(y - WITHIN, y + WITHIN) - there)).clamp(0, 1)
        return images

    def turned(self, pictures: Tensor) -> Tensor:
        return self._known.upright(pictures)

    def unturned(self, pictures: Tensor) -> Tensor:
        return self._known.as_stored(pictures)

    def facts(self, picture: Tensor) -> dict[str, float]:
        """The share of the file's coefficients that the picture, in 8 bits, has with its tables: "reencoded"."""
        import torch

        stored = self._known.as_stored(picture.cpu())
        file, (whole, y) = self._suited(len(stored)), self._whole(len(stored))
        right, low = file.columns - file.width, file.rows - file.height
        padded = torch.nn.functional.pad(stored[None], (0, right, 0, low), mode="replicate")
        # Rounding is of the file's numbers: luma's level is not always a whole number of steps.
        shift = y - file.coefficients
        again = (whole((padded.clamp(0, 1) * 255).round() / 255) - shift).round()
        same = again == (y - shift).round()
        # What lies beyond the picture in its last macroblocks is the encoder's own.
        down, across = (side // 8 for side in file.block)
        rows, columns = file.height // (8 * down) * 8, file.width // (8 * across) * 8
        same = same[..., : rows or None, : columns or None]
        return {"reencoded": round(float(same.float().mean()), 5)}

    def record(self) -> dict[str, Any]:
        return {} if self.quality is None else {"quality": self.quality}


def _mirrored(place: Tensor, side: int) -> Tensor:
    """Which of ``side`` pixels stands at each place, mirrored at the edges of blocks."""
    import torch

    place = place % (2 * side)
    return torch.minimum(place, 2 * side - 1 - place)
