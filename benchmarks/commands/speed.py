"""What restoring costs beside the bare network: ratios first, measured in turns in one run.

On a machine that does other work only the ratios mean something: every number of a row is taken in the same
rounds, a bare pass, a step and a restoration after one another, for all variants of the network in turn, and
ratios are formed within a round before their median is taken. ``--clock processor`` counts the processor's
seconds, of all threads, which other work changes less; with one thread and a free core they are the wall's.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor

from benchmarks.commands.speed_table import Row, Variant, conditions, table
from benchmarks.studies.checkpoint import memory, write_random
from benchmarks.studies.costs import FreePrior, clocked
from degradations import Inpainting, Measurement, SuperResolution, simulate
from nested.files import atomic_write
from restoration.priors import DiffusionPrior, load_prior
from restoration.restorer import Restorer
from solvers import DDRM, NoiseSource
from solvers.units import to_model

CLOCKS = {"wall": perf_counter, "processor": process_time}
ARCHITECTURES = ("celeba_hq",)
WARM_UP = 1
"""Rounds before the clock counts."""


ON_CPU = (Variant("cpu"), Variant("cpu", channels_last=False))
ON_GPU = (
    Variant("cuda"),
    Variant("cuda", channels_last=False),
    Variant("cuda", "bf16"),
    Variant("cuda", "bf16", channels_last=False),
    Variant("cuda", "bf16", compiled=True),
)


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
    name: str,
    variants: Sequence[Variant],
    batches: Sequence[int],
    outer: int,
    inner: int,
    rounds: int,
    clock: str = "wall",
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
                case.time(row, clock)
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
        self.runs, free = {}, FreePrior(to_model(clean))
        for name, operator in operators.items():
            self.measurement: Measurement = simulate(clean, operator.to(prior.device), 0.0, noise=self.noise)
            ddrm = DDRM(free, self.measurement.in_model_units())
            self.runs[name] = ddrm.follow(self.x, ddrm.schedule.steps(ddrm.schedule.K, rounds + 2), self.noise)
            next(self.runs[name])  # the first one also starts the run

    def time(self, row: Row, clock: str) -> None:
        """A round."""
        device, by = self.x.device, CLOCKS[clock]
        clocked(device, row.passes, partial(passes, self.prior, self.x, row.evaluations), by)
        for name, run in self.runs.items():
            clocked(device, row.steps.setdefault(name, []), partial(next, run), by)
        clocked(device, row.restored, self.restore, by)

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


def run(
    prior: str,
    architecture: str | None,
    device: str,
    batches: Sequence[int],
    split: tuple[int, int],
    rounds: int,
    clock: str,
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
    if clock not in CLOCKS:
        raise ValueError(f"--clock must be wall or processor: got {clock!r}")
    kinds: list[tuple[Variant, ...]] = [ON_CPU] if device != "cuda" else []
    kinds += [ON_GPU] if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else []
    folder.mkdir(parents=True, exist_ok=True)
    with named(prior, architecture) as name:
        shape = load_prior(name, "cpu").image_shape
        rows = [row for variants in kinds for row in measure(name, variants, batches, *split, rounds, clock)]
    title = conditions(f"{architecture} with random weights" if architecture else prior, rows, shape, clock)
    lines = table(rows, title)
    told = json.dumps({"conditions": title, "rows": [row.told for row in rows]}, indent=2, ensure_ascii=False)
    atomic_write(folder / "speed.json", lambda file: file.write(f"{told}\n".encode()))
    atomic_write(folder / "speed.md", lambda file: file.write(("\n".join(lines) + "\n").encode()))
    return lines
