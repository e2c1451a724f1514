"""Several degradations at once, such as an old black-and-white print with scratches: "colorize+inpaint"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from restoration.tasks.colorize import Colorize
from restoration.tasks.deblur import Deblur
from restoration.tasks.demosaic import Demosaic
from restoration.tasks.denoise import Denoise
from restoration.tasks.inpaint import Inpaint
from restoration.tasks.kind import Kind, Shape
from restoration.tasks.published import Published
from restoration.tasks.super_resolution import Enlarge

if TYPE_CHECKING:
    from torch import Tensor

    from degradations import Measurement, SVDOperator
    from degradations.measurement import NormalSource
    from restoration.pictures.frame import Frame
    from restoration.pictures.picture import Picture

SPACE = (Enlarge, Deblur, Demosaic)


@dataclass(frozen=True)
class Composite(Kind):
    """A degrades in space (shrinks, blurs, takes one colour a pixel), in grey if asked, and then drops pixels.

    What composes has a singular value decomposition that is cheap: grey goes with everything in space, missing
    pixels with what measures each value by itself.

    Args:
        parts: of other kinds, in any order.
    """

    names = ("colorize+inpaint",)
    others = "colorize+sr4 and the like"
    help = "several at once"

    parts: tuple[Kind, ...] = ()

    def __post_init__(self) -> None:
        def any_of(name: str) -> bool:
            return any(getattr(part, name) for part in self.parts)

        for name, value in {
            "factor": max((part.factor for part in self.parts), default=1),
            "takes_mask": any_of("takes_mask"),
            "options": tuple(dict.fromkeys(option for part in self.parts for option in part.options)),
        }.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        if "+" not in name:
            return None
        from restoration.tasks.registry import kind_of

        parts = tuple(kind_of(part) for part in name.split("+"))
        why = _impossible(parts)
        if why:
            raise ValueError(f"{name} cannot be restored: {why}")
        return cls(parts=parts)

    @classmethod
    def key(cls, measurement: Measurement) -> str | None:
        return None

    def with_options(self, given: Mapping[str, Any]) -> Self:
        parts = tuple(
            part.with_options({name: given[name] for name in part.options if name in given}) for part in self.parts
        )
        return replace(self, parts=parts)

    def suffixes(self, simulate: bool) -> tuple[str, ...]:
        return self.space.suffixes(simulate)

    def read(self, path: Path) -> Picture:
        return self.space.read(path)

    def opened(self, path: Path, picture: Tensor) -> tuple[Self, Tensor]:
        parts = []
        for part in self.parts:
            opened, picture = part.opened(path, picture)
            parts.append(opened)
        return replace(self, parts=tuple(parts)), picture

    def check(self, sigma: float | None, simulate: bool, fit: bool) -> None:
        for part in self.parts:
            part.check(sigma, simulate, fit)
        if self.takes_mask and getattr(self.space, "reach", None) is not None:
            raise ValueError(
                f"inpaint does not go with {_name(self.space)} by kernel: a mask after it has no singular value "
                "decomposition that is cheap; leave the kernel away"
            )

    @property
    def padding(self) -> str:  # type: ignore[override]
        """How a picture is padded, in words."""
        return self.space.padding

    @property
    def grey(self) -> bool:
        """Whether colours are averaged."""
        return any(isinstance(part, Colorize) for part in self.parts)

    @property
    def space(self) -> Kind:
        """What degrades in space; denoising, which is nothing, where no part does."""
        return next((part for part in self.parts if not isinstance(part, (Colorize, Inpaint))), Denoise())

    def operator(self, shape: Shape, known: Tensor | None) -> SVDOperator:
        from degradations.grey import Grey
        from degradations.masked import Masked

        inner = self.space.operator((1, *shape[1:]) if self.grey else shape, None)
        if self.takes_mask:
            if known is None:
                raise ValueError("inpaint needs known, (H, W), True where the picture is known: got None")
            inner = Masked(inner, known)
        return Grey(shape, inner) if self.grey else inner

    def record(self) -> dict[str, Any]:
        return {name: value for part in self.parts for name, value in part.record().items()}

    def noise(self, sigma: float | None, simulate: bool, fit: bool) -> float:
        return self.space.noise(sigma, simulate, fit)

    def notes(self, sigma: float | None, noise: float) -> list[str]:
        return self.space.notes(sigma, noise)

    @property
    def margin(self) -> int:
        return self.space.margin

    @property
    def multiple(self) -> int:
        return self.space.multiple

    def check_fit(self, shape: Shape) -> None:
        self.space.check_fit(shape)

    def check_size(self, height: int, width: int, given: str) -> None:
        self.space.check_size(height, width, given)

    def measured_channels(self, channels: int) -> int:
        return 1 if self.grey else self.space.measured_channels(channels)

    def measured(self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float) -> Tensor:
        y = self.space.measured(picture, operator, frame, sigma)
        return operator.U(operator.Ut(y)) if self.takes_mask else y

    def simulated(
        self, picture: Tensor, operator: SVDOperator, frame: Frame, sigma: float, noise: NormalSource
    ) -> Measurement:
        return self.space.simulated(picture, operator, frame, sigma, noise)

    def turned(self, pictures: Tensor) -> Tensor:
        return self.space.turned(pictures)

    def planes(self, picture: Tensor) -> Tensor:
        return self.space.planes(picture)

    def look(self, y: Tensor, operator: SVDOperator) -> Tensor:
        """Missing values are mid-grey."""
        import torch

        if self.takes_mask:
            known = operator.U(operator.Ut(torch.ones_like(y)[None]))[0]
            y = torch.where(known > 0.5, y, 0.5)
        return self.space.look(y, operator)


def _impossible(parts: tuple[Kind, ...]) -> str | None:
    """Why such degradations cannot be restored at once; None where they can."""
    kinds = [type(part) for part in parts]
    doubled = [part for part in parts if kinds.count(type(part)) > 1]
    space = [part for part in parts if type(part) in SPACE]
    others = [part for part in parts if type(part) not in (Colorize, Inpaint, Denoise, *SPACE)]
    dear = "no singular value decomposition that is cheap"
    reasons = (
        (Denoise in kinds, "every task takes noise: leave denoise away and give --sigma"),
        (bool(others), f"{' and '.join(map(_name, others))} with another has {dear}"),
        (bool(doubled), f"{' and '.join(map(_name, doubled))} are of one kind"),
        (len(space) > 1, f"{' and '.join(map(_name, space))} together have {dear}"),
        (Colorize in kinds and Demosaic in kinds, "a mosaic has the colours that colorize lacks"),
        (Inpaint in kinds and Deblur in kinds, f"a mask after a blur has {dear}"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _name(part: Kind) -> str:
    if isinstance(part, Published):
        return part.called
    return f"sr{part.factor}" if isinstance(part, Enlarge) else part.names[0]
