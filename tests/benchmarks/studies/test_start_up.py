"""The start-up study measures each of its parts (its timings are no tests)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies import start_up
from benchmarks.studies.start_up import HERE, PARTS, measure, table


def test_every_part_of_a_start_is_measured() -> None:
    spent = measure(HERE, "faces-64")
    assert len(spent) == len(PARTS)
    assert all(cpu > 0 for cpu, _ in spent)
    assert all(wall > 0 for _, wall in spent[1:])


def test_trees_are_measured_in_turn_and_medians_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measured(tree: Path, prior: str) -> list[tuple[float, float]]:
        asked.append(tree.name)
        return [(1.0 * len(asked), 2.0)] * len(PARTS)

    monkeypatch.setattr(start_up, "measure", measured)
    rows = table([Path("old"), Path("new")], 3, "any")
    assert asked == ["old", "new"] * 4  # the first of each fills the disk's cache
    assert rows[2] == "| Python | 5.00 (2.00) | 6.00 (2.00) |"
    assert rows[-1] == "| after torch | 25.00 (10.00) | 30.00 (10.00) |"
