"""What a trial would have returned had it been stopped, against the solver's own estimates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.engine.trials import KINDS, Look, Trial, follow, nested_trial, plain_trial
from degradations import Inpainting, simulate
from nested import NestedDiffusion
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer
from solvers import DDRM, NoiseSource

SEEDS = [3, 4]


@pytest.fixture(scope="module")
def posterior() -> DDRM:
    i = torch.arange(8.0)
    smooth = torch.exp(-((i[:, None] - i) ** 2) / 8)
    prior = GaussianPrior(torch.zeros(1, 8, 8), torch.kron(smooth, smooth) * 0.3)
    clean = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(1)) < 0.5
    measurement = simulate(clean, Inpainting((1, 8, 8), mask), 0.0, noise=NoiseSource([0, 1]))
    return Restorer(prior, "ddrm").posterior(measurement)  # type: ignore[arg-type]


def estimates(posterior: DDRM, allocation: tuple[int, ...]) -> dict[int, Tensor]:
    """Raw x̂₀ by number of evaluations, in [0, 1] units."""
    diffusion, noise = NestedDiffusion(posterior, allocation), NoiseSource(SEEDS)
    start = diffusion.start(posterior.initial(diffusion.schedule.K, noise), noise)
    return {estimate.nfe: (estimate.x0 + 1) / 2 for estimate in diffusion.run(start)}


def test_looks_of_an_unequal_allocation_are_what_a_stop_there_returns(posterior: DDRM) -> None:
    trial = nested_trial((3, 1, 2), (2, 3, 4, 5, 6), KINDS)
    looks, final = follow(trial, posterior, SEEDS)
    raw = estimates(posterior, (3, 1, 2))
    wanted = {
        ("returned", 2): raw[2],  # before the first end of an inner run: the newest
        ("newest", 2): raw[2],
        ("drawn", 2): (posterior.preview(2 * raw[2] - 1) + 1) / 2,
        ("returned", 3): raw[3],  # its end
        ("returned", 4): raw[4],  # an inner run of one evaluation
        ("returned", 5): raw[4],  # within the third: what the second returned
        ("newest", 5): raw[5],
        ("drawn", 5): raw[4],
        ("returned", 6): raw[6],
    }
    assert len(looks) == 5 * len(KINDS)
    for (kind, nfe), picture in wanted.items():
        # 2x − 1 and back rounds; nothing else differs
        torch.testing.assert_close(looks[Look("nested 3,1,2", kind, nfe)], picture, rtol=0, atol=2e-6)
    assert final.equal(raw[6])
    assert not raw[4].allclose(raw[5], atol=1e-3)  # the cases above are different pictures


def test_before_its_end_plain_ddrm_returns_its_newest_estimate(posterior: DDRM) -> None:
    looks, _ = follow(plain_trial(4, (1, 2, 4), ("returned", "drawn")), posterior, SEEDS)
    raw = estimates(posterior, (4,))
    for nfe in (1, 2, 4):
        assert looks[Look("plain 4", "returned", nfe)].equal(raw[nfe])
    assert looks[Look("plain 4", "drawn", 4)].equal(raw[4])
    assert not looks[Look("plain 4", "drawn", 1)].allclose(raw[1], atol=1e-3)


def test_trials_are_named_after_their_split() -> None:
    assert nested_trial((10, 10, 10), (30,)).name == "nested 3x10"
    assert nested_trial((16, 8, 6), (30,)).name == "nested 16,8,6"
    assert plain_trial(30, (30,)).name == "plain 30"
    assert Look("plain 30", "drawn", 10).key == "plain 30|drawn|10"


@pytest.mark.parametrize("stops", [(), (0, 1), (2, 1), (1, 1), (5,)])
def test_stops_must_rise_within_the_run(stops: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="plain 4: "):
        Trial("plain 4", (4,), stops)
