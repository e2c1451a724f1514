"""Runs that other processes do: told like those of an engine here, and lost by no death of a replica."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from degradations import Denoising, Measurement
from nested import Fixed
from restoration.restorer import Restoration, StoppedBy
from restoration.service import replicas as module
from restoration.service.deployment import Scale
from restoration.service.pool import Pool
from restoration.service.replica import Asked, Replica
from restoration.service.replicas import DEATHS, Replicas
from restoration.service.work import Ended, Event, Improved, Lost, OverloadedError, Planned, Work


class Here:
    """Two replicas in this process; each stream ends in a death after so many messages, while there are deaths."""

    def __init__(self, folder: Path) -> None:
        asked = Asked((str(folder),), "cpu", "auto", 1, 4)
        self.replicas = [Replica(asked), Replica(asked)]
        self.deaths: list[int] = []
        self.streams = 0

    def stream(self, name: str, work: Work, wait: float) -> Any:
        self.streams += 1
        sent = self.replicas[self.streams % 2].restore(name, work, wait)
        return Stream(sent, self.deaths.pop(0) if self.deaths else None)

    def close(self) -> None:
        for replica in self.replicas:
            replica._pool.close()


class Stream:
    """As Ray's generator of responses."""

    def __init__(self, sent: AsyncIterator[Any], dies_after: int | None) -> None:
        self._sent, self._left = sent, dies_after

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        if self._left is not None:
            if self._left == 0:
                await self._sent.aclose()  # type: ignore[attr-defined]
                raise ConnectionError("The actor died unexpectedly before finishing this task.")
            self._left -= 1
        return await anext(self._sent)

    def cancel(self) -> None:
        pass


@pytest.fixture(scope="module")
def here(prior_folder: Path) -> Iterator[tuple[Here, Replicas]]:
    deployment = Here(prior_folder)
    replicas = Replicas({"tiny": str(prior_folder)}, "auto", deployment)
    yield deployment, replicas
    replicas.close()


@pytest.fixture(autouse=True)
def without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.0)


def work(**more: Any) -> Work:
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    measurement = Measurement(y, Denoising((3, 16, 16)), 0.1)
    return Work(measurement, **{"seed": 3, "effort": Fixed((3, 4, 3)), "every": True, **more})


def told(replicas: Replicas, asked: Work) -> tuple[Any, list[Event]]:
    """All events of a run, to its end."""
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    held = replicas.submit("tiny", asked, heard.put)
    events: list[Event] = []
    while not events or not isinstance(events[-1], Ended | Lost):
        events.append(heard.get(timeout=60))
    return held, events


def result(events: list[Event]) -> Restoration:
    assert isinstance(events[-1], Ended)
    return events[-1].restoration


@pytest.fixture(scope="module")
def undisturbed(prior_folder: Path) -> Restoration:
    pool = Pool([str(prior_folder)], device="cpu", batch=1)
    restoration = pool.engine("tiny").submit(work()).result(60)
    pool.close()
    return restoration


def test_run_elsewhere_is_told_and_ends_as_here(here: tuple[Here, Replicas], undisturbed: Restoration) -> None:
    held, events = told(here[1], work())
    found = result(events)
    assert torch.equal(found.image, undisturbed.image)  # calls of one picture, on the same kind of device
    assert (found.nfe, found.seeds, found.stopped_by) == (10, (3,), StoppedBy.FINISHED)
    assert isinstance(events[0], Planned)
    complete = [event.preview.nfe for event in events if isinstance(event, Improved) and event.preview.complete]
    assert complete == [3, 7, 10]
    assert held.state.finished
    ((name, counted),) = [one for one in here[1].stats() if one[0] == "tiny"] or [("tiny", None)]
    assert counted is None or counted.calls >= 10, name


@pytest.mark.parametrize("deaths", [[0], [1], [5], [0, 2, 4, 9]])
def test_run_whose_replica_dies_ends_with_the_same_bits(
    here: tuple[Here, Replicas], undisturbed: Restoration, deaths: list[int]
) -> None:
    deployment, replicas = here
    deployment.deaths, before = list(deaths), deployment.streams
    _, events = told(replicas, work())
    assert torch.equal(result(events).image, undisturbed.image)
    assert not deployment.deaths
    assert deployment.streams == before + len(deaths) + 1
    spent = [event.preview.nfe for event in events if isinstance(event, Improved)]
    assert spent == sorted(spent)  # nobody is told again what they knew


def test_run_that_kills_every_replica_is_given_up(here: tuple[Here, Replicas]) -> None:
    here[0].deaths = [1] * DEATHS
    _, events = told(here[1], work())
    assert isinstance(events[-1], Lost)
    assert "engines died of it" in str(events[-1].error)


def test_stopped_run_keeps_the_best_that_came_back(here: tuple[Here, Replicas]) -> None:
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    held = here[1].submit("tiny", work(effort=Fixed((2, *[20] * 40))), heard.put)
    while not (isinstance(event := heard.get(timeout=60), Improved) and event.preview.complete):
        pass
    held.stop()
    while not isinstance(event := heard.get(timeout=60), Ended):
        pass
    assert event.restoration.stopped_by is StoppedBy.INTERRUPT
    assert event.restoration.preview.complete
    assert 2 <= event.restoration.nfe == held.state.spent < 802


def test_deadline_is_kept_after_a_death_and_what_cannot_be_kept_is_refused(here: tuple[Here, Replicas]) -> None:
    here[0].deaths = [4]
    _, events = told(here[1], work(effort=None, deadline=5.0))
    assert result(events).preview.complete
    assert result(events).elapsed < 6  # its own time, all replicas together
    with pytest.raises(OverloadedError, match="deadline"):
        here[1].submit("tiny", work(effort=None, deadline=1e-6), lambda event: None)


def test_what_is_wrong_with_a_run_is_told_as_here(here: tuple[Here, Replicas]) -> None:
    with pytest.raises(ValueError, match="at most 1000 steps"):
        here[1].submit("tiny", work(effort=Fixed((5000,))), lambda event: None)


def test_replicas_are_a_number_or_a_range() -> None:
    assert (Scale.parsed("2"), Scale.parsed("1-4")) == (Scale(2, 2), Scale(1, 4))
    for wrong in ("0", "4-1", "x", "1-", "-2", ""):
        with pytest.raises(ValueError, match="--replicas must be"):
            Scale.parsed(wrong)
