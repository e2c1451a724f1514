"""What is read is checked before it is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from nested import NestedState
from nested.reading import conform, read_json
from nested.record import Choice, Edit, Reallocation
from nested.state import OLDER, _digest


class Told(TypedDict):
    name: str
    losses: list[float]
    seeds: NotRequired[dict[str, int]]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"name": "a"}, "it.losses is missing"),
        ({"name": 1, "losses": []}, "it.name must be a text: got 1"),
        ({"name": "a", "losses": [1, "x"]}, r"it.losses\[1\] must be a finite number: got 'x'"),
        ({"name": "a", "losses": [float("nan")]}, r"it.losses\[0\] must be a finite number: got nan"),
        ({"name": "a", "losses": [True]}, "must be a finite number: got True"),
        ({"name": "a", "losses": [], "seeds": {"b": 0.5}}, "it.seeds.b must be a whole number: got 0.5"),
        ([], "it must be an object: got a list"),
    ],
)
def test_what_is_of_another_type_is_named(told: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conform(told, Told)


def test_what_is_of_its_type_is_returned() -> None:
    told = {"name": "a", "losses": [1, 0.5], "more": None}
    assert conform(told, Told) is told
    assert conform(None, int | None) is None


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "-Infinity", "[" * 100_000, "{", ""])
def test_json_that_is_none_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - each parser says it in its own words
        read_json(tmp_path / "a.json")


def test_pipes_devices_and_giants_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            read_json(path)
    with pytest.raises(ValueError, match="not a regular file"):
        NestedState.load(tmp_path / "pipe")
    (tmp_path / "large").write_text("[" + "0," * 1000 + "0]")
    with pytest.raises(ValueError, match="more than 100"):
        read_json(tmp_path / "large", 100)


def stored(path: Path) -> NestedState:
    image = torch.rand(1, 1, 4, 4)
    state = NestedState(
        x_k=image, outer_step=1, nfe=4, allocation=(4, 2), seeds=(1,), inner=None,
        noise=(torch.Generator().get_state(),), device="cpu", identities=("c",), levels=(1000, 500, 0), x0=image,
    )  # fmt: skip
    state.save(path)
    return state


@pytest.mark.parametrize(
    ("field", "value"),
    [("outer_step", 9), ("nfe", 5), ("seeds", []), ("seeds", [2]), ("levels", [9, 5, 0]), ("device", "cuda"),
     ("identities", ["d"]), ("nfe", float("inf")), ("record", [{"act": "edit"}])],
)  # fmt: skip
def test_a_state_with_another_fact_is_refused_by_its_digest(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "state"
    stored(path)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(metadata["state"])
    assert facts[field] != value
    save_file(tensors, path, {**metadata, "state": json.dumps({**facts, field: value})})
    with pytest.raises(ValueError, match="its digest is that of another content"):
        NestedState.load(path)


REALLOCATION = {"act": "reallocation", "nfe": 2, "allocation": [4, 4]}
CHOICE = {"act": "choice", "nfe": 4, "candidates": [1, 2], "kept": [1], "seeds": [2, 3]}
EDIT = {"act": "edit", "nfe": 4, "sha256": "a" * 64, "trust": False}


def rewritten(path: Path, **changed: Any) -> None:
    """A state file with other facts, and the digest of them."""
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = json.dumps({**json.loads(metadata["state"]), **changed})
    save_file(tensors, path, {**metadata, "state": text, "sha256": _digest(text, tensors)})


def test_a_state_of_the_older_format_is_read_with_its_changes_of_allocation(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = stored(path)
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(metadata["state"])
    del facts["record"]
    text = json.dumps({**facts, "reallocations": [[2, [4, 4]]]})
    save_file(tensors, path, {"format": OLDER, "state": text, "sha256": _digest(text, tensors)})
    read = NestedState.load(path)
    assert read.x_k.equal(state.x_k)
    assert read.record == (Reallocation(2, (4, 4)),)
    read.save(path)
    assert NestedState.load(path).reallocations == ((2, (4, 4)),)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state"
    stored(path)
    rewritten(path, record=[REALLOCATION, CHOICE, EDIT])
    assert NestedState.load(path).record == (
        Reallocation(2, (4, 4)), Choice(4, (1, 2), (1,), (2, 3)), Edit(4, "a" * 64, False),
    )  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        {"act": "edit"}, ["edit"], [{**EDIT, "act": "none"}], [{**EDIT, "nfe": -1}], [{**EDIT, "trust": 1}],
        [{**EDIT, "sha256": "a"}], [{**EDIT, "more": 1}], [{**CHOICE, "kept": [2]}], [{**CHOICE, "seeds": []}],
        [{**CHOICE, "kept": [0, 1], "seeds": [1, 2, 3]}], [{**CHOICE, "nfe": 9}], [CHOICE, REALLOCATION],
        [{**REALLOCATION, "allocation": [1.5]}], [{**REALLOCATION, "allocation": 4}], [[]], None,
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(tmp_path: Path, record: Any) -> None:
    path = tmp_path / "state"
    stored(path)
    rewritten(path, record=record)
    with pytest.raises(ValueError, match="is not a state file, or is damaged"):
        NestedState.load(path)


def test_a_state_with_another_tensor_is_refused_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = stored(path)
    assert NestedState.load(path).x_k.equal(state.x_k)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="digest"):
        NestedState.load(path)
