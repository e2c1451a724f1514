"""DreamSim where it is installed: here a stand-in of the library's interface."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks.metrics.dreamsim import SIDE, DreamSim
from benchmarks.metrics.errors import MetricError


def stand_in(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    module = ModuleType("dreamsim")
    module.dreamsim = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    monkeypatch.setattr("benchmarks.metrics.dreamsim.find_spec", lambda name: object())


def test_it_is_asked_in_its_own_size_for_grey_and_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        assert a.shape[1:] == b.shape[1:] == (3, SIDE, SIDE)
        assert 0 <= float(a.min()) <= float(a.max()) <= 1
        return (a - b).abs().mean(dim=(1, 2, 3))

    stand_in(monkeypatch, lambda pretrained, device: (network, None))
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 3 - 1
    metric = DreamSim()
    assert metric(images, images).tolist() == [0, 0]
    assert metric(images, images.flip(0)).min() > 0.01


def test_without_library_or_weights_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.metrics.dreamsim.find_spec", lambda name: None)
    with pytest.raises(MetricError, match="dreamsim"):
        DreamSim()

    def offline(pretrained: bool, device: str) -> None:
        raise OSError(101, "Network is unreachable")

    stand_in(monkeypatch, offline)
    with pytest.raises(MetricError, match=r"DreamSim's weights are not to be had here \(.*unreachable"):
        DreamSim()
