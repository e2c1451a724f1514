"""Checkpoint files become tensors, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from restoration.errors import PriorError
from restoration.priors.formats.reading import read_tensors

WEIGHTS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.zeros(2, dtype=torch.float16)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(found[name].equal(WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model": {f"not.{name}": t for name, t in WEIGHTS.items()}, "ema": WEIGHTS, "optimizer": {"lr": 0.1}},
        {f"module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"state_dict": {f"module.model.{name}": tensor for name, tensor in WEIGHTS.items()}},
        {"model": {"ema": WEIGHTS}},
        {"model": WEIGHTS, "ema": {"decay": torch.tensor(0.9)}},
    ],
    ids=["bare", "state_dict", "ema before model", "module.", "both", "nested", "ema without a network"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_wrapped_and_prefixed_state_dicts_are_found(tmp_path: Path, content: object, zipped: bool) -> None:
    path = tmp_path / "any.name"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(path))


def test_safetensors_are_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    save_file({f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, path)
    assert same(read_tensors(path))


class Payload:
    """What a hostile checkpoint would run."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.proof),))


@pytest.mark.parametrize("how", ["torch zip", "torch legacy", "bare pickle"])
def test_a_hostile_pickle_does_not_run(tmp_path: Path, how: str) -> None:
    path, proof = tmp_path / "hostile.pt", tmp_path / "proof"
    content = {"conv.weight": torch.zeros(1), "payload": Payload(proof)}
    if how == "bare pickle":
        path.write_bytes(pickle.dumps(Payload(proof)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch zip")
    with pytest.raises(PriorError, match=r"hostile.pt: (holds code|is not a checkpoint)") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not proof.exists()
    if how == "bare pickle":  # the payload works where a pickle is trusted
        pickle.loads(path.read_bytes())
        assert proof.exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_damaged_files_are_told_in_one_line(tmp_path: Path, zipped: bool) -> None:
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    torch.save({"w": torch.randn(100, 100)}, good, _use_new_zipfile_serialization=zipped)
    content = good.read_bytes()
    for kept in (0, 1, 4, 8, 9, 100, 1000, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:kept])
        with pytest.raises(PriorError, match=r"bad.pt: ") as caught:
            read_tensors(bad)
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "odd", [torch.eye(3).to_sparse(), torch.empty(2, 2, device="meta")], ids=["sparse", "meta"]
)
def test_tensors_without_plain_values_are_told(tmp_path: Path, odd: torch.Tensor) -> None:
    path = tmp_path / "odd.pt"
    torch.save({**WEIGHTS, "odd": odd}, path)
    with pytest.raises(PriorError, match=r"odd.pt: ") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_files_of_something_else_are_told_in_one_line(tmp_path: Path) -> None:
    text, archive, empty = tmp_path / "text.pt", tmp_path / "archive.pt", tmp_path / "empty.pt"
    text.write_text("hello world, this is no checkpoint")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "hello")
    torch.save({"epoch": 3}, empty)
    truncated = tmp_path / "cut.safetensors"
    save_file(WEIGHTS, truncated)
    truncated.write_bytes(truncated.read_bytes()[:-3])
    for path in (text, archive, empty, truncated, tmp_path / "missing.pt", tmp_path):
        with pytest.raises(PriorError, match=path.name) as caught:
            read_tensors(path)
        assert "\n" not in str(caught.value)
