"""The page docs/custom-operator.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from degradations import OperatorCheckError, check_operator

PAGE = Path(__file__).parents[2] / "docs" / "custom-operator.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page's code, run from top to bottom, leaves behind."""
    pytest.importorskip("deepinv")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec("\n".join(blocks), names)
    return names


def test_its_operator_passes_the_check_at_any_size(page: dict[str, Any]) -> None:
    for shape in ((1, 8, 8), (3, 4, 16)):
        kept = torch.rand(shape[1:], generator=torch.Generator().manual_seed(2)) < 0.5
        check_operator(page["HadamardCamera"](shape, kept).double())


def test_it_measures_patterns_of_plus_and_minus_one(page: dict[str, Any]) -> None:
    operator = page["HadamardCamera"]((1, 4, 4), torch.ones(4, 4))
    basis = torch.eye(16).reshape(16, 1, 4, 4)
    # each of 16 pixels with a weight of ±1/4, in float32
    torch.testing.assert_close(operator(basis).abs(), torch.full((16, 1, 4, 4), 0.25), atol=1e-6, rtol=0)


def test_its_warning_is_true(page: dict[str, Any]) -> None:
    class Wrong(page["HadamardCamera"]):  # type: ignore[misc]
        def Vt(self, x: torch.Tensor) -> torch.Tensor:
            return 4 * super().Vt(x)

    with pytest.raises(OperatorCheckError):
        check_operator(Wrong((1, 4, 4), torch.ones(4, 4)))


def test_the_two_ways_it_shows_restore_alike(page: dict[str, Any]) -> None:
    # the same run; deepinv keeps σ = 0.05 in float32
    torch.testing.assert_close(page["same"], page["restored"], atol=1e-4, rtol=0)


def test_its_class_is_about_fifteen_lines() -> None:
    (source,) = re.findall(r"class HadamardCamera.*?(?=\n```)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 15
