"""Many runs at once: each as if it were alone, each by its deadline, none at another's cost."""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from contextlib import suppress

import pytest
import torch

from nested import Adaptive, Budget, Fixed, NestedState
from restoration.priors import TiledPrior, prior_for
from restoration.restorer import Restoration, Restorer, StoppedBy
from restoration.service.engine import Engine
from restoration.service.planning import Policy, Speed
from restoration.service.work import (
    CancelledError,
    ClosedError,
    Ended,
    Event,
    Improved,
    Lost,
    OverloadedError,
    Planned,
    Work,
)
from solvers import DDRM, FIRE

from .conftest import Clock, Timed, gaussian, measurement

ROUNDING = 1e-5
"""Of a result in [0, 1]: this prior answers in float64, so that another batch size can change the last float32 bit
of an answer (6e-8), which a step weighs by up to σ/σ' < 100. Here nothing differs at all."""
SECOND = Speed(((1, 1.0), (8, 8.0)))
CALL = Speed(((1, 1.0), (8, 1.0)))


def stepping(clock: Clock, prior: Timed | None = None, speed: Speed = SECOND, batch: int = 1, **policy) -> Engine:
    """An engine without a thread, on a clock that only its network moves."""
    return Engine(prior or Timed(clock), batch=batch, clock=clock, speed=speed, policy=Policy(**policy))


def run_out(engine: Engine) -> None:
    while engine.step():
        pass


def alone(work: Work) -> Restoration:
    prior = prior_for(gaussian(), work.measurement.operator.image_shape, work.overlap)
    seeds = range(work.seed, work.seed + work.samples)
    assert work.effort is not None
    return Restorer(prior, work.settings).restore(
        work.measurement.expand(work.samples),
        allocation=work.effort,
        seeds=seeds,
        max_nfe=work.max_nfe,
    )


def some_work(seed: int) -> Work:
    draw = random.Random(seed)
    settings = draw.choice([None, FIRE.Settings(aim="natural"), DDRM.Settings(), DDRM.Settings(eta=0.5)])
    effort = draw.choice([Fixed((2, 3)), Fixed((4,)), Budget(7, least=2), Fixed((1, 1, 2))])
    return Work(measurement(seed), settings, seed, effort, samples=draw.choice([1, 1, 1, 2]), every=seed % 3 == 0)


@pytest.mark.parametrize("batch", [5, 16])
def test_each_of_64_random_runs_gives_what_it_gives_alone(batch: int) -> None:
    works = [some_work(seed) for seed in range(64)]
    with Engine(gaussian(), batch=batch) as engine:
        tickets = []
        for i, work in enumerate(works):  # they join while others run
            tickets.append(engine.submit(work))
            if i % 7 == 0:
                time.sleep(0.01)
        results = [ticket.result(60) for ticket in tickets]
        assert engine.stats.batch_fill > 0.8
    for work, done in zip(works, results, strict=True):
        single = alone(work)
        assert float((done.image - single.image).abs().max()) < ROUNDING
        assert (done.nfe, done.seeds, done.stopped_by) == (single.nfe, single.seeds, StoppedBy.FINISHED)


def test_adaptive_runs_share_calls_and_decide_as_each_does_alone() -> None:
    """Some end early, by what their own inner runs change."""
    works = [
        Work(measurement(seed), FIRE.Settings("natural"), seed, Adaptive(0.1, most=20), every=True)
        for seed in range(8)
    ]
    with Engine(gaussian(), batch=8) as engine:
        results = [ticket.result(60) for ticket in [engine.submit(work) for work in works]]
    for work, done in zip(works, results, strict=True):
        single = alone(work)
        assert float((done.image - single.image).abs().max()) < ROUNDING
        assert done.preview.state.allocation == single.preview.state.allocation
        assert (done.nfe, done.stopped_by) == (single.nfe, StoppedBy.FINISHED)


def test_events_come_in_order_and_the_end_once(clock: Clock) -> None:
    told: list[Event] = []
    engine = stepping(clock)
    work = Work(measurement(1, (8, 8)), effort=Fixed((2, 1)), every=True)
    ticket = engine.submit(work, told.append)
    run_out(engine)
    assert [type(event) for event in told] == [Planned, Improved, Improved, Improved, Ended]
    previews = [event.preview for event in told if isinstance(event, Improved)]
    assert [(p.nfe, p.complete, p.elapsed) for p in previews] == [(1, False, 1), (2, True, 2), (3, True, 3)]
    assert ticket.done
    assert ticket.result().image.equal(previews[-1].image)


def test_without_every_only_ends_of_inner_runs_are_told(clock: Clock) -> None:
    told: list[Event] = []
    engine = stepping(clock)
    engine.submit(Work(measurement(1, (8, 8)), effort=Fixed((3, 2))), told.append)
    run_out(engine)
    assert [event.preview.nfe for event in told if isinstance(event, Improved)] == [3, 5]


def test_a_run_goes_on_from_its_state_bit_for_bit_at_any_evaluation(clock: Clock, tmp_path) -> None:
    work = Work(measurement(3, (12, 10)), FIRE.Settings(aim="natural"), seed=7, effort=Fixed((3, 2)))
    whole = alone(work)
    engine = stepping(clock, batch=2)
    for spent in range(1, 5):
        ticket = engine.submit(work)
        while ticket.state.spent < spent:
            engine.step()
        ticket.state.save(tmp_path / "state")
        ticket.cancel()
        state = NestedState.load(tmp_path / "state")
        resumed = engine.submit(Work(work.measurement, work.settings, effort=work.effort, state=state))
        run_out(engine)
        assert resumed.result().image.equal(whole.image)


def test_a_planned_run_alone_gets_all_that_is_planned_at_most(clock: Clock) -> None:
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(1, (8, 8)), deadline=40.0))
    assert ticket.plan.allocation == (10, 10, 10)
    run_out(engine)
    done = ticket.result()
    assert (done.nfe, done.preview.state.allocation, done.stopped_by) == (30, (10, 10, 10), StoppedBy.FINISHED)
    assert clock.now == 30.0


def test_a_near_deadline_gets_fewer_evaluations_and_an_inner_run_that_ends(clock: Clock) -> None:
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(1, (8, 8)), deadline=9.0))
    run_out(engine)
    done = ticket.result()
    assert done.preview.complete
    assert 5 <= done.nfe <= 9
    assert clock.now <= 9.0
    assert engine.stats.deadlines_kept == 1


def test_under_load_everyone_gets_the_least_in_time_and_who_cannot_is_refused(clock: Clock) -> None:
    engine = stepping(clock)
    draw = random.Random(0)
    tickets, refused = [], 0
    for i in range(60):  # ten times what there is time for
        try:
            tickets.append(engine.submit(Work(measurement(i, (8, 8)), seed=i, deadline=draw.uniform(10, 60))))
        except OverloadedError as error:
            assert error.retry_after is not None
            assert error.retry_after > 0
            refused += 1
        for _ in range(3):
            engine.step()
    run_out(engine)
    results = [ticket.result() for ticket in tickets]
    assert all(done.preview.complete and done.nfe >= 5 for done in results)
    stats = engine.stats
    assert (stats.deadlines_kept, stats.deadlines_missed, stats.refused) == (len(tickets), 0, refused)
    assert refused > 10
    assert len(tickets) > 25


def test_a_plan_shrinks_when_others_come(clock: Clock) -> None:
    engine = stepping(clock)
    told: list[Event] = []
    first = engine.submit(Work(measurement(0, (8, 8)), deadline=40.0), told.append)
    for _ in range(3):
        engine.step()
    for i in range(1, 4):
        engine.submit(Work(measurement(i, (8, 8)), seed=i, deadline=36.0))
    run_out(engine)
    plans = [event.plan for event in told if isinstance(event, Planned)]
    assert plans[0].allocation == (10, 10, 10)
    assert len(plans) > 1
    assert plans[-1].total_nfe < 30
    assert first.result().nfe < 30


def test_a_deadline_too_short_for_anyone_is_refused_for_good(clock: Clock) -> None:
    engine = stepping(clock)
    with pytest.raises(OverloadedError, match="too short") as raised:
        engine.plan(Work(measurement(0, (8, 8)), deadline=4.0))
    assert raised.value.retry_after is None
    assert engine.stats.refused == 0  # it was only asked


def test_too_many_runs_are_refused(clock: Clock) -> None:
    engine = stepping(clock, most_runs=2)
    work = Work(measurement(0, (8, 8)), effort=Fixed((5,)))
    for _ in range(2):
        engine.submit(work)
    with pytest.raises(OverloadedError, match="2 runs are there"):
        engine.submit(work)


def test_runs_without_a_deadline_go_on_beside_those_that_have_one(clock: Clock) -> None:
    engine = stepping(clock, floor=0.2)
    open_ended = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((99,))))
    for i in range(1, 40):
        with suppress(OverloadedError):
            engine.submit(Work(measurement(i, (8, 8)), seed=i, deadline=12.0))
        for _ in range(5):
            engine.step()
    assert clock.now * 0.2 == pytest.approx(open_ended.state.spent, abs=0.1 * clock.now)


def test_a_cancelled_run_frees_its_places_at_the_next_call(clock: Clock) -> None:
    prior = Timed(clock)
    engine = stepping(clock, prior, batch=8)
    kept = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((4,))))
    other = engine.submit(Work(measurement(1, (8, 8)), effort=Fixed((9,))))
    engine.step()
    other.cancel()
    run_out(engine)
    assert prior.sizes == [2, 1, 1, 1]
    assert kept.result().nfe == 4
    with pytest.raises(CancelledError):
        other.result()
    assert other.state.spent == 1  # still there


def test_a_stopped_run_keeps_its_best(clock: Clock) -> None:
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((2, 5))))
    for _ in range(4):
        engine.step()
    assert ticket.best is not None
    ticket.stop()
    run_out(engine)
    done = ticket.result()
    assert (done.stopped_by, done.nfe, done.preview.nfe, done.preview.complete) == ("interrupt", 4, 2, True)


def test_before_the_first_end_the_newest_estimate_is_the_best(clock: Clock) -> None:
    engine = stepping(clock)
    work = Work(measurement(0, (8, 8)), seed=2, effort=Fixed((4,)), max_nfe=3)
    ticket = engine.submit(work)
    assert ticket.best is None
    run_out(engine)
    done, single = ticket.result(), alone(work)
    assert (done.stopped_by, done.preview.complete) == (StoppedBy.MAX_NFE, False)
    assert done.image.equal(single.image)


def test_what_fails_in_one_run_touches_no_other(clock: Clock) -> None:
    engine = stepping(clock, batch=8)

    def raising(event: Event) -> None:
        if isinstance(event, Improved):
            raise RuntimeError("a watcher's own")

    good = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((2, 2))))
    watched = engine.submit(Work(measurement(1, (8, 8)), effort=Fixed((2, 2))), raising)
    broken = engine.submit(Work(measurement(2, (8, 8)), effort=Fixed((2, 2))))
    broken._running.nested.answer = None  # type: ignore[assignment, method-assign]
    run_out(engine)
    assert good.result().image.equal(alone(Work(measurement(0, (8, 8)), effort=Fixed((2, 2)))).image)
    with pytest.raises(RuntimeError, match="a watcher's own"):
        watched.result()
    with pytest.raises(TypeError):
        broken.result()


def test_pieces_that_the_network_cannot_do_are_found_one_by_one(clock: Clock) -> None:
    prior = Timed(clock)
    engine = stepping(clock, prior, batch=8)
    good = [engine.submit(Work(measurement(i, (8, 8)), effort=Fixed((2,)))) for i in range(3)]
    bad = engine.submit(Work(measurement(9, (8, 8)), effort=Fixed((2,))))
    marked = bad.state.x_k[0]

    def refuse(x: torch.Tensor) -> None:
        if any(image.equal(marked) for image in x):
            raise RuntimeError("no such picture")

    prior.before = refuse
    run_out(engine)
    assert all(ticket.result().nfe == 2 for ticket in good)
    with pytest.raises(RuntimeError, match="no such picture"):
        bad.result()


def test_nan_is_told_to_whom_it_concerns(clock: Clock) -> None:
    prior = Timed(clock)
    engine = stepping(clock, prior, batch=8)
    good, bad = (engine.submit(Work(measurement(i, (8, 8)), effort=Fixed((2,)))) for i in range(2))
    denoise = prior.denoise

    def poisoned(x: torch.Tensor, k: int | torch.Tensor) -> torch.Tensor:
        answer = denoise(x, k)
        answer[1] = math.nan
        return answer

    prior.denoise = poisoned  # type: ignore[method-assign]
    engine.step()
    prior.denoise = denoise  # type: ignore[method-assign]
    run_out(engine)
    assert good.result().nfe == 2
    with pytest.raises(ValueError, match="NaN"):
        bad.result()


def test_too_little_memory_halves_the_batch_and_loses_nothing(clock: Clock) -> None:
    prior = Timed(clock)

    def short(x: torch.Tensor) -> None:
        if len(x) > 2:
            raise RuntimeError("CUDA out of memory")

    prior.before = short
    engine = stepping(clock, prior, batch=8)
    tickets = [engine.submit(Work(measurement(i, (8, 8)), effort=Fixed((2,)))) for i in range(6)]
    run_out(engine)
    assert [ticket.result().nfe for ticket in tickets] == [2] * 6
    assert engine.batch == 2


def test_one_run_of_many_pieces_is_halved_until_it_fits_and_the_batch_comes_back(clock: Clock) -> None:
    prior, most = Timed(clock), [2]

    def short(x: torch.Tensor) -> None:
        if len(x) > most[0]:
            raise RuntimeError("CUDA out of memory")

    prior.before = short
    engine = stepping(clock, prior, batch=8)
    work = Work(measurement(0, (8, 8)), effort=Fixed((2,)), samples=7)
    ticket = engine.submit(work)
    run_out(engine)
    assert ticket.result().nfe == 2
    assert 1 <= engine.batch <= 2
    alone = stepping(clock, batch=8)
    expected = alone.submit(work)
    run_out(alone)
    # Calls of other sizes round otherwise, by some 1e-6.
    torch.testing.assert_close(ticket.result().image, expected.result().image, atol=1e-4, rtol=0)
    most[0] = 8
    engine.submit(Work(measurement(1, (8, 8)), effort=Fixed((900,))))
    run_out(engine)
    assert engine.batch == 8


def test_more_goes_on_after_a_deadline_and_after_the_end(clock: Clock) -> None:
    told: list[Event] = []
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(0, (8, 8)), deadline=9.0), told.append)
    run_out(engine)
    spent = ticket.result().nfe
    ticket.more(deadline=50.0)
    assert not ticket.done
    run_out(engine)
    assert ticket.result().nfe == spent + 30
    ticket.more(Fixed((3, 2)))
    run_out(engine)
    assert ticket.result().nfe == spent + 35
    assert ticket.result().preview.state.allocation[-2:] == (3, 2)
    assert [type(event) for event in told].count(Ended) == 3
    assert bool(ticket.result().image.isfinite().all())


def test_more_may_be_asked_while_a_run_goes_on(clock: Clock) -> None:
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((3,))))
    engine.step()
    ticket.more(Fixed((2,)))
    ticket.more(Fixed((1,)))
    run_out(engine)
    assert (ticket.result().nfe, ticket.state.allocation) == (6, (3, 2, 1))


def test_more_may_be_asked_by_the_watcher_itself() -> None:
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def watch(event: Event) -> None:
        told.put(event)
        if isinstance(event, Ended) and event.restoration.nfe == 2:
            ticket.more(Fixed((3,)))

    with Engine(gaussian(), batch=2) as engine:
        with engine._lock:  # not before there is a ticket
            ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((2,))), watch)
        deadline = time.monotonic() + 30
        while ticket.state.spent < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ticket.result(10).nfe == 5
    assert [type(told.get()) for _ in range(told.qsize())].count(Ended) == 2


def test_a_dropped_deadline_ends_nothing(clock: Clock) -> None:
    engine = stepping(clock)
    ticket = engine.submit(Work(measurement(0, (8, 8)), deadline=9.0))
    engine.step()
    ticket.drop_deadline()
    run_out(engine)
    assert ticket.result().nfe == 30


def test_a_closed_engine_drains_or_gives_up_but_for_states(clock: Clock) -> None:
    engine = stepping(clock)
    near, far = (engine.submit(Work(measurement(i, (8, 8)), effort=Fixed((n,)))) for i, n in ((0, 2), (1, 50)))
    engine.close(drain=10.0)
    assert near.result().nfe == 2
    with pytest.raises(ClosedError):
        far.result()
    assert far.state.spent > 0
    with pytest.raises(ClosedError):
        engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((1,))))


def test_leaving_the_block_waits_for_all_and_an_error_for_none() -> None:
    with Engine(gaussian(), batch=4) as engine:
        ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((20, 20))))
    assert ticket.result(0).nfe == 40
    with pytest.raises(KeyError), Engine(gaussian(), batch=4) as engine:  # noqa: PT012
        ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((900, 500))))
        raise KeyError
    with pytest.raises(ClosedError):
        ticket.result(0)


def test_an_engine_that_breaks_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(gaussian(), batch=4)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    monkeypatch.setattr(engine._scheduler, "due", None)
    engine.start()
    ticket = engine.submit(Work(measurement(0, (8, 8)), effort=Fixed((2,))))
    with pytest.raises(ClosedError, match="broke"):
        ticket.result(10)
    engine.close()


def test_submitting_stopping_and_asking_from_many_threads_loses_no_event() -> None:
    told: dict[int, queue.SimpleQueue[Event]] = {i: queue.SimpleQueue() for i in range(12)}
    failed: list[BaseException] = []

    def client(i: int, engine: Engine) -> None:
        try:
            deadline = None if i % 3 else 30.0
            effort = Fixed((3, 3)) if i % 3 else None
            ticket = engine.submit(Work(measurement(i), seed=i, effort=effort, deadline=deadline), told[i].put)
            while not ticket.done:
                assert ticket.plan.nfe >= 0
                if i % 4 == 1 and ticket.best is not None:
                    ticket.stop()
                time.sleep(0.02)
        except BaseException as error:
            failed.append(error)

    with Engine(gaussian(), batch=8) as engine:
        threads = [threading.Thread(target=client, args=(i, engine)) for i in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not failed
    for events in told.values():
        kinds = [type(events.get()) for _ in range(events.qsize())]
        assert kinds[0] is Planned
        assert kinds.count(Ended) + kinds.count(Lost) == 1
        assert kinds[-1] is Ended


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"deadline": 0.0}, ValueError),
        ({"deadline": "1"}, TypeError),
        ({"samples": 0}, ValueError),
        ({"max_nfe": 0}, ValueError),
        ({"measurement": None}, TypeError),
    ],
)
def test_work_that_cannot_be_is_refused(wrong: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        Work(**({"measurement": measurement(0, (8, 8))} | wrong))  # type: ignore[arg-type]


def test_work_that_does_not_fit_the_prior_is_refused_at_submission(clock: Clock) -> None:
    engine = stepping(clock)
    with pytest.raises(ValueError, match="image_shape"):
        engine.submit(Work(measurement(0, (4, 8), "denoise")))
    state = engine.submit(Work(measurement(1, (8, 8)), effort=Fixed((2,)))).state
    with pytest.raises(ValueError, match="another run"):
        engine.submit(Work(measurement(2, (8, 8)), effort=Fixed((2,)), state=state))


def test_a_picture_in_tiles_is_answered_by_parts_over_several_calls(clock: Clock) -> None:
    prior = Timed(clock)
    engine = stepping(clock, prior, batch=4)
    work = Work(measurement(5, (16, 20)), effort=Fixed((2,)))
    windows = len(TiledPrior(gaussian(), (3, 16, 20)).windows(1))
    assert windows > 4
    ticket = engine.submit(work)
    run_out(engine)
    assert sum(prior.sizes) == 2 * windows
    assert max(prior.sizes) == 4
    assert float((ticket.result().image - alone(work).image).abs().max()) < ROUNDING
