"""How much a preview is expected to change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator
from restoration import GaussianPrior, Restorer
from restoration.errors import PriorError
from restoration.priors import EMBEDDED, load_prior
from restoration.priors.calibration import FILE, Calibration, key_of
from restoration.restorer import DEFAULT
from solvers import DDRM, FIRE, record_of

SHAPE = (3, 16, 16)
HALF = torch.arange(16 * 16).reshape(16, 16) % 2 == 0
TASKS = {
    "denoise": {"sigma": 0.5, "complete": [[0.3, 0.06], [1.0, 0.0]], "running": [[0.1, 0.2], [0.9, 0.1]]},
    "inpaint": {"sigma": 0.0, "complete": [[0.5, 0.04], [1.0, 0.0]], "running": [[0.5, 0.3]]},
}
TOLD = {"samplers": [{"sampler": record_of(DEFAULT), "tasks": TASKS}]}


def _measurement(operator: SVDOperator, sigma: float = 0.0) -> Measurement:
    return Measurement(torch.zeros(1, *operator.measurement_shape), operator, sigma)


@pytest.fixture
def calibration(tmp_path: Path) -> Calibration:
    (tmp_path / FILE).write_text(json.dumps(TOLD))
    found = Calibration.load(tmp_path)
    assert found is not None
    return found


def test_it_is_interpolated_between_what_was_measured(calibration: Calibration) -> None:
    change = calibration.change(_measurement(Denoising(SHAPE), 0.5), DEFAULT)
    assert change is not None
    assert change.at(65, 100, 50, complete=True) == pytest.approx(0.03)
    assert change.at(100, 100, 50, complete=True) == 0
    assert change.at(25, 100, 50, complete=False) == pytest.approx(0.15)


def test_it_holds_for_the_sampler_that_it_was_measured_with(tmp_path: Path, calibration: Calibration) -> None:
    measurement = _measurement(Denoising(SHAPE), 0.5)
    assert calibration.change(measurement, FIRE.Settings("natural")) is None
    assert calibration.change(measurement, DDRM.Settings(eta=0.5)) is None
    faithful = FIRE.Settings("faithful")
    assert calibration.change(measurement, faithful) is not None
    (tmp_path / FILE).write_text(json.dumps({"tasks": TASKS}))  # a file that tells none is of DDRM's defaults
    found = Calibration.load(tmp_path)
    assert found is not None
    assert found.change(measurement, DDRM.Settings()) is not None
    assert found.change(measurement, faithful) is None
    (tmp_path / FILE).write_text(json.dumps({"samplers": [{"sampler": "fire", "tasks": TASKS}]}))
    with pytest.raises(PriorError, match="is no calibration"):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    ("operator", "sigma", "known"),
    [
        (Denoising(SHAPE), 0.3, True),
        (Denoising(SHAPE), 0.1, False),
        (Inpainting(SHAPE, HALF), 0.02, True),
        (Inpainting(SHAPE, HALF), 0.2, False),
        (Inpainting(SHAPE, torch.arange(256).reshape(16, 16) < 10), 0.0, False),
        (SuperResolution(SHAPE, 4), 0.0, False),
        (Colorization(SHAPE), 0.0, False),
    ],
)
def test_only_what_is_like_what_was_measured_is_told(
    operator: SVDOperator, sigma: float, known: bool, calibration: Calibration
) -> None:
    assert (calibration.change(_measurement(operator, sigma), DEFAULT) is not None) == known


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_prior_has_one_of_its_own_weights(name: str) -> None:
    prior = load_prior(name, "cpu")
    assert prior.calibration is not None
    tasks = prior.calibration.samplers[key_of(record_of(DEFAULT))]
    known = set(tasks)
    assert known >= {"denoise", "sr4", "inpaint"}
    assert ("colorize" in known) == (prior.image_shape[0] == 3)
    for change in tasks.values():  # a later preview is nearer to the end
        errors = [error for _, error in change.complete]
        assert errors[-1] == 0 < errors[-2] < errors[0] < 0.3
        assert change.at(1, 30, 10, complete=False) > change.at(9, 30, 10, complete=False)


def test_one_of_other_weights_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(TOLD | {"prior fingerprint": "abc v_prediction"}))
    assert Calibration.load(tmp_path, "abc") is not None
    assert Calibration.load(tmp_path, "abd") is None


def test_no_file_is_no_calibration_and_another_file_is_refused(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) is None
    (tmp_path / FILE).write_text(
        json.dumps({"samplers": [{"sampler": record_of(DEFAULT), "tasks": {"denoise": {"sigma": 0.5}}}]})
    )
    with pytest.raises(PriorError, match=r"calibration\.json is no calibration"):
        Calibration.load(tmp_path)


def test_previews_tell_it_until_the_first_end_and_at_every_end(calibration: Calibration) -> None:
    prior = GaussianPrior(torch.zeros(SHAPE), torch.eye(3 * 16 * 16))
    measurement = _measurement(Denoising(SHAPE), 0.5)
    previews = list(Restorer(prior).stream(measurement, outer=2, inner=2, seeds=[0]))
    assert [preview.expected_change for preview in previews] == [None] * 4
    prior.calibration = calibration  # type: ignore[attr-defined]
    previews = list(Restorer(prior).stream(measurement, outer=2, inner=2, seeds=[0]))
    told = [preview.expected_change for preview in previews]
    assert told[0] == pytest.approx(0.15)
    assert told[1] == pytest.approx(0.06 - 0.06 * 0.2 / 0.7)
    assert told[2:] == [None, 0.0]
    other = Restorer(prior, eta=0.5).stream(measurement, outer=1, inner=2, seeds=[0])
    assert next(other).expected_change is None


@pytest.mark.parametrize(
    ("points", "sigma"),
    [([], 0.5), ([[0.5, 0.1], [0.5, 0.1]], 0.5), ([[0.9, 0.1], [0.1, 0.2]], 0.5), ([[2, 0.1]], 0.5),
     ([[0.5, -1]], 0.5), ([[0.5, "1"]], 0.5), ([[0.5]], 0.5), ([[0.5, 0.1]], -1)],
)  # fmt: skip
def test_a_calibration_that_cannot_be_is_refused(tmp_path: Path, points: object, sigma: float) -> None:
    told = {"tasks": {"sr4": {"complete": points, "running": [[1, 0.1]], "sigma": sigma}}}
    (tmp_path / "calibration.json").write_text(json.dumps(told))
    with pytest.raises(PriorError, match="is no calibration"):
        Calibration.load(tmp_path)
    (tmp_path / "calibration.json").write_text(json.dumps(told).replace("0.1", "NaN"))
    with pytest.raises(PriorError):
        Calibration.load(tmp_path)
