"""From results folders of ``restore-bench compare`` to one cell a method and task."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.commands.compare import COMPARED
from benchmarks.engine.results import Results
from benchmarks.engine.summary import TaskSummary, summarise
from benchmarks.engine.trials import Look
from benchmarks.metrics.features import FeatureSpace
from nested.reading import conform, read_json
from restoration.errors import OutputError

SAME = 1e-6
"""dB: how far a stored mean may be from the chunks' own for the distance beside it to be of the same pictures."""


class _Method(TypedDict):
    name: str
    stops: list[int]


class _Features(TypedDict):
    name: str
    dim: int
    detail: str


_Config = TypedDict(
    "_Config",
    {
        "command": str,
        "prior": str,
        "prior fingerprint": str,
        "image shape": list[int] | None,
        "data": list[str],
        "batch": int,
        "methods": list[_Method],
        "deepinv": str | None,
        "features": _Features | None,
        "torch": str,
    },
)


class _Compared(TypedDict):
    """A row of ``compare.json``; metrics stand beside these."""

    task: str
    sigma: float
    method: str
    evaluations: int
    pictures: int


@dataclass(frozen=True)
class Row:
    """A method with a number of evaluations.

    Args:
        run: the method's name.
        nfe: evaluations a picture, of all samples together.
        outer: outer steps of a nested run; 1 of all others.
    """

    run: str
    nfe: int
    outer: int = 1


@dataclass(frozen=True)
class Cell:
    """What was measured of a method on a task.

    Args:
        psnr, ssim, seconds: means over the pictures, seconds of one picture; NaN where it failed on all.
        distance: Fréchet distance to the originals, where features or an earlier ``compare.json`` have it.
        space: what decides the features that the distance is of.
        failed, images: it failed on so many of so many pictures.
        hardware: on which.
        folder: in which it was measured.
    """

    psnr: float
    ssim: float
    seconds: float
    distance: float | None
    space: str
    failed: int
    images: int
    hardware: str
    folder: str


@dataclass
class Group:
    """What folders hold of one prior at one size.

    Args:
        prior: its name.
        shape: (C, H, W); None of whole pictures, each of its own size.
        cells: by row, and by task as results name it.
        conditions: of every folder, what its numbers depend on.
        pictures: by task and folder, the pictures' names, each with the beginning of its operator's fingerprint.
    """

    prior: str
    shape: tuple[int, ...] | None
    cells: dict[Row, dict[str, Cell]] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """All that have a cell."""
        return list(dict.fromkeys(task for cells in self.cells.values() for task in cells))


def grouped(folders: Iterable[Path]) -> list[Group]:
    """Everything that results folders hold, also of runs that did not end, by prior and size.

    Where several hold the same method and task, the last one counts. Of a nested run its end is there alone.

    Raises:
        OutputError: a folder that holds no results of ``restore-bench compare``, or damaged ones.
    """
    groups: dict[tuple[str, tuple[int, ...] | None], Group] = {}
    for folder in folders:
        results = Results.open(folder)
        config = _config(results)
        shape = None if config["image shape"] is None else tuple(config["image shape"])
        _add(groups.setdefault((config["prior"], shape), Group(config["prior"], shape)), results, config)
    return list(groups.values())


def _config(results: Results) -> _Config:
    try:
        config: _Config = conform(results.config, _Config, "config")
        if config["command"] != "compare":
            raise ValueError(f"they are of {config['command']}")
    except ValueError as error:
        raise OutputError(f"{results.folder} holds no results of restore-bench compare: {error}") from None
    return config


def _add(group: Group, results: Results, config: _Config) -> None:
    folder, earlier = str(results.folder), _earlier(results, config["features"])
    space = "" if config["features"] is None else config["features"]["detail"]
    rows = {}
    for method in config["methods"]:
        stops = method["stops"]
        rows[Look(method["name"], "returned", stops[-1])] = Row(method["name"], stops[-1], len(stops))
    for task in results.tasks():
        summary = _summary(results, task, config["features"])
        chunks = results.chunks(task)
        group.pictures.setdefault(task, {})[folder] = {
            name: chunk.operators.get(name, "") for chunk in chunks for name in chunk.readable
        }
        for look, row in rows.items():
            means, reasons = summary.means.get(look, {}), summary.unanswered.get(look)
            if not means and reasons is None:
                continue
            psnr, ssim, seconds = (
                means[name].mean if name in means else math.nan for name in ("psnr", "ssim", "seconds")
            )
            before, distance = earlier.get((task, look, summary.images), (math.nan, None))
            distance = distance if abs(before - psnr) < SAME else None
            distance = summary.distances[look].value if look in summary.distances else distance
            failed = 0 if reasons is None else reasons.total()
            hardware = ", ".join(sorted(summary.hardware))
            group.cells.setdefault(row, {})[task] = Cell(
                psnr, ssim, seconds, distance, space, failed, summary.images, hardware, folder
            )
    packages = f"torch {config['torch']}" + (f", deepinv {config['deepinv']}" if config["deepinv"] else "")
    group.conditions[folder] = (
        f"{', '.join(config['data'])}, weights {config['prior fingerprint'][:12]}, {packages}, "
        f"batches of {config['batch']}"
    )


def _summary(results: Results, task: str, features: _Features | None) -> TaskSummary:
    """Of a task, with distances where all of its features are there."""
    folder = results.folder / task
    kept = all((folder / f"{index:05d}.safetensors").is_file() for index in results.indices(task))
    space = FeatureSpace(**features) if features is not None and kept else None
    try:
        return summarise(results, task, space)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{folder} holds a file that is not as restore-bench writes it ({error!r})") from None


def _earlier(
    results: Results, features: _Features | None
) -> dict[tuple[str, Look, int], tuple[float, float | None]]:
    """PSNR and distance that ``compare.json`` tells, by task, look and number of pictures.

    Features, which are large, may have been left behind where it was measured.

    Raises:
        OutputError: it is damaged.
    """
    file = results.folder / COMPARED
    if features is None or not file.is_file():
        return {}
    name = FeatureSpace(**features).frechet_name
    found: dict[tuple[str, Look, int], tuple[float, float | None]] = {}
    try:
        rows: list[dict[str, Any]] = conform(read_json(file, finite=False), list[_Compared], COMPARED)
        for row in rows:
            if name not in row:
                continue
            psnr, distance = (float(conform(row.get(key), float, key)) for key in ("psnr", name))
            look = Look(row["method"], "returned", row["evaluations"])
            for task in (row["task"], f"{row['task']}-{row['sigma']:g}"):  # jpeg20 is filed without a σ
                found[task, look, row["pictures"]] = psnr, distance
    except (OSError, ValueError) as error:
        raise OutputError(f"{file} is damaged ({error}); delete it") from None
    return found
