"""What could be had by a given time: by a clock that only evaluations advance, and as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import restore
from torch import Tensor

from degradations import Inpainting, Measurement
from nested import Adaptive, Budget
from restoration import restorer as module
from restoration.commands.settings import seconds_of
from restoration.priors import GaussianPrior
from restoration.priors.calibration import Calibration, Change, key_of
from restoration.restorer import DEFAULT, Restorer
from solvers import record_of

SHAPE = (1, 4, 4)


class Timed(GaussianPrior):
    """A prior whose first evaluation takes 0.3 s and each further one 0.1 s, by a clock of its own."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(SHAPE), torch.eye(16, dtype=torch.float64) * 0.2)
        self.now, self.asked = 0.0, 0
        change = Change(complete=((0.5, 0.02), (1.0, 0.0)), running=((0.1, 0.1), (0.9, 0.03)))
        self.calibration = Calibration({key_of(record_of(DEFAULT)): {"inpaint": change}})

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        self.now += 0.1 if self.asked else 0.3
        self.asked += 1
        return super().denoise(x_k, k)


def measurement() -> Measurement:
    operator = Inpainting(SHAPE, torch.arange(16).reshape(4, 4) % 2 == 0)
    return Measurement(operator(torch.full((1, *SHAPE), 0.3)), operator, 0.0)


@pytest.fixture
def prior(monkeypatch: pytest.MonkeyPatch) -> Timed:
    made = Timed()
    monkeypatch.setattr(module.time, "perf_counter", lambda: made.now)
    return made


def test_a_plan_is_what_there_is_time_for(prior: Timed) -> None:
    plan = Restorer(prior).plan(measurement(), 2.05)
    assert prior.asked == 3  # that is what it takes to learn
    assert (plan.nfe, plan.allocation) == (18, (10, 8))
    assert [seen.nfe for seen in plan.previews] == [10, 18]
    assert [seen.elapsed for seen in plan.previews] == pytest.approx([1.2, 2.0])  # 0.3 s and then 0.1 s each
    # 10 of 18 lies a ninth of the way from 0.5 to 1 in what was measured
    assert [seen.expected_change for seen in plan.previews] == pytest.approx([0.02 * 8 / 9, 0.0])


@pytest.mark.parametrize(
    ("seconds", "nfe", "previews"), [(0.2, 0, []), (0.35, 1, [(1, False)]), (0.65, 4, [(4, False)])]
)
def test_a_plan_without_time_for_an_inner_run_says_so(prior: Timed, seconds, nfe, previews) -> None:
    plan = Restorer(prior).plan(measurement(), seconds)
    assert plan.nfe == nfe
    assert [(seen.nfe, seen.complete) for seen in plan.previews] == previews


def test_a_plan_never_has_more_than_the_service_plans(prior: Timed) -> None:
    assert Restorer(prior).plan(measurement(), 1000.0).allocation == (10, 10, 10)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2.0), ("500ms", 0.5), ("1.5", 1.5), ("2 min", 120.0), ("1m", 60.0)]
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0s", "-1", "2h", "s", "nan", "1e3", "1s2"])
def test_what_is_no_time_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="--plan must be a time above 0"):
        seconds_of(text)


def test_the_command_plans_and_restores_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save("small.png")
    asked = ("small.png", "--task", "sr4", "--prior", "faces-64", "--device", "cpu", "--plan", "10min")
    code, out, _ = restore(*asked, "--json", capsys=capsys)
    told = json.loads(out)
    assert (code, told["event"], told["allocation"]) == (0, "plan", [10, 10, 10])
    assert [seen["nfe"] for seen in told["previews"]] == [10, 20, 30]
    assert told["previews"][0]["expected_change"] > told["previews"][1]["expected_change"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]


def test_a_restorer_takes_efforts_and_tells_an_adaptive_one_what_its_prior_s_calibration_expects() -> None:
    restorer = Restorer(Timed())
    assert restorer.restore(measurement(), allocation=Budget(4), seeds=[1]).nfe == 4
    done = restorer.restore(measurement(), allocation=Adaptive(0.03), seeds=[1])
    # half of the pixels, one by one: 12 evaluations, after which less than 0.02 is expected
    assert (done.nfe, done.total_nfe, done.preview.state.allocation) == (12, 12, (12,))
    effort = done.preview.state.effort
    assert effort is not None
    assert effort.expected == ((0.5, 0.02), (1.0, 0.0))
    again = restorer.restore(measurement(), allocation=Adaptive(0.03), state=done.preview.state)
    assert again.image.equal(done.image)


def test_an_adaptive_effort_is_of_one_image_and_is_no_plain_run() -> None:
    restorer = Restorer(Timed())
    with pytest.raises(ValueError, match="one image"):
        restorer.restore(measurement().expand(2), allocation=Adaptive(0.03))
    with pytest.raises(ValueError, match="vanilla"):
        restorer.restore(measurement(), allocation=Adaptive(0.03), vanilla=True)
    with pytest.raises(TypeError, match="or an effort"):
        restorer.restore(measurement(), allocation=3)  # type: ignore[arg-type]
