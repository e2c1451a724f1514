"""How far two sets of images are from one another, and whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass

RELIABLE = 2048
"""Images of either set from which on a distance is not marked unreliable: Inception has as many features."""


@dataclass(frozen=True)
class Distance:
    """A distance between the distributions of two sets' features.

    Args:
        name: "FID", "KID", or "FD-…", "KD-…" on other features than Inception's.
        value: lower is better; a kernel distance may be a little below 0.
        images: how many restored ones it is of.
        references: how many originals.
        spread: standard deviation over the subsets, of a kernel distance.
    """

    name: str
    value: float
    images: int
    references: int
    spread: float | None = None

    @property
    def reliable(self) -> bool:
        """Whether both sets have ``RELIABLE`` images or more: with fewer the estimate is biased upwards."""
        return min(self.images, self.references) >= RELIABLE

    def __str__(self) -> str:
        value = f"{self.name} {self.value:.4g}" + ("" if self.spread is None else f" ± {self.spread:.2g}")
        few = min(self.images, self.references)
        return value if self.reliable else f"{value} (unreliable: {few:,} images, fewer than {RELIABLE:,})"
