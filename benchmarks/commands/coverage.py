"""What intervals of samples hold: a factor is chosen on one half of held-out pictures and tried on the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine import calibrating
from benchmarks.engine.case import Case
from benchmarks.engine.chunk import problem_of, seed_of
from benchmarks.engine.markdown import markdown
from nested.files import atomic_write
from nested.reading import conform, read_json
from restoration.errors import ImageError
from restoration.pictures.sources import Source
from restoration.priors import DiffusionPrior
from restoration.priors.calibration import key_of
from restoration.priors.coverage import KEY, Coverage
from restoration.restorer import Restorer
from restoration.tasks import calibration_key
from restoration.uncertainty import FACTORS, factor_for, missed
from solvers import Spectral, record_of

FILE = "coverage.json"
MOST = 64_000_000
"""Bytes of a results file that is gone on with."""
UNCALIBRATED = 2.0
"""The factor that is tried for comparison: mean ± 2 std."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        samples: of every picture.
        allocation: inner steps of every outer step; samples are looked at after each.
        level, confidence: the promise, as ``uncertainty.factor_for`` has it.
    """

    samples: int = 8
    allocation: tuple[int, ...] = (10, 10, 10)
    level: float = 0.9
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"--samples must be at least 2: got {self.samples}")
        factor_for(torch.zeros(10_000, len(FACTORS)), self.level, self.confidence)  # says so where they are none


Losses = dict[str, dict[int, list[float]]]
"""Of every picture by name and every look by evaluations: what each of ``FACTORS`` misses."""


class Book:
    """What was measured, in a file that is kept up with every picture, so that a stopped command goes on.

    Args:
        file: its place.
        told: what the numbers depend on.

    Raises:
        ValueError: a file of other conditions, or none of ours, without ``overwrite``.
    """

    def __init__(self, file: Path, told: dict[str, Any], *, overwrite: bool = False) -> None:
        self._file, self._told = file, told
        self.losses: dict[str, Losses] = {}
        self.keys: dict[str, str] = {}
        if overwrite or not file.exists():
            return
        before = conform(read_json(file, MOST), dict[str, Any], file.name)
        if before.get("told") != told:
            raise ValueError(
                f"{file} holds a measurement of other conditions; choose another output, or --overwrite"
            )
        found = conform(before.get("losses"), dict[str, dict[str, dict[str, list[float]]]], "losses")
        self.keys = conform(before.get("keys"), dict[str, str], "keys")
        for task, pictures in found.items():
            if any(len(row) != len(FACTORS) for looks in pictures.values() for row in looks.values()):
                raise ValueError(f"{file} is damaged: its rows must have {len(FACTORS)} numbers; --overwrite")
            self.losses[task] = {
                name: {int(nfe): row for nfe, row in looks.items()} for name, looks in pictures.items()
            }

    def put(self, task: str, key: str, name: str, looks: dict[int, list[float]]) -> None:
        """Keep a picture's."""
        self.losses.setdefault(task, {})[name] = looks
        self.keys[task] = key
        text = json.dumps({"told": self._told, "keys": self.keys, "losses": self.losses})
        self._file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self._file, lambda stream: stream.write(text.encode()))


def told_of(prior: DiffusionPrior, sampler: Spectral.Settings, plan: Plan, fit: bool) -> dict[str, Any]:
    """What the numbers depend on, but for the tasks, the pictures and the promise."""
    return {
        "prior fingerprint": prior.fingerprint(),
        **record_of(sampler),
        "samples": plan.samples,
        "allocation": list(plan.allocation),
        "factors": [round(factor, 6) for factor in FACTORS],
        "fit": fit,
    }


def losses_of(
    prior: DiffusionPrior, sampler: Spectral.Settings, case: Case, source: Source, plan: Plan
) -> tuple[str | None, dict[int, list[float]]]:
    """The measurement's key in a calibration, and what intervals of one picture's samples miss, by evaluations.

    Raises:
        ImageError, OSError: it cannot be read or used.
    """
    problem = problem_of(case, source, prior.image_shape)
    assert problem.original is not None  # simulated
    looks: dict[int, list[float]] = {}
    seed = seed_of(source.name)
    stream = Restorer(prior, sampler).stream(
        problem.measurement.expand(plan.samples),
        allocation=plan.allocation,
        seeds=range(seed, seed + plan.samples),
    )
    for preview in stream:
        if preview.complete:
            images: Tensor = problem.finished(preview.image.cpu())
            looks[preview.nfe] = [round(loss, 6) for loss in missed(images, problem.original).tolist()]
    return calibration_key(problem.measurement), looks


def measure(
    prior: DiffusionPrior,
    sampler: Spectral.Settings,
    cases: Sequence[Case],
    sources: Sequence[Source],
    plan: Plan,
    book: Book,
    watch: Callable[[str, str], bool],
    miss: Callable[[str], object],
) -> bool:
    """Measure what the book does not have yet; whether all is there that can be read.

    Args:
        watch: told every picture's task and name; true stops.
        miss: told of a picture that cannot be read or used, in one line.
    """
    for case in cases:
        for source in sources:
            if source.name in book.losses.get(case.name, {}):
                continue
            try:
                key, looks = losses_of(prior, sampler, case, source, plan)
            except (ImageError, OSError) as error:
                miss(f"{source.name} is left out: {error}")
                continue
            if key is None:
                raise ValueError(f"--tasks: of {case.title} no calibration can be kept")
            book.put(case.name, key, source.name, looks)
            if watch(case.name, source.name):
                return False
    return True


def halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names in two halves, as by chance and always alike."""
    ordered = sorted(names, key=lambda name: (seed_of(f"half {name}"), name))
    middle = len(ordered) // 2
    return ordered[:middle], ordered[middle:]


def coverages(
    book: Book,
    cases: Sequence[Case],
    sampler: Spectral.Settings,
    plan: Plan,
    names: Sequence[str],
    tried: Sequence[str] = (),
) -> dict[str, list[tuple[Coverage, float]]]:
    """By task what intervals hold after every inner run, and what mean ± 2 std does, on pictures of their own.

    Args:
        names: of pictures of which the first half chooses factors, and the second tries them.
        tried: of others that try them; then all of ``names`` choose.

    Raises:
        ValueError: too few pictures for the promise.
    """
    found: dict[str, list[tuple[Coverage, float]]] = {}
    plain = min(range(len(FACTORS)), key=lambda i: abs(FACTORS[i] - UNCALIBRATED))
    for case in cases:
        pictures = book.losses.get(case.name, {})
        first, second = halves([name for name in names if name in pictures])
        if tried:
            first, second = first + second, [name for name in tried if name in pictures]
        for nfe in sorted({nfe for looks in pictures.values() for nfe in looks}):
            rows = [torch.tensor([pictures[name][nfe] for name in half]) for half in (first, second)]
            factor = factor_for(rows[0].double(), plan.level, plan.confidence)
            held = 1 - rows[1][:, FACTORS.index(factor)]
            coverage = Coverage(
                sampler=key_of(record_of(sampler)),
                task=book.keys[case.name],
                sigma=case.task.sigma or 0.0,
                allocation=plan.allocation,
                nfe=nfe,
                samples=plan.samples,
                level=plan.level,
                factor=round(factor, 4),
                coverage=round(float(held.mean()), 4),
                deviation=round(float(held.std()) if len(held) > 1 else 0.0, 4),
                pictures=len(second),
                calibrated=len(first),
                confidence=plan.confidence,
            )
            found.setdefault(case.name, []).append((coverage, float(1 - rows[1][:, plain].mean())))
    return found


def tables(found: dict[str, list[tuple[Coverage, float]]], plan: Plan) -> list[str]:
    """Markdown lines."""
    rows = [
        [name, str(one.nfe), f"{one.factor:.2f}", f"{one.coverage:.1%} ± {one.deviation:.1%}", f"{plain:.1%}"]
        for name, listed in found.items()
        for one, plain in listed
    ]
    head = ["task", "NFE", "factor", f"held of {plan.level:.0%}, over pictures", "mean ± 2 std holds"]
    return markdown(head, rows)


def calibrate(found: dict[str, list[tuple[Coverage, float]]], fingerprint: str, file: Path) -> None:
    """Put it into a prior's calibration, in place of what that held for the same."""
    new = [one for listed in found.values() for one, _ in listed]

    def same(told: dict[str, Any], one: Coverage) -> bool:
        mine = one.told()
        keys = ("sampler", "task", "sigma", "allocation", "nfe", "samples", "level")
        return all(told.get(key) == mine[key] for key in keys)

    def changed(before: dict[str, Any]) -> dict[str, Any]:
        kept = [told for told in before.get(KEY, []) if not any(same(told, one) for one in new)]
        return {KEY: [*kept, *(one.told() for one in new)]}

    calibrating.put(file, fingerprint, changed)


def simulated(case: Case) -> Case:
    """The same at the prior's own size."""
    return replace(case, task=replace(case.task, fit=True))
