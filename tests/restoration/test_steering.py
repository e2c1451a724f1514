"""A restoration that a person steers, from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from degradations import Measurement, SuperResolution
from nested import Budget
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer
from restoration.steering import Steered
from solvers import FIRE

SHAPE = (1, 4, 4)
# pixels that blocks share half of, narrow enough that no preview leaves [0, 1], where it would be clamped
PRIOR = GaussianPrior(torch.zeros(SHAPE), 0.02 * torch.eye(16, dtype=torch.float64))


def restorer() -> Restorer:
    return Restorer(PRIOR, FIRE.Settings("natural"))


def measured(sigma: float = 0.0) -> Measurement:
    y = 0.4 + 0.2 * torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return Measurement(y, SuperResolution(SHAPE, 2), sigma)


def painted(image: torch.Tensor) -> torch.Tensor:
    """One pixel up and its neighbour in the block down: nothing that was measured. Another alone: a part of it."""
    image = image.clone()
    image[0, 0, 0] += 0.2
    image[0, 0, 1] -= 0.2
    image[0, 3, 3] += 0.1
    return image


def test_a_person_chooses_edits_asks_for_more_and_goes_back(tmp_path: Path) -> None:
    r, m = restorer(), measured()
    first = r.steer(m, candidates=4, outer=2, inner=3, seeds=[7])
    assert (first.run.seeds, first.run.spent, tuple(first.candidates.shape)) == ((7, 8, 9, 10), 3, (4, *SHAPE))
    assert float((first.candidates[0] - first.candidates[1]).abs().max()) > 0.01
    picked = first.choose(2)
    assert all(image.equal(first.candidates[2]) for image in picked.candidates)
    one = first.choose(2, 1)
    image = painted(one.candidates[0])
    node = one.edit(image)
    assert node.in_range is not None
    assert 0 < node.in_range < 0.1  # a quarter of 0.1² of 0.09
    end = node.advance()
    assert end.finished
    assert end.advance() is end
    torch.testing.assert_close(m.operator(end.candidates), m.y, atol=1e-5, rtol=0)  # float32 sums of 4 pixels
    trusted = one.edit(image, trust=True).advance()
    moved = m.operator(image[None]) - m.operator(one.candidates)
    torch.testing.assert_close(m.operator(trusted.candidates), m.y + moved, atol=1e-5, rtol=0)
    longer = end.more(Budget(4)).advance()
    assert (longer.run.spent, longer.run.allocation) == (10, (3, 3, 4))
    assert end.back() is node
    assert node.back().back() is first
    with pytest.raises(ValueError, match="nothing to go back to"):
        first.back().back()

    for steered in (end, trusted, longer):
        steered.save(tmp_path / "node")
        loaded = Steered.load(r, m, tmp_path / "node")
        again = loaded.replayed([image])
        assert loaded.candidates.equal(steered.candidates)
        assert again.x0 is not None
        assert r.shown(again.x0).equal(steered.candidates)
    with pytest.raises(ValueError, match="edits must hold"):
        longer.replayed()
    with pytest.raises(ValueError, match="another run"):
        Steered.load(r, measured(0.1), tmp_path / "node")


def test_a_preview_given_back_unchanged_is_no_edit() -> None:
    first = restorer().steer(measured(), candidates=2, outer=2, inner=3, seeds=[7])
    same = first.edit(first.candidates)
    assert same.in_range == 0
    assert same.run.x_k.equal(first.run.x_k)


def test_a_stop_leaves_it_where_it_stands_and_it_goes_on_from_there() -> None:
    first = restorer().steer(measured(), candidates=2, outer=2, inner=3, seeds=[7])
    stopped = first.advance(watch=lambda preview: True)
    assert (stopped.run.spent, stopped.run.inner_step) == (4, 1)
    assert stopped.candidates.equal(first.candidates)
    with pytest.raises(ValueError, match="at a completed preview"):
        stopped.choose(0)
    assert stopped.advance().candidates.equal(first.advance().candidates)
    assert first.advance(stop=lambda: True) is first


def test_what_does_not_fit_is_one_line() -> None:
    r = restorer()
    with pytest.raises(ValueError, match="measurement must be a Measurement of one image"):
        r.steer(measured().expand(2))
    with pytest.raises(ValueError, match="candidates must be"):
        r.steer(measured(), candidates=0)
    with pytest.raises(ValueError, match="seeds must be a sequence of 3"):
        r.steer(measured(), candidates=3, seeds=[1, 2])
    first = r.steer(measured(), candidates=2, outer=2, inner=2, seeds=[1])
    with pytest.raises(ValueError, match="image must be"):
        first.edit(torch.zeros(3, 4, 4))
