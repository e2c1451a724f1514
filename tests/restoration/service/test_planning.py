"""Promises, shares and calls, exactly: pure functions of numbers."""

from __future__ import annotations

import math
import random

import pytest

from restoration.service import planning
from restoration.service.planning import Demand, Policy, Speed, Waiting

UNIT = Speed(((1, 1.0), (4, 4.0)))  # a second a piece, whatever the batch
FLAT = Speed(((1, 1.0), (4, 1.0)))  # a second a call, whatever is in it
POLICY = Policy(least=5, most=30, inner=10, margin=1.0, floor=0.0)


def demand(id: int, deadline: float, first: int = 5, more: int = 25, pieces: int = 1, begun: int = 0) -> Demand:
    return Demand(id, pieces, deadline, first, begun, more)


def test_seconds_are_linear_between_measured_sizes_and_proportional_beyond() -> None:
    speed = Speed(((1, 2.0), (3, 4.0)), factor=0.5)
    assert [speed.seconds(n) for n in (1, 2, 3, 6)] == [1.0, 1.5, 2.0, 4.0]


def test_a_speed_follows_what_calls_take() -> None:
    slower = UNIT.followed(2, 4.0, weight=0.5)
    assert slower.factor == 1.5
    assert slower.seconds(2) == 3.0


def test_the_best_batch_is_the_smallest_that_is_about_as_fast_as_any() -> None:
    assert UNIT.best() == 1
    assert FLAT.best() == 4
    assert Speed(((1, 1.0), (2, 1.03), (4, 2.0))).best() == 2


def test_promises_are_kept_one_after_another_by_deadline() -> None:
    ends = planning.promised_by([demand(1, 50), demand(2, 20), demand(3, math.inf)], UNIT, 1)
    assert ends == {2: 6.0, 1: 11.0}  # five pieces each, and the call that is under way


def test_a_run_cannot_be_faster_than_one_evaluation_after_another() -> None:
    assert planning.promised_by([demand(1, 50)], FLAT, 4) == {1: 6.0}
    assert planning.alone(5, 9, FLAT, 4) == 15.0  # three calls an evaluation
    assert planning.alone(2, 9, UNIT, 4) == 18.0


def test_who_fits_is_let_in_at_once_and_who_does_not_waits_as_long_as_is_too_much() -> None:
    there = [demand(1, 11.0)]
    assert planning.wait_for(demand(2, 11.0), there, UNIT, 1, POLICY) == 0.0
    assert planning.wait_for(demand(2, 10.0), there, UNIT, 1, POLICY) == 0.0  # it goes first, and both are in time
    assert planning.wait_for(demand(3, 14.0), [*there, demand(2, 11.0)], UNIT, 1, POLICY) == 2.0


def test_nobody_is_let_in_at_the_cost_of_a_promise() -> None:
    assert planning.wait_for(demand(2, 7.0), [demand(1, 8.0)], UNIT, 1, POLICY) == 3.0


def test_a_deadline_that_nothing_could_keep_need_not_be_tried_again() -> None:
    assert planning.wait_for(demand(1, 5.5), [], UNIT, 1, POLICY) == math.inf
    assert planning.wait_for(demand(1, 6.0), [], UNIT, 1, POLICY) == 0.0


def test_who_is_late_already_keeps_nobody_out_whom_it_does_not_concern() -> None:
    late = demand(1, 3.0)
    assert planning.wait_for(demand(2, 20.0), [late], UNIT, 1, POLICY) == 0.0


def test_without_a_deadline_everyone_is_let_in() -> None:
    crowd = [demand(i, 5.0 * i) for i in range(1, 20)]
    assert planning.wait_for(demand(99, math.inf), crowd, UNIT, 1, POLICY) == 0.0


def test_shares_are_equal_where_deadlines_are() -> None:
    given = planning.shares([demand(1, 30.0), demand(2, 30.0)], UNIT, 1, POLICY)
    assert given == {1: 10, 2: 10}  # 30 pieces, 10 of them promised


def test_a_near_deadline_binds_those_up_to_it_and_no_others() -> None:
    given = planning.shares([demand(1, 12.0), demand(2, 60.0)], UNIT, 1, POLICY)
    assert given == {1: 2, 2: 25}


def test_what_one_cannot_use_others_get() -> None:
    assert planning.shares([demand(1, 40.0, more=2), demand(2, 40.0)], UNIT, 1, POLICY) == {1: 2, 2: 25}


def test_newcomers_and_runs_without_deadline_are_reckoned_with() -> None:
    assert planning.shares([demand(1, 30.0), demand(2, 30.0)], UNIT, 1, POLICY, reserved=0.2) == {1: 7, 2: 7}
    floored = Policy(floor=0.5)
    assert planning.shares([demand(1, 30.0), demand(9, math.inf)], UNIT, 1, floored) == {1: 10}


def test_a_large_picture_gets_as_many_evaluations_not_as_many_pieces() -> None:
    assert planning.shares([demand(1, 80.0, pieces=6), demand(2, 80.0)], UNIT, 1, POLICY) == {1: 6, 2: 6}


def test_planned_shares_can_always_be_had_in_time() -> None:
    """Of random runs: all work up to every deadline, with all promises before it, fits before that deadline."""
    draw = random.Random(0)
    for _ in range(300):
        runs = [
            demand(i, draw.uniform(1, 60), draw.choice([0, 5]), draw.randint(0, 25), draw.randint(1, 8))
            for i in range(draw.randint(1, 12))
        ]
        given = planning.shares(runs, UNIT, 4, POLICY)
        promised = sum(d.first * d.pieces for d in runs)
        for last in runs:
            until = [d for d in runs if d.deadline <= last.deadline]
            extra = sum(given[d.id] * d.pieces for d in until)
            assert extra == 0 or promised + extra <= last.deadline
        assert all(given[d.id] <= d.more for d in runs)


@pytest.mark.parametrize(
    ("share", "spent", "steps"),
    [
        (4, 0, ()),
        (5, 0, (5,)),
        (14, 0, (14,)),
        (15, 0, (10, 5)),
        (30, 0, (10, 10, 10)),
        (99, 0, (10, 10, 10)),
        (19, 10, (19,)),
        (4, 26, ()),
    ],
)
def test_evaluations_are_split_into_inner_runs(share: int, spent: int, steps: tuple[int, ...]) -> None:
    assert planning.split(share, spent, POLICY) == steps


def test_a_first_inner_run_is_as_long_as_endangers_no_promise() -> None:
    own, other = demand(1, 40.0), demand(2, 14.0)
    assert planning.first_inner(own, 25, [own], UNIT, 1, POLICY) == 10
    ahead = demand(1, 13.0)
    assert planning.first_inner(ahead, 3, [ahead, other], UNIT, 1, POLICY) == 8  # then five, and a call: 14
    assert planning.first_inner(ahead, 9, [ahead, demand(2, 11.0)], UNIT, 1, POLICY) == 7  # its own promise


def waits(id: int, deadline: float, promised: bool = False, planned: bool = True, pieces: int = 1, ends: int = 0):
    return Waiting(id, pieces, deadline, promised, planned, ends, id)


def test_promises_go_first_then_plans_by_deadline_then_open_ended_then_spare() -> None:
    runs = [
        waits(1, 1.0, planned=False, ends=1),
        waits(2, math.inf),
        waits(3, 9.0, ends=1),
        waits(4, 3.0, ends=1),
        waits(5, 8.0, promised=True),
        waits(6, 2.0, promised=True),
    ]
    assert [id for id, _ in planning.picked(runs, 6, 0.0)] == [6, 5, 4, 3, 2, 1]
    assert planning.picked(runs, 2, 0.0) == [(6, 1), (5, 1)]


def test_a_large_picture_fills_what_is_left_of_a_call() -> None:
    runs = [waits(1, 1.0, promised=True), waits(2, 2.0, promised=True, pieces=9)]
    assert planning.picked(runs, 4, 0.0) == [(1, 1), (2, 3)]


def test_runs_without_a_deadline_get_their_floor_whatever_the_others_want() -> None:
    runs = [waits(1, 1.0, promised=True, pieces=99), waits(2, math.inf, pieces=99)]
    credit, theirs = 0.0, 0
    for _ in range(100):
        taken = dict(planning.picked(runs, 4, credit))
        theirs += taken.get(2, 0)
        credit = planning.owed(credit, 0.1, sum(taken.values()), taken.get(2, 0), waits=True)
    assert theirs == pytest.approx(40, abs=1)


def test_of_runs_without_a_deadline_those_come_first_that_have_least() -> None:
    runs = [waits(1, math.inf, ends=2), waits(2, math.inf, ends=0), waits(3, math.inf, ends=0)]
    assert [id for id, _ in planning.picked(runs, 3, 0.0)] == [2, 3, 1]


def test_a_call_is_smaller_where_a_promise_would_be_late_and_that_costs_little() -> None:
    assert planning.call_size([(5, 1, 20.0)], 4, UNIT) == 4
    assert planning.call_size([(5, 1, 11.0)], 4, UNIT) == 2
    assert planning.call_size([(5, 1, 0.5)], 4, UNIT) == 4  # late in any case
    assert planning.call_size([(5, 1, 0.5)], 4, FLAT) == 4


def test_the_promised_rate_of_newcomers_is_a_mean_of_the_last_seconds() -> None:
    rate = 0.0
    for _ in range(400):
        rate = planning.expected_to_come(rate, 0.1, 0.5, span=5.0)
    assert rate == pytest.approx(5.0, rel=0.02)  # half a piece every tenth of a second
    assert planning.expected_to_come(rate, 50.0, 0.0, span=5.0) < 0.01


@pytest.mark.parametrize(
    "wrong", [{"least": 0}, {"most": 4}, {"inner": 0}, {"margin": 0.0}, {"floor": 1.0}, {"most_runs": 0}]
)
def test_a_policy_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Policy(**wrong)
