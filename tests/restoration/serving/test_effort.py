"""Effort as a client asks for it: a number of evaluations, or one that decides as it goes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from nested import NestedState
from restoration.commands.settings import EffortSettings, effort_of
from restoration.pictures import images
from restoration.priors import DiffusionPrior

from .conftest import Serve, ask, ended, picture, pixels_of


@pytest.mark.parametrize("effort", ["8", "adaptive:0.5"])
def test_an_effort_is_spent_as_the_command_spends_it(
    client: TestClient, by_command: Callable[..., Path], tmp_path: Path, effort: str
) -> None:
    steps, tolerance = effort_of(effort, None, None, None)
    out = by_command(EffortSettings(steps, tolerance=tolerance, seed=5))
    id = ask(client, picture(), task="sr2", effort=effort, seed=5).json()["id"]
    known = ended(client, id)
    assert known["nfe"] == known["total_nfe"] == sum(known["plan"])
    kept = tmp_path / "served.png"
    kept.write_bytes(client.get(f"/v1/restorations/{id}/image").content)
    assert np.array_equal(pixels_of(kept.read_bytes()), pixels_of(out.read_bytes()))
    record = images.read_record(kept)
    assert record == images.read_record(out)
    assert record is not None
    assert record.get("decided", [8]) == known["plan"]


def test_an_adaptive_run_shares_calls_and_goes_on_after_a_restart_to_the_same_bits(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"task": "sr2", "effort": "adaptive", "seed": 3}
    store, denoise = tmp_path / "store", DiffusionPrior.denoise

    def slow(self: DiffusionPrior, *given: Any) -> Any:
        time.sleep(0.02)
        return denoise(self, *given)

    with serve(store=store) as first:
        whole = ask(first, picture(8), **asked).json()["id"]
        plan = ended(first, whole)["plan"]
        assert len(plan) > 1  # else there was nothing to decide
        before = _calls(first)
        monkeypatch.setattr(DiffusionPrior, "denoise", slow)
        both = [ask(first, picture(8), **given).json()["id"] for given in (asked, {**asked, "effort": 30})]
        evaluations = sum(ended(first, id)["nfe"] for id in both)
        assert evaluations > 1.5 * (_calls(first) - before)
        broken = ask(first, picture(8), **asked).json()["id"]
        while first.get(f"/v1/restorations/{broken}").json()["nfe"] <= plan[0]:
            time.sleep(0.01)
    monkeypatch.undo()
    state = NestedState.load(store / broken / "run.state")
    assert plan[0] < state.spent < sum(plan)
    assert state.effort is not None
    with serve(store=store) as second:
        assert ended(second, broken)["plan"] == plan
        pictures = [pixels_of(second.get(f"/v1/restorations/{id}/image").content) for id in (whole, broken)]
        assert np.array_equal(*pictures)
        assert second.post(f"/v1/restorations/{broken}/more", json={"nfe": 5}).status_code == 202
        further = ended(second, broken)
        assert (further["plan"], further["stopped_by"]) == ([*plan, 5], "finished")


def _calls(client: TestClient) -> float:
    """Of the network, until now."""
    (found,) = re.findall(r'restoration_calls_total{prior="tiny"} (\S+)', client.get("/metrics").text)
    return float(found)


@pytest.mark.parametrize("effort", [6, "adaptive:0.5"])
def test_beside_a_deadline_an_effort_is_what_was_asked_for(client: TestClient, effort: Any) -> None:
    """Without one, as much is planned as there is time for."""
    told = [ask(client, picture(8), task="sr2", effort=effort, seed=1, **more) for more in ({}, {"deadline": 60})]
    plans = [ended(client, answer.json()["id"])["plan"] for answer in told]
    assert plans[0] == plans[1]
    assert sum(plans[0]) < 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effort": "much"}, "--effort must be a number of evaluations"),
        ({"effort": "adaptive:x"}, "--effort must be a number of evaluations"),
        ({"effort": -3}, "--effort must be a number of evaluations"),
        ({"effort": True}, "effort must be a valid string"),
        ({"effort": [10]}, "effort must be a valid string"),
        ({"effort": 10**20}, "--effort must be a number of evaluations"),
        ({"effort": 10**300}, "effort must be a valid string"),
        ({"effort": 1001}, "at most 1000 evaluations"),
        ({"effort": 20, "allocation": "10,10"}, "takes the place of --outer, --inner and --allocation"),
        ({"effort": "adaptive", "samples": 2}, "leave --samples away"),
        ({"effort": "adaptive", "vanilla": True}, "leave --effort adaptive away"),
        ({"effort": "adaptive", "candidates": 2}, "leave candidates away"),
    ],
)
def test_an_effort_that_is_none_or_does_not_fit_is_refused_in_a_sentence(
    client: TestClient, options: dict[str, Any], words: str
) -> None:
    answer = ask(client, task="sr2", **options)
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
