"""The notebook examples/first_steps.ipynb runs from top to bottom, and shows what it promises."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

nbclient = pytest.importorskip("nbclient", reason="the extra dev is not installed")
nbformat = pytest.importorskip("nbformat")

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Its cells of code, after they were run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(folder)}}, allow_errors=False
    )
    client.execute()
    assert not list(folder.iterdir())  # what it writes goes to a temporary folder
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell: Any) -> list[Image.Image]:
    found = [output["data"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) for data in found]


def test_previews_are_drawn_in_one_place_and_the_last_stays(cells: list[Any]) -> None:
    (watched,) = [cell for cell in cells if "picture.update" in cell.source]
    (shown,) = pictures(watched)  # 30 were shown, one after another
    assert shown.size == (64, 64)
    assert "30 of 30 evaluations, complete" in json.dumps(watched.outputs)


def test_a_run_is_stopped_shown_and_gone_on_with(cells: list[Any]) -> None:
    (first,) = [cell for cell in cells if "max_nfe=10" in cell.source]
    assert "10 evaluations, stopped by max_nfe" in json.dumps(first.outputs)
    (rest,) = [cell for cell in cells if "state.save" in cell.source]
    for cell in (first, rest):
        (shown,) = pictures(cell)
        assert shown.size == (64, 64)
        size = next(o["metadata"] for o in cell.outputs if "image/png" in o.get("data", {}))["image/png"]
        assert size == {"width": 192, "height": 192}


def test_what_it_tells_of_quality_is_an_improvement(cells: list[Any]) -> None:
    told = "".join(output["text"] for output in cells[-1].outputs)
    before, first, last = (float(word.strip(",")) for word in told.replace("dB", "").split() if "." in word)
    assert before < first < last
    assert (
        last > 25
    )  # a face at 64 × 64 with half of its pixels; FIRE had 25.6 dB in 15 evaluations with more noise


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
