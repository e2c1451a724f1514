"""Whether a prior has probably seen such pictures, and what is said where it has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from running import restore
from torch import Tensor

from benchmarks.commands import familiarity as command
from restoration import GaussianPrior
from restoration.errors import PriorError
from restoration.pictures import images
from restoration.priors import load_prior
from restoration.priors.calibration import FILE, Calibration
from restoration.priors.familiarity import Familiarity, ratio_of

SHAPE = (1, 16, 16)


def smooth_prior() -> tuple[GaussianPrior, Tensor]:
    """A prior of smooth pictures on the [-1, 1] scale, and 60 of them in [0, 1]."""
    place = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"), dim=-1).reshape(
        -1, 2
    )
    covariance = 0.1 * torch.exp(-(torch.cdist(place, place) ** 2) / (2 * 4.0**2)) + 1e-4 * torch.eye(256)
    root = torch.linalg.cholesky(covariance.double()).float()
    drawn = torch.randn(60, 256, generator=torch.Generator().manual_seed(0)) @ root.T
    return GaussianPrior(torch.zeros(SHAPE), covariance), ((drawn + 1) / 2).clamp(0, 1).reshape(60, *SHAPE)


def test_a_prior_knows_its_own_pictures_better_than_others() -> None:
    prior, own = smooth_prior()
    known = Familiarity(tuple(sorted(ratio_of(prior, picture) for picture in own[:50])))
    others = (torch.rand(10, *SHAPE, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    assert all(known.strange(ratio_of(prior, picture)) for picture in others)
    # a fiftieth of its own would be expected to be; three of ten would be a wonder
    assert sum(known.strange(ratio_of(prior, picture)) for picture in own[50:]) <= 2


def test_rarity_is_a_conformal_p_value() -> None:
    known = Familiarity(tuple(i / 100 for i in range(99)))
    assert known.share(2.0) == pytest.approx(0.01)
    assert known.share(0.0) == 1
    assert known.strange(0.98)
    assert not known.strange(0.97)
    assert not Familiarity((0.5,)).strange(9.0)  # one picture says nothing of what is rare


def test_a_calibration_keeps_it_beside_what_else_it_holds(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_text(json.dumps({"prior fingerprint": "abc fp32", "samplers": []}))
    command.calibrate(Familiarity((0.5, 0.7)), "abc fp32", file)
    found = Calibration.load(tmp_path, "abc")
    assert found == Calibration({}, (), Familiarity((0.5, 0.7)))
    command.calibrate(Familiarity((0.6,)), "def fp32", file)  # of other weights: all is measured anew
    assert json.loads(file.read_text()) == {"prior fingerprint": "def fp32", "familiarity": {"ratios": [0.6]}}


@pytest.mark.parametrize("ratios", [[], [0.7, 0.5], [-1.0], ["a"], None])
def test_a_damaged_one_is_refused(tmp_path: Path, ratios: object) -> None:
    (tmp_path / FILE).write_text(json.dumps({"familiarity": {"ratios": ratios}}))
    with pytest.raises(PriorError, match="is no calibration"):
        Calibration.load(tmp_path)


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    images.save(tmp_path / "a.png", torch.rand(3, 64, 64), {})
    with pytest.raises(ValueError, match="at least 49 pictures: got 1"):
        command.measure(load_prior("faces-64", "cpu"), [tmp_path])


def test_a_strange_result_is_told_and_recorded_and_strict_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = load_prior("faces-64", "cpu")
    prior.calibration = Calibration({}, (), Familiarity((0.01,) * 60))  # whatever comes is strange
    monkeypatch.setattr("restoration.commands.job._load_prior", lambda settings: prior)
    images.save(tmp_path / "a.png", torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)), {})
    given = (tmp_path / "a.png", "--task", "sr4", "--allocation", "1", "--seed", "1")
    code, _, err = restore(*given, "-o", tmp_path / "b.png", "--strict", capsys=capsys)
    assert code == 2
    assert "never seen such pictures, and may make things up: nothing is written (--strict)" in err
    assert not (tmp_path / "b.png").exists()
    code, _, err = restore(*given, "-o", tmp_path / "b.png", capsys=capsys)
    assert code == 0
    assert "has probably never seen such pictures" in err
    record = images.read_record(tmp_path / "b.png")
    assert record is not None
    assert record["unfamiliar"] == pytest.approx(1 / 61, abs=1e-4)
    prior.calibration = Calibration({}, (), Familiarity((9.0,) * 60))  # and now nothing is
    code, _, err = restore(*given, "-o", tmp_path / "c.png", "--strict", capsys=capsys)
    assert code == 0
    assert "never seen" not in err


def test_faces_64_finds_a_photograph_strange_and_photos_64_is_not_asked() -> None:
    data = pytest.importorskip("skimage.data")
    picture = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.interpolate(picture, (64, 64), mode="area")[0]
    prior = load_prior("faces-64", "cpu")
    assert prior.calibration is not None
    assert prior.calibration.familiarity is not None
    assert prior.calibration.familiarity.strange(ratio_of(prior, small))
    calibration = load_prior("photos-64", "cpu").calibration  # knows all sorts: it would cost time for nothing
    assert calibration is not None
    assert calibration.familiarity is None
