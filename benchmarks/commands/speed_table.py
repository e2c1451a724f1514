"""What ``benchmarks.commands.speed`` measured, as ratios and as a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from benchmarks.engine.chunk import hardware


@dataclass(frozen=True)
class Variant:
    """A way to run the network."""

    device: str
    precision: str = "fp32"
    compiled: bool = False
    channels_last: bool = True

    def __str__(self) -> str:
        parts = [self.device, self.precision, "compiled" if self.compiled else ""]
        return " ".join(part for part in [*parts, "" if self.channels_last else "contiguous"] if part)


@dataclass
class Row:
    """One variant at one batch size: seconds, by round, and bytes.

    Args:
        passes: of the bare network, as many as a restoration has evaluations.
        restored: of a restoration from measurement to pictures.
        steps: of a DDRM step whose x̂₀ is given, by operator.
        first: seconds of passes of the first variant in the same rounds.
        peaks: most memory beyond the loaded network, of a bare pass and of a restoration.
    """

    variant: Variant
    batch: int
    evaluations: int
    passes: list[float] = field(default_factory=list)
    restored: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    peaks: tuple[int, int] = (0, 0)

    @property
    def ratio(self) -> float:
        """A restoration's time over its network evaluations' alone."""
        return _ratio(self.restored, self.passes)

    @property
    def against_first(self) -> float:
        """This variant's bare pass over the first one's."""
        return _ratio(self.passes, self.first)

    def overhead(self, operator: str) -> float:
        """A step's share of a bare pass."""
        return _ratio(self.steps[operator], self.passes) * self.evaluations

    @property
    def told(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "variant": str(self.variant),
            "batch": self.batch,
            "evaluations": self.evaluations,
            "restoration / passes": self.ratio,
            "step / pass": {operator: self.overhead(operator) for operator in self.steps},
            "pass / first variant's": self.against_first,
            "images / s": self.batch / median(self.restored),
            "seconds a pass": median(self.passes) / self.evaluations,
            "peak bytes of a pass": self.peaks[0],
            "peak bytes of a restoration": self.peaks[1],
            "rounds": len(self.passes),
        }


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def table(rows: Sequence[Row], title: str) -> list[str]:
    """Markdown: ratios, then memory, then seconds."""
    operators = list(rows[0].steps)
    head = ["network", "batch", "restoration ÷ passes", *(f"{name} step ÷ pass" for name in operators)]
    head += ["pass ÷ first variant's", "peak MB of a pass, of a restoration", "images/s", "ms a pass"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        told = row.told
        cells = [str(row.variant), str(row.batch), f"{row.ratio:.3f}"]
        cells += [f"{row.overhead(name):.4f}" for name in operators]
        cells += [f"{row.against_first:.2f}", " and ".join(f"{peak / 1e6:.0f}" for peak in row.peaks)]
        cells += [f"{told['images / s']:.3g}", f"{1e3 * told['seconds a pass']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", title]


def conditions(name: str, rows: Sequence[Row], shape: Sequence[int], clock: str) -> str:
    """Device, threads and what was done, in a line."""
    devices = sorted({row.variant.device for row in rows})
    chips = ", ".join(hardware(torch.device(device)) for device in devices)
    load_average = (
        f", load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    )
    return (
        f"{name}, {'×'.join(map(str, shape))}; {chips}, {platform.system()}, {torch.get_num_threads()} threads"
        f"{load_average}; torch {torch.__version__}; {rows[0].evaluations} evaluations a restoration, medians of "
        f"{len(rows[0].passes)} rounds in turns, {clock} clock. "
        "A step is DDRM's with x̂₀ given, its noise included."
    )
