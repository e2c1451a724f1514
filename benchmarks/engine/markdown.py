"""Tables as Markdown, and the conditions that stand under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from benchmarks.engine.setup import Finished
from benchmarks.engine.summary import TaskSummary
from solvers import SAMPLERS


def conditions(finished: Finished, summaries: list[TaskSummary]) -> list[str]:
    """Under which everything was measured, and what could not be."""
    config = finished.results.config
    few = min((summary.images for summary in summaries), default=0)
    shape = config["image shape"]
    size = "their own size, in tiles" if shape is None else f"{shape[2]}×{shape[1]}"
    hardware = ", ".join(sorted(set[str]().union(*(summary.hardware for summary in summaries))))
    one_for_all = f"{sampler(config)}, " if {"sampler", "eta"} & set(config) else ""
    lines = [
        f"{few} pictures of {', '.join(config['data'])} at {size}, prior {config['prior']} "
        f"{config['prior fingerprint'][:12]}, {one_for_all}seeds of names; "
        f"{hardware}, torch {config['torch']}."
    ]
    any_distance = next((d for summary in summaries for d in summary.distances.values()), None)
    if any_distance is not None and not any_distance.reliable:
        lines.append(
            f"{any_distance.name} of fewer than 2,048 pictures is unreliable: compare within a task only."
        )
    lines += [f"{note}." for note in finished.notes]
    for summary in summaries:
        for line in summary.failed.values():
            lines.append(f"{summary.task}: left out on both sides: {line}")
    return lines


def sampler(config: Mapping[str, Any]) -> str:
    """The sampler of a result and its settings, by the names under which they are recorded, in words."""
    known = dict.fromkeys(field.name for kind in SAMPLERS.values() for field in fields(kind.Settings))
    told = [f"{name} {config[name]}" for name in known if name in config]
    return ", ".join([str(config.get("sampler", "ddrm")), *told])


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
