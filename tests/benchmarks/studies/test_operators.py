"""What operators cost is measured of all of them, and none needs memory beyond a few images."""

from __future__ import annotations

import pytest

import degradations
from benchmarks.studies.operators import measured, operators
from degradations import SVDOperator


@pytest.mark.parametrize("name", operators(16))
def test_a_step_takes_a_few_images_of_memory(name: str) -> None:
    times, peak = measured(operators(192)[name](), 2)
    assert all(time > 0 for time in times.values())
    assert peak < 16  # a complex spectrum is two images, a macroblock of 4:2:0 has a basis of three


def test_every_operator_is_measured() -> None:
    classes = {value for value in vars(degradations).values() if isinstance(value, type)}
    all_of_them = {kind.__name__ for kind in classes if issubclass(kind, SVDOperator) and kind is not SVDOperator}
    found = {type(make()).__name__ for make in operators(16).values()}
    assert all_of_them - found == {"Dense", "Patterns", "Masked", "Achromatic"}  # matrices, and wrappers of others
