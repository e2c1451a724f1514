"""The study of what choosing is worth: its arithmetic, on two evaluations."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from benchmarks.studies import steering
from restoration.priors import load_prior
from restoration.restorer import Restorer
from solvers import FIRE


def test_the_best_of_every_preview_is_kept_and_the_best_of_four_is_no_worse_than_their_mean(monkeypatch) -> None:
    monkeypatch.setattr(steering, "STEPS", (1, 1))
    monkeypatch.setattr(steering, "LONG", (4, 4))
    prior = load_prior("faces-64", "cpu")
    natural, faithful = Restorer(prior, FIRE.Settings("natural")), Restorer(prior)
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    problem = steering.problem_of("inpaint", picture, (3, 64, 64), 1)
    changed = (problem.degraded != picture).any(dim=0)
    assert bool(steering.middle(changed).all())
    assert int(changed.sum()) == 32 * 32
    score = steering.by_middle(picture)
    first = natural.steer(problem.measurement, allocation=(1, 1), seeds=[1])
    for (node, best), (after, _) in pairwise(steering.steered(first, problem, score)):
        assert best == int(score(node.candidates).argmax())
        assert after.run.record[0].kept == (best,)  # type: ignore[union-attr]
    found = steering.measured(problem, natural, faithful, seed=1)
    ends = [found[f"four runs, best at the end by {what}"] for what in ("all", "its middle")]
    assert ends[0][0] >= found["four runs, mean"][0]
    assert ends[1][1] >= found["four runs, mean"][1]
    # what is known of the picture has no error, so that all and the hole differ by the share of the hole
    share = 10 * torch.log10(torch.tensor(4.0)).item()
    for whole, part in found.values():
        assert whole - part == pytest.approx(share, abs=1e-3)
