"""Strokes of colour on a grey picture: somebody has said what colour is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from degradations import Measurement, hinted
from restoration.errors import ImageError
from restoration.pictures.picture import Picture

SIGMA = 0.03
"""Standard deviation of a stroke's chroma, [0, 1] units: what a colour that was picked by hand is off."""
SPREAD = 8.0
"""Pixels over which a stroke's colour fades into its surroundings."""
ALIKE = 0.1
"""Difference of lightness, [0, 1] units, over which it does."""
APART = 0.1
"""Standard deviation of chroma of pixels that have nothing to do with each other."""
FARTHEST = 2.5
"""Beyond so many times these, together, a pixel is not hinted at."""
NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Strokes:
    """What was painted.

    A pixel near a stroke and as light as it is likely to have its colour: with ρ = exp(−d²/2) of its distance d,
    in ``spread`` pixels and in ``ALIKE`` of lightness, it is hinted at with noise ``APART`` √(1 − ρ²)/ρ.

    Args:
        colours: (3, H, W) in [0, 1].
        where: (H, W), True where something was painted.
        sigma: of a stroke's chroma, [0, 1] units; 0 keeps it exactly.
        spread: pixels over which it fades; 0 leaves it to the painted pixels.
        sha256: of the bytes it came in, for the record.

    Raises:
        ValueError: a negative sigma or spread, or not finite.
    """

    colours: Tensor
    where: Tensor
    sigma: float = SIGMA
    spread: float = SPREAD
    sha256: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("sigma", 1), ("spread", 10_000)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise ValueError(f"strokes' {name} must be from 0 to {most}: got {value}")

    @classmethod
    def of(
        cls, picture: Picture, name: str, sigma: float = SIGMA, spread: float = SPREAD, sha256: str | None = None
    ) -> Strokes:
        """From a picture whose opaque pixels are strokes.

        Raises:
            ImageError: it has no transparency, or nothing in it is opaque.
        """
        if picture.alpha is None:
            raise ImageError(f"{name} has no transparency: strokes are colours on a transparent ground (PNG)")
        where = picture.alpha[0] >= 0.5
        if not bool(where.any()):
            raise ImageError(f"{name} is transparent everywhere: there is no stroke in it")
        return cls(picture.pixels.expand(3, -1, -1), where, sigma, spread, sha256)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.where.shape[0], self.where.shape[1]

    def moved(self, rgba: Tensor) -> Strokes:
        """The strokes after their picture, :attr:`rgba`, was cropped, padded or resampled."""
        where = rgba[3] >= 0.5
        return replace(self, colours=(rgba[:3] / rgba[3:].clamp(min=0.5)).clamp(0, 1), where=where)

    @property
    def rgba(self) -> Tensor:
        """(4, H, W): colours, 0 where nothing was painted, and 1 where something was."""
        return torch.cat([torch.where(self.where, self.colours, 0), self.where[None].to(self.colours)])

    def put_on(self, measurement: Measurement) -> Measurement:
        """The measurement of a grey picture of the same size, with the strokes as measured colours.

        Raises:
            ImageError: none of them is left in the part of the picture that is restored.
        """
        if not bool(self.where.any()):
            raise ImageError("no stroke is in the part of the picture that is restored")
        noise = torch.where(self.where, self.sigma, torch.inf)
        if not self.spread:
            return hinted(measurement, self.colours, noise)
        colours, around = self._spread(measurement.y[0, 0].detach().cpu().float())
        noise = torch.where(self.where, noise, (around**2 + self.sigma**2).sqrt())
        return hinted(measurement, torch.where(self.where, self.colours, colours), noise)

    def _spread(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """For every pixel the colour of the strokes that are near and as light, and its noise."""
        from scipy.ndimage import distance_transform_edt  # slow to import
        from scipy.spatial import cKDTree

        height, width = grey.shape
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([rows / self.spread, columns / self.spread, grey / ALIKE], dim=-1)
        away = torch.from_numpy(distance_transform_edt(~self.where.numpy()))
        near = (away <= FARTHEST * self.spread) & ~self.where  # of a large picture little is
        painted, others = places[self.where], places[near]
        chroma = (self.colours - self.colours.mean(dim=0))[:, self.where]
        # An entry more, infinitely far, is what the tree gives where there are not so many neighbours.
        chroma = torch.cat([chroma, torch.zeros(3, 1)], dim=1)
        count = min(NEIGHBOURS, len(painted))
        found = cKDTree(painted.numpy()).query(
            others.numpy(), k=range(1, count + 1), distance_upper_bound=FARTHEST
        )
        distance, which = (torch.from_numpy(part) for part in found)
        rho = (-(distance.float() ** 2) / 2).exp()
        best = rho.amax(dim=1)
        mean = torch.einsum("pn,cpn->cp", rho, chroma[:, which]) / rho.sum(dim=1).clamp(min=1e-9)
        noise = torch.where(best > 0, APART * (1 - best**2).sqrt() / best.clamp(min=1e-9), torch.inf)
        colours, spread = torch.full((3, height, width), 0.5), torch.full((height, width), torch.inf)
        colours[:, near] = 0.5 + mean
        spread[near] = noise
        return colours, spread
