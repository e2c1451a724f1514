"""Priors come when they are asked for, and go when there are too many."""

from __future__ import annotations

import threading
import time

import pytest

from nested import Fixed
from restoration.errors import PriorError
from restoration.priors import GaussianPrior
from restoration.service.engines import Engines
from restoration.service.work import ClosedError, OverloadedError, Work

from .conftest import gaussian, measurement

PRIOR = gaussian()
LONG = Work(measurement(0, (8, 8)), effort=Fixed((900, 400)))


class Shelf:
    """Loads by name, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.loaded: list[str] = []
        self.seconds = seconds

    def __call__(self, name: str) -> GaussianPrior:
        if name == "missing":
            raise PriorError("no prior is named missing")
        time.sleep(self.seconds)
        self.loaded.append(name)
        return PRIOR


def test_an_engine_is_loaded_once_and_runs() -> None:
    shelf = Shelf()
    with Engines(shelf, batch=2) as engines:
        first = engines.engine("a")
        assert engines.engine("a") is first
        assert first.submit(Work(measurement(0, (8, 8)), effort=Fixed((2,)))).result(10).nfe == 2
    assert shelf.loaded == ["a"]


def test_the_one_not_asked_for_the_longest_goes_and_comes_again() -> None:
    shelf = Shelf()
    with Engines(shelf, most=2, batch=2) as engines:
        a = engines.engine("a")
        engines.engine("b")
        engines.engine("a")
        engines.engine("c")
        assert list(engines.running) == ["a", "c"]
        assert engines.engine("a") is a
        engines.engine("b")
    assert shelf.loaded == ["a", "b", "c", "b"]


def test_an_engine_at_work_does_not_go() -> None:
    with Engines(Shelf(), most=1, batch=2) as engines:
        ticket = engines.engine("a").submit(LONG)
        with pytest.raises(OverloadedError) as raised:
            engines.engine("b")
        assert raised.value.retry_after is not None
        ticket.cancel()


def test_many_who_ask_at_once_wait_for_one_loading() -> None:
    shelf = Shelf(seconds=0.1)
    with Engines(shelf, batch=2) as engines:
        threads = [threading.Thread(target=engines.engine, args=("a",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert shelf.loaded == ["a"]


def test_what_cannot_be_loaded_is_told_and_leaves_the_others() -> None:
    with Engines(Shelf(), batch=2) as engines:
        a = engines.engine("a")
        with pytest.raises(PriorError, match="missing"):
            engines.engine("missing")
        assert list(engines.running.values()) == [a]


def test_closing_gives_up_what_is_left() -> None:
    engines = Engines(Shelf(), batch=2)
    ticket = engines.engine("a").submit(LONG)
    engines.close()
    with pytest.raises(ClosedError):
        ticket.result(10)
    with pytest.raises(ClosedError):
        engines.submit("a", LONG)


def test_a_run_is_taken_in_though_its_engine_had_to_go() -> None:
    with Engines(Shelf(), most=1, batch=2) as engines:
        engines.engine("a").close()
        assert engines.submit("a", Work(measurement(0, (8, 8)), effort=Fixed((2,)))).result(10).nfe == 2


def test_no_more_are_there_than_may_be_though_many_are_asked_for_at_once() -> None:
    with Engines(Shelf(seconds=0.05), most=2, batch=2) as engines:
        refused: list[OverloadedError] = []

        def ask(name: str) -> None:
            try:
                engines.engine(name)
            except OverloadedError as error:
                refused.append(error)

        threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(engines.running) == 2
        assert len(refused) == 2


def test_a_run_that_came_to_an_engine_that_has_to_go_ends_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engines(Shelf(), most=1, batch=2) as engines:
        first, tickets = engines.engine("a"), []
        close = first.close

        def late(drain: float = 0.0) -> None:
            """A run comes after the engine was found idle."""
            tickets.append(first.submit(Work(measurement(0, (8, 8)), effort=Fixed((50,)))))
            close(drain)

        monkeypatch.setattr(first, "close", late)
        engines.engine("b")
        assert tickets[0].result(10).nfe == 50
