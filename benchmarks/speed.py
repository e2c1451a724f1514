"""What restoring costs beside the bare network: ratios first, measured in turns in one run.

On a machine that does other work only the ratios mean something: every number of a row is taken in the same
rounds, a bare pass, a step and a restoration after one another, for all variants of the network in turn, and
ratios are formed within a round before their median is taken.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.checkpoint import memory, write_random
from benchmarks.chunk import hardware
from benchmarks.ddrm_step import FreePrior, clocked
from degradations import Inpainting, Measurement, SuperResolution, simulate
from nested.files import atomic_write
from restoration.priors import DiffusionPrior, load_prior
from restoration.restorer import Restorer
from solvers import DDRM, NoiseSource

ARCHITECTURES = ("celeba_hq",)
WARM_UP = 1
"""Rounds before the clock counts."""


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


ON_CPU = (Variant("cpu"), Variant("cpu", channels_last=False))
ON_GPU = (
    Variant("cuda"),
    Variant("cuda", channels_last=False),
    Variant("cuda", "bf16"),
    Variant("cuda", "bf16", channels_last=False),
    Variant("cuda", "bf16", compiled=True),
)


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


@contextlib.contextmanager
def named(prior: str, architecture: str | None) -> Iterator[str]:
    """What ``load_prior`` takes: a prior's name, or a checkpoint with random weights while the block runs.

    Raises:
        ValueError: an unknown architecture.
    """
    if architecture is None:
        yield prior
        return
    if architecture not in ARCHITECTURES:
        raise ValueError(f"--architecture must be {' or '.join(ARCHITECTURES)}: got {architecture!r}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{architecture}.ckpt"  # by which name its settings are known
        write_random(path)
        yield str(path)


def load(name: str, variant: Variant) -> DiffusionPrior:
    """The network, as the variant runs it."""
    prior = load_prior(name, variant.device, variant.precision, compile=variant.compiled)
    if not variant.channels_last:
        prior.network.to(memory_format=torch.contiguous_format)
    return prior


def measure(
    name: str, variants: Sequence[Variant], batches: Sequence[int], outer: int, inner: int, rounds: int
) -> list[Row]:
    """All variants of a device at all batch sizes, in turns.

    Raises:
        PriorError, ValueError: the network cannot be had so.
    """
    benches = [(variant, load(name, variant)) for variant in variants]
    rows = []
    for batch in batches:
        some = [(Row(variant, batch, outer * inner), prior) for variant, prior in benches]
        cases = [_Case(prior, batch, outer, inner, WARM_UP + rounds) for _, prior in some]
        for turn in range(WARM_UP + rounds):
            for (row, _), case in zip(some, cases, strict=True):
                case.time(row)
                if turn < WARM_UP:
                    row.passes, row.restored, row.steps = [], [], {}
        for row, prior in some:
            row.first = some[0][0].passes
            if row.variant.device != "cpu":
                row.peaks = peaks(prior, batch, outer, inner)
            rows.append(row)
    del benches
    gc.collect()
    if variants[0].device == "cpu":
        # a process of its own: this one keeps memory of other sizes and variants
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            for variant in variants:
                found = pool.submit(_peaks_of, name, variant, list(batches), outer, inner).result()
                for row in rows:
                    row.peaks = found[row.batch] if row.variant == variant else row.peaks
    return rows


class _Case:
    """What is timed of one network at one batch size."""

    def __init__(self, prior: DiffusionPrior, batch: int, outer: int, inner: int, rounds: int) -> None:
        self.prior, self.outer, self.inner = prior, outer, inner
        generator = torch.Generator().manual_seed(0)
        clean = torch.rand(batch, *prior.image_shape, generator=generator).to(prior.device)
        mask = torch.rand(prior.image_shape[1:], generator=generator) < 0.5
        operators = {
            "SR4": SuperResolution(prior.image_shape, 4),
            "inpainting": Inpainting(prior.image_shape, mask),
        }
        self.noise = NoiseSource(range(batch), prior.device)
        self.x = self.noise.normal(clean.shape)
        self.runs, free = {}, FreePrior(2 * clean - 1)
        for name, operator in operators.items():
            self.measurement: Measurement = simulate(clean, operator.to(prior.device), 0.0, noise=self.noise)
            ddrm = DDRM(free, self.measurement.in_model_units())
            self.runs[name] = ddrm.follow(self.x, ddrm.schedule.steps(ddrm.schedule.K, rounds + 2), self.noise)
            next(self.runs[name])  # the first one also starts the run

    def time(self, row: Row) -> None:
        """A round."""
        clocked(self.x.device, row.passes, partial(passes, self.prior, self.x, self.outer * self.inner))
        for name, run in self.runs.items():
            clocked(self.x.device, row.steps.setdefault(name, []), partial(next, run))
        clocked(self.x.device, row.restored, self.restore)

    def restore(self) -> Tensor:
        """From measurement to pictures."""
        seeds = range(len(self.x))
        done = Restorer(self.prior).restore(self.measurement, outer=self.outer, inner=self.inner, seeds=seeds)
        return done.image


@torch.no_grad()
def passes(prior: DiffusionPrior, x: Tensor, count: int) -> None:
    """The bare network, so many times."""
    x = x.to(prior.network.dtype)
    for _ in range(count):
        prior.network(x, 500)


def peaks(prior: DiffusionPrior, batch: int, outer: int, inner: int) -> tuple[int, int]:
    """The most memory that a bare pass and a restoration take beyond what is held before."""
    case = _Case(prior, batch, outer, inner, 1)
    found = []
    for action in (partial(passes, prior, case.x, 1), case.restore):
        gc.collect()
        if prior.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(prior.device)
            before = torch.cuda.memory_allocated(prior.device)
            action()
            found.append(torch.cuda.max_memory_allocated(prior.device) - before)
            continue
        clear = Path("/proc/self/clear_refs")
        if not clear.exists():
            return 0, 0  # only Linux tells
        with contextlib.suppress(AttributeError):  # another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)  # else what the last one freed is there to be had
        clear.write_text("5", encoding="ascii")  # the peak starts from here
        before = memory("VmRSS")
        action()
        found.append(memory("VmHWM") - before)
    return found[0], found[1]


def _peaks_of(
    name: str, variant: Variant, batches: list[int], outer: int, inner: int
) -> dict[int, tuple[int, int]]:
    prior = load(name, variant)
    passes(prior, torch.zeros(1, *prior.image_shape), 1)  # libraries make what they keep
    return {batch: peaks(prior, batch, outer, inner) for batch in batches}


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


def conditions(name: str, rows: Sequence[Row], shape: Sequence[int]) -> str:
    """Device, threads and what was done, in a line."""
    devices = sorted({row.variant.device for row in rows})
    chips = ", ".join(hardware(torch.device(device)) for device in devices)
    load_average = (
        f", load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    )
    return (
        f"{name}, {'×'.join(map(str, shape))}; {chips}, {platform.system()}, {torch.get_num_threads()} threads"
        f"{load_average}; torch {torch.__version__}; {rows[0].evaluations} evaluations a restoration, medians of "
        f"{len(rows[0].passes)} rounds in turns. A step is DDRM's with x̂₀ given, its noise included."
    )


def run(
    prior: str,
    architecture: str | None,
    device: str,
    batches: Sequence[int],
    split: tuple[int, int],
    rounds: int,
    folder: Path,
) -> list[str]:
    """Measure, write ``speed.json`` and ``speed.md`` into a folder, and return the latter's lines.

    Raises:
        RestorationError, ValueError: one line.
    """
    if min(batches) < 1 or min(split) < 1 or rounds < 1:
        raise ValueError(f"--batches and --rounds must be at least 1: got {tuple(batches)} and {rounds}")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device must be auto, cpu or cuda: got {device!r}")
    kinds = [ON_CPU] if device != "cuda" else []
    kinds += [ON_GPU] if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else []
    folder.mkdir(parents=True, exist_ok=True)
    with named(prior, architecture) as name:
        shape = load_prior(name, "cpu").image_shape
        rows = [row for variants in kinds for row in measure(name, variants, batches, *split, rounds)]
    title = conditions(f"{architecture} with random weights" if architecture else prior, rows, shape)
    lines = table(rows, title)
    told = json.dumps({"conditions": title, "rows": [row.told for row in rows]}, indent=2, ensure_ascii=False)
    atomic_write(folder / "speed.json", lambda file: file.write(f"{told}\n".encode()))
    atomic_write(folder / "speed.md", lambda file: file.write(("\n".join(lines) + "\n").encode()))
    return lines
