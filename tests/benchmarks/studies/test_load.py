"""The load study's own arithmetic, and its arms on a prior that takes no time but on the clock."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from benchmarks.studies.load import capacity, summed, throughput
from benchmarks.studies.load_arms import ARMS, Clock, Outcome, Server, arrivals, driven, posed
from restoration.priors import GaussianPrior

SHAPE = (3, 8, 8)
PICTURES = [torch.rand(SHAPE, generator=torch.Generator().manual_seed(i)) for i in range(4)]


class Told(Clock):
    """A clock that only calls of the network move, and waiting."""

    lets_threads_work = False

    def restart(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, until: float, server: Server) -> None:
        while self.now < until:
            if not server.step():
                self.now = until


class Timed:
    """A Gaussian prior of 3 × 8 × 8, each of whose pieces takes a fiftieth of a second on the clock."""

    def __init__(self, clock: Told) -> None:
        self._inner, self._clock = GaussianPrior(torch.zeros(SHAPE), 0.2 * torch.eye(192)), clock
        self.schedule, self.image_shape, self.device = self._inner.schedule, SHAPE, self._inner.device
        self.name, self.rmse, self.fingerprint = "timed", self._inner.rmse, self._inner.fingerprint

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        self._clock.now += 0.02 * len(x_k)
        return self._inner.denoise(x_k, k)


def load(arm: str, times: float, seconds: float = 5.0) -> list[Outcome]:
    clock = Told()
    prior = Timed(clock)
    server = ARMS[arm](prior, 4, clock)
    clock.restart()
    draw = random.Random(3)
    return driven(server, posed(PICTURES, arrivals(times / 0.6, seconds, draw), draw), clock)


def test_arrivals_are_as_many_as_the_rate_says_and_in_order() -> None:
    times = arrivals(5.0, 400.0, random.Random(0))
    assert len(times) == pytest.approx(2000, rel=0.1)
    assert times == sorted(times)
    assert times[-1] < 400


def test_capacity_is_of_whole_restorations_one_after_another() -> None:
    clock = Told()
    assert capacity(Timed(clock), PICTURES, 2, clock) == pytest.approx(1 / 0.6)


def test_under_five_times_the_load_plans_keep_deadlines_and_others_do_not() -> None:
    rows = {arm: summed(load(arm, 5.0)) for arm in ARMS}
    assert rows["planned"].kept is not None
    assert rows["planned"].kept >= 0.99
    assert rows["planned"].nfe is not None
    assert 5 <= rows["planned"].nfe < 20
    assert rows["fifo"].kept is not None
    assert rows["fifo"].kept < 0.4
    assert rows["stepped"].kept is not None
    assert rows["stepped"].kept < 0.4
    assert (rows["fifo"].refused, rows["stepped"].refused) == (0, 0)


def test_with_little_load_every_arm_keeps_nearly_all() -> None:
    for arm in ARMS:
        row = summed(load(arm, 0.3))
        assert row.kept is not None
        assert row.kept > 0.8, arm


def test_what_is_summed_is_of_those_taken_in() -> None:
    outcomes = [
        Outcome(2.0, first_s=0.5, end_s=1.0, nfe=10, complete=True, psnr=30.0),
        Outcome(2.0, first_s=1.5, end_s=3.0, nfe=30, complete=True, psnr=40.0),
        Outcome(2.0, refused=True),
    ]
    row = summed(outcomes)
    assert (row.requests, row.refused, row.kept, row.seen) == (3, 1, 0.5, 1.0)
    assert (row.psnr, row.nfe, row.first_p50_s) == (30.0, 10.0, 1.0)
    empty = summed([Outcome(1.0, refused=True)])
    assert (empty.kept, empty.first_p95_s, empty.psnr) == (None, None, None)


def test_a_full_engine_gives_every_piece_it_is_counted_for() -> None:
    clock = Told()
    told = throughput(Timed(clock), PICTURES, 4, 3, clock)
    assert told.bare == pytest.approx(50)
    assert told.engine == pytest.approx(50)
