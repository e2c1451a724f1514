"""Intervals of samples, and the factor that makes them hold what they promise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from degradations import Denoising, Measurement, SuperResolution
from restoration.commands.delivery import Delivery
from restoration.commands.settings import EffortSettings
from restoration.errors import PriorError
from restoration.events import Restored
from restoration.pictures import images
from restoration.pictures.picture import whole
from restoration.priors import load_prior
from restoration.priors.calibration import FILE, Calibration, key_of
from restoration.priors.coverage import Coverage
from restoration.recipe import Recipe
from restoration.session import Session
from restoration.tasks import Task
from restoration.uncertainty import FACTORS, LEAST, factor_for, interval, missed, quantiles, risk_bound
from solvers import FIRE, record_of

NATURAL = FIRE.Settings(aim="natural")
MEASURED = Coverage(
    sampler=key_of(record_of(NATURAL)), task="sr4", sigma=0.0, allocation=(1, 1), nfe=2, samples=3, level=0.9,
    factor=1.7, coverage=0.903, deviation=0.04, pictures=27, calibrated=27,
)  # fmt: skip


def drawn(pictures: int, samples: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Truths (n, 1, 20, 20) and samples of the same Gaussian, but ``scale`` times as wide."""
    generator = torch.Generator().manual_seed(1)
    truth = 0.5 + 0.05 * torch.randn(pictures, 1, 20, 20, generator=generator)
    around = 0.5 + scale * 0.05 * torch.randn(pictures, samples, 1, 20, 20, generator=generator)
    return truth, around


def losses(pictures: int, scale: float) -> torch.Tensor:
    truth, around = drawn(pictures, 8, scale)
    return torch.stack([missed(*pair) for pair in zip(around, truth, strict=True)])


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_calibrated_interval_holds_what_it_promises_on_other_pictures(scale: float) -> None:
    """Of 8 exact samples Student's t with 7 degrees has its 95 % point at 1.895 · √(1 + 1/8) = 2.01."""
    both = losses(80, scale)
    factor = factor_for(both[:40], 0.9)
    # 1/41 of the risk is given to the unseen picture: 92.2 % of the calibration's are held, at a factor of 2.2
    assert factor == pytest.approx(2.2 / scale, rel=0.06)
    held = 1 - float(both[40:, FACTORS.index(factor)].mean())
    assert 0.9 <= held < 0.94  # 16,000 pixels: 0.25 % is a standard error


def test_confidence_costs_width_and_few_pictures_promise_nothing() -> None:
    some = losses(40, 1.0)
    assert factor_for(some, 0.9, 0.9) > factor_for(some, 0.9)
    with pytest.raises(ValueError, match="8 calibration pictures, of which 9 are the least"):
        factor_for(some[:8], 0.9)
    with pytest.raises(ValueError, match="level must be between 0 and 1: got 90"):
        factor_for(some, 90)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        factor_for(some, 0.9, 1.5)


def test_the_bound_of_a_risk_is_above_it_for_all_but_delta_of_calibrations() -> None:
    generator = torch.Generator().manual_seed(0)
    bounds = [risk_bound((torch.rand(60, generator=generator) < 0.1).double(), 0.1) for _ in range(200)]
    below = sum(bound < 0.1 for bound in bounds)
    assert below <= 33  # 10 % of 200 and three standard errors
    assert 0.1 < sum(bounds) / 200 < 0.3  # and it says something


def test_sure_and_right_pixels_do_not_count_but_sure_and_wrong_ones_do() -> None:
    samples, truth = torch.zeros(8, 1, 2, 2), torch.zeros(1, 2, 2)
    assert float(missed(samples, truth, [1.0])) == 0
    truth[0, 0, 0] = 1
    assert float(missed(samples, truth, [1.0])) == 1  # of the one that counts
    samples[:4, 0, 1, 1] = 0.2
    truth[0, 1, 1] = 0.1
    assert float(missed(samples, truth, [1.0])) == 0.5


def test_intervals_and_quantiles_are_what_they_say() -> None:
    samples = torch.linspace(0.3, 0.7, 9)[:, None, None, None].expand(9, 1, 2, 2)
    low, high = quantiles(samples, 0.5)
    assert (float(low[0, 0, 0]), float(high[0, 0, 0])) == pytest.approx((0.4, 0.6))
    low, high = interval(samples, 2.0)
    assert float(high[0, 0, 0]) == pytest.approx(0.5 + 2 * float(samples[:, 0, 0, 0].std()))
    sure = interval(torch.full((3, 1, 1, 1), 0.5), 2.0)
    assert float(sure[1] - sure[0]) == pytest.approx(4 * LEAST, rel=1e-4)  # float32 at 0.5
    assert float(interval(samples, 9.0)[0].min()) == 0


def written(folder: Path, **changes: object) -> Calibration:
    (folder / FILE).write_text(json.dumps({"coverage": [{**MEASURED.told(), **changes}]}))
    found = Calibration.load(folder)
    assert found is not None
    return found


def test_a_calibration_tells_only_of_what_it_was_measured_on(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert found.coverages == (MEASURED,)
    small = Measurement(torch.zeros(1, 3, 4, 4), SuperResolution((3, 16, 16), 4))
    assert found.certainty(small, NATURAL, (1, 1), 2, 3, 0.9).found == MEASURED
    noisy = replace(small, sigma=0.01)
    other = Measurement(torch.zeros(1, 3, 16, 16), Denoising((3, 16, 16)), 0.1)
    for asked in (
        (small, FIRE.Settings(aim="faithful"), (1, 1), 2, 3, 0.9), (small, NATURAL, (2,), 2, 3, 0.9),
        (small, NATURAL, (1, 1), 1, 3, 0.9), (small, NATURAL, (1, 1), 2, 8, 0.9),
        (small, NATURAL, (1, 1), 2, 3, 0.8), (noisy, NATURAL, (1, 1), 2, 3, 0.9),
        (other, NATURAL, (1, 1), 2, 3, 0.9),
    ):  # fmt: skip
        assert found.certainty(*asked).found is None


@pytest.mark.parametrize(
    "changes", [{"factor": -1.0}, {"level": 1.5}, {"samples": 0}, {"nfe": "2"}, {"allocation": []}, {"sampler": 3}]
)
def test_a_damaged_coverage_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(PriorError, match="is no calibration"):
        written(tmp_path, **changes)


def done(level: float | None, calibration: Calibration | None) -> Restored:
    prior = load_prior("faces-64", "cpu")
    prior.calibration = calibration
    effort = EffortSettings((1, 1), samples=3, seed=1, interval=level)
    small = whole(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)))
    events = []
    Session(Recipe(Task("sr4"), prior, NATURAL, effort), "a.png", small, "0" * 64).run(events.append)
    (end,) = [event for event in events if isinstance(event, Restored)]
    return end


def test_a_session_makes_maps_and_says_what_was_measured(tmp_path: Path) -> None:
    end = done(0.9, written(tmp_path))
    assert [output.suffix for output in end.outputs][3:] == ["std", "q05", "q95", "low", "high", ""]
    std, q05, q95, low, high, mean = (output.image for output in end.outputs[3:])
    samples = torch.stack([output.image for output in end.outputs[:3]])
    torch.testing.assert_close(std, samples.std(dim=0))
    assert bool((q05 <= q95).all())
    torch.testing.assert_close(high, (mean + 1.7 * std.clamp_min(LEAST)).clamp(0, 1))
    assert bool((low <= mean).all())
    assert end.certainty is not None
    assert end.certainty.words().startswith("90% interval, measured coverage 90.3% of the pixels that vary, on 27")
    assert json.loads(end.json())["interval"] == {"level": 0.9, "coverage": 0.903, "factor": 1.7, "pictures": 27}


def test_maps_are_float_tiffs_where_they_were_announced_and_without_calibration_have_no_interval(
    tmp_path: Path,
) -> None:
    end = done(0.9, None)
    assert end.certainty is not None
    assert "not measured for this" in end.certainty.words()
    files = Delivery(Path("a.png"), tmp_path / "out.png", None)
    files.deliver(end, pytest.fail)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        "out.png",
        *(f"out-sample-{i}.png" for i in (1, 2, 3)),
        *(f"out-{m}.tif" for m in ("std", "q05", "q95")),
    }
    assert made <= {path.name for path in files.written(EffortSettings((1, 1), samples=3, interval=0.9))}
    torch.testing.assert_close(images.load(tmp_path / "out-std.tif"), end.outputs[3].image)  # every bit is kept
    record = images.read_record(tmp_path / "out-q95.tif")
    assert record is not None
    assert record["interval_told"] == {"level": 0.9, "coverage": None}
