"""What the studies of slices and volumes measure with."""

from __future__ import annotations

import pytest
import torch

from benchmarks.studies.mri import head, scores, total_variation
from benchmarks.studies.volume import arms, less, measured, moved
from degradations import FourierSampling, simulate
from restoration.tasks.kspace_masks import kept
from solvers import NoiseSource


def disk(side: int = 32) -> torch.Tensor:
    """(1, side, side): a grey disk with a dark hole in its middle."""
    place = torch.linspace(-1, 1, side)
    radius = (place[:, None] ** 2 + place**2).sqrt()
    return ((radius < 0.8) & (radius > 0.2)).float()[None] * 0.7


def test_the_head_is_the_largest_bright_part_with_its_holes_filled() -> None:
    picture = disk()
    picture[0, 0, 0] = 1
    found = head(picture)
    assert bool(found[16, 16])
    assert not bool(found[0, 0])
    assert int(found.sum()) == int((disk()[0] > 0).sum()) + int((disk()[0, 10:22, 10:22] == 0).sum())


def test_scores_see_the_head_alone() -> None:
    clean, where = disk(), head(disk())
    wrong = clean + 0.5 * ~where
    assert scores(wrong, clean, where)[0] == pytest.approx(100)
    assert scores(clean + 0.1 * where, clean, where)[0] == pytest.approx(20, abs=0.01)


def test_total_variation_lowers_what_it_minimises_and_beats_least_norm() -> None:
    pytest.importorskip("deepinv")
    clean = disk()[None]
    operator = FourierSampling((1, 32, 32), kept("random", 32, 32, 2, 0.16, 0))
    measurement = simulate(clean, operator, 0.0, noise=NoiseSource([0]))

    def objective(x: torch.Tensor) -> float:
        tv = x.diff(dim=2)[..., :-1].square() + x.diff(dim=3)[:, :, :-1].square()
        return float((operator(x) - measurement.y).square().sum() / 2 + 0.01 * tv.sqrt().sum())

    plain, smooth = operator.pinv(measurement.y), total_variation(measurement, 0.01, 60)
    assert objective(smooth) < 0.8 * objective(plain)
    assert float((smooth - clean).norm()) < 0.8 * float((plain - clean).norm())


def test_a_moved_slice_is_a_volume_whose_own_changes_are_no_flicker() -> None:
    volume = moved(disk(), 4)
    assert volume.shape == (4, 1, 32, 32)
    assert float(volume.diff(dim=0).abs().max()) > 0.01
    assert measured(volume + 0.1, volume)[1] == pytest.approx(0, abs=1e-6)  # an error that stays is none
    steps = torch.tensor([0.1, -0.1, 0.1, -0.1]).reshape(4, 1, 1, 1)
    psnr, flicker = measured(volume + steps, volume)
    assert flicker == pytest.approx(0.2, abs=1e-6)
    assert psnr == pytest.approx(20, abs=1e-3)


def test_flicker_is_compared_volume_by_volume() -> None:
    assert less([0.5, 0.9], [1.0, 1.0]) == "-30.0 % (-50.0 … -10.0)"
    assert less([0.9], [1.0]) == "-10.0 %"
    assert arms([0.25])["shared, together 0.25"] == (True, 0.25)
