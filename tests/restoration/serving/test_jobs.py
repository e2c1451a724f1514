"""What clients ask at bad moments: twice at once, before a run is in its engine, while its end is being stored."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from restoration.service import showing
from restoration.service.decoding import Decoder, _Process
from restoration.service.job import Job, Told
from restoration.service.jobs import Jobs, Limits
from restoration.service.schema import Options, Restoration, State
from restoration.service.store import Store
from restoration.service.streams import told
from restoration.service.work import OverloadedError

from .conftest import Serve, ask, ended, events_of

SHORT = {"task": "sr2", "outer": 2, "inner": 2}
LONG = {"task": "sr2", "allocation": ",".join(["2", *["20"] * 40]), "seed": 4}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def job_of(store: Store, loop: asyncio.AbstractEventLoop) -> Job:
    facts = Restoration(id=store.new(), state=State.RUNNING, options=Options(task="sr2"), created=0.0)
    return Job(store, facts, "", ThreadPoolExecutor(1), loop, lambda job: None)


def kinds(client: TestClient, id: str) -> list[str]:
    return [kind for _, kind, _ in events_of(client.get(f"/v1/restorations/{id}/events").text)]


def test_more_asked_twice_at_once_is_done_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    further = Jobs._go_further

    def slowly(*arguments: Any, **more: Any) -> None:
        time.sleep(0.5)
        further(*arguments, **more)

    monkeypatch.setattr(Jobs, "_go_further", slowly)
    with ThreadPoolExecutor(2) as threads:
        answers = list(
            threads.map(lambda _: client.post(f"/v1/restorations/{id}/more", json={"nfe": 5}), range(2))
        )
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    assert ended(client, id)["nfe"] == 9


def test_end_is_stored_together_with_its_event(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    save = Store.save

    def heard(self: Store, *arguments: Any, **more: Any) -> None:
        if not more["open"]:
            ends.append((more["event"] or (0, None))[1])
        save(self, *arguments, **more)

    monkeypatch.setattr(Store, "save", heard)
    with serve() as client:
        ended(client, ask(client, **SHORT).json()["id"])
    assert ends == ["result"]


def test_event_of_an_end_that_was_lost_is_made_up(serve: Serve, tmp_path: Path) -> None:
    place = tmp_path / "store"
    with serve(store=place) as client:
        id = ask(client, **SHORT).json()["id"]
        ended(client, id)
        client.jobs.store._facts.execute("DELETE FROM events WHERE kind = 'result'")
    with serve(store=place) as client:
        stream = events_of(client.get(f"/v1/restorations/{id}/events").text)
    assert stream[-1][1] == "result"
    assert (stream[-1][2]["nfe"], stream[-1][2]["stopped_by"]) == (4, "finished")


def test_more_that_fails_leaves_everything_as_it_was(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    id = ask(client, **SHORT).json()["id"]
    before, stream = ended(client, id), kinds(client, id)

    def full(*arguments: Any) -> None:
        raise OverloadedError("too much", 3.0)

    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "_submit", full)
        answer = client.post(f"/v1/restorations/{id}/more")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert client.get(f"/v1/restorations/{id}").json() == before
    assert kinds(client, id) == stream
    assert stream[-1] == "result"
    assert client.post(f"/v1/restorations/{id}/more", json={"nfe": 5}).status_code == 202
    assert ended(client, id)["nfe"] == 9


@pytest.mark.parametrize("wish", ["stopping", "removed"])
def test_wish_before_a_run_is_in_its_engine_is_done(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    id = ask(client, **LONG).json()["id"]
    while client.get(f"/v1/restorations/{id}").json()["nfe"] < 2:
        time.sleep(0.01)
    client.post(f"/v1/restorations/{id}/stop")
    nfe = ended(client, id)["nfe"]
    queued = Job.queued

    def wished(self: Job) -> None:
        queued(self)
        if wish == "stopping":
            assert client.post(f"/v1/restorations/{id}/stop").status_code == 202
        else:
            assert client.delete(f"/v1/restorations/{id}").status_code == 204

    monkeypatch.setattr(Job, "queued", wished)
    ((_, engine),) = client.jobs.pool.stats()  # type: ignore[attr-defined]
    client.post(f"/v1/restorations/{id}/more", json={"nfe": 600 - nfe})
    if wish == "stopping":
        known = ended(client, id)
        assert known["stopped_by"] == "interrupt"
        assert known["nfe"] < 300
    else:
        end = time.monotonic() + 30
        while any(stats.runs for _, stats in client.jobs.pool.stats()):  # type: ignore[attr-defined]
            assert time.monotonic() < end
            time.sleep(0.02)
        ((_, after),) = client.jobs.pool.stats()  # type: ignore[attr-defined]
        assert after.nfe - engine.nfe < 300  # it was given up, not run to its end
        assert client.get(f"/v1/restorations/{id}").status_code == 404
        assert client.jobs.store.load(id) is None  # type: ignore[attr-defined]


def test_removed_run_does_not_come_again(store: Store) -> None:
    id = store.new()
    store.save(id, "", {}, open=True, until=None, event=(1, "queued", "{}"), new=True)
    store.remove(id)
    with pytest.raises(OSError, match="No such file"):
        store.save(id, "", {}, open=True, until=None, event=(2, "planned", "{}"))
    assert store.load(id) is None
    assert store._facts.execute("SELECT COUNT(*) FROM events").fetchone() == (0,)


def test_more_is_held_to_the_pixels_of_all(serve: Serve) -> None:
    with serve(Limits(pixels=1500)) as client:  # one picture has 1024
        id = ask(client, **SHORT).json()["id"]
        ended(client, id)
        ask(client, **LONG)
        answer = client.post(f"/v1/restorations/{id}/more")
        assert (answer.status_code, "--total-pixels" in answer.json()["detail"]) == (503, True)
        assert client.get(f"/v1/restorations/{id}").json()["state"] == "done"


def test_what_happens_while_a_follower_looks_is_told_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow() -> float:
        job = job_of(store, asyncio.get_running_loop())
        after, looked = job.after, []

        def looking(seq: int, seen: Told | None) -> list[Told]:
            found = after(seq, seen)
            if not looked:  # after it has looked, and before it waits
                looked.append(True)
                job.events.append(Told(1, "queued", "{}"))
                job.wake()
            return found

        monkeypatch.setattr(job, "after", looking)
        began = time.monotonic()
        async for event in told(job, 0):
            if event is not None:
                return time.monotonic() - began
        raise AssertionError

    assert asyncio.run(follow()) < 5  # it was 15 s


def test_slow_prior_holds_up_no_other(store: Store) -> None:
    there = threading.Event()

    def engine(name: str, wait: float = 0.0) -> None:
        if name == "slow":
            there.wait(20)

    async def ask_both() -> float:
        pool: Any = SimpleNamespace(names=("slow", "fast"), engine=engine, stats=lambda: iter(()))
        jobs = Jobs(store, pool, Limits(), Decoder())
        slow = [asyncio.ensure_future(jobs._engine_of("slow")) for _ in range(6)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await jobs._engine_of("fast")
        await jobs._in_thread(lambda: None)
        took = time.monotonic() - began
        there.set()
        await asyncio.gather(*slow)
        return took

    assert asyncio.run(ask_both()) < 5


def test_two_pictures_are_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    monkeypatch.setattr(_Process, "check", lambda *arguments: both.wait(10))
    decoder = Decoder()
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(decoder.check, Path("a"), None, 1) for _ in range(2)]:
            done.result()


def test_deadline_that_passes_in_the_queue_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Decoder.check

    def slowly(*arguments: Any, **more: Any) -> None:
        time.sleep(0.6)
        check(*arguments, **more)

    monkeypatch.setattr(Decoder, "check", slowly)
    answer = ask(client, task="sr2", deadline=0.5)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "the 0.5 s were over before the picture could be looked at" in answer.json()["detail"]


def test_runs_may_come_while_all_are_looked_through(store: Store) -> None:
    async def look() -> None:
        pool: Any = SimpleNamespace(names=("a",), stats=lambda: iter(()))
        jobs = Jobs(store, pool, Limits(), Decoder())

        class Coming:
            """Brings another whenever it is looked at, as another thread may."""

            options, waited, ticket, pixels = SimpleNamespace(deadline=None), False, None, 0

            @property
            def asker(self) -> str:
                jobs._open[str(len(jobs._open))] = self  # type: ignore[assignment]
                return "a"

            def wake(self) -> None:
                _ = self.asker

        jobs._open["0"] = Coming()  # type: ignore[assignment]
        with jobs.room("b"):
            pass
        jobs.let_go()
        assert jobs.counts()[0] == 4  # every look brought one, and ended all the same

    asyncio.run(look())


def test_store_counts_its_bytes_as_they_change(store: Store) -> None:
    ids = [store.new() for _ in range(2)]
    for id in ids:
        store.write(id, "image", bytes(700))
        store.save(id, "", {}, open=True, until=None, new=True)
    store.write(ids[0], "010.png", bytes(300))
    store.save(ids[0], "", {}, open=True, until=None)
    assert store.used() == 1700
    store.remove(ids[0])
    store.remove(ids[0])
    assert store.used() == 700
    store.close()
    again = Store(store.folder)
    assert again.used() == 700
    again.close()


def test_pictures_and_streams_of_one_client_are_bounded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    jpeg = f"/v1/restorations/{id}/image?format=jpg"
    made = client.get(jpeg).content
    with monkeypatch.context() as patched:
        patched.setattr(showing, "converted", None)  # it is not made again
        assert client.get(jpeg).content == made
    free = threading.Event()
    converted = showing.converted

    def slowly(*arguments: Any) -> bytes:
        free.wait(20)
        return converted(*arguments)

    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as threads:
        patched.setattr(showing, "converted", slowly)
        patched.setattr(showing, "MOST_AT_ONCE", 2)
        answers = [threads.submit(client.get, f"{jpeg}&output_quality={i + 1}") for i in range(4)]
        while sum(answer.done() for answer in answers) < 2:
            time.sleep(0.02)
        assert client.get("/healthz").status_code == 200
        assert client.get(f"/v1/restorations/{id}").status_code == 200
        free.set()
        assert sorted(answer.result().status_code for answer in answers) == [200, 200, 429, 429]
    monkeypatch.setattr(showing, "MOST_WATCHED", 0)
    assert client.get(f"/v1/restorations/{id}/events").status_code == 429


def test_watchers_are_those_that_watch(client: TestClient) -> None:
    id = ask(client, **SHORT).json()["id"]
    ended(client, id)
    assert client.get(f"/v1/restorations/{'x' * 22}/events").status_code == 404
    assert kinds(client, id)[-1] == "result"
    assert "restoration_watchers 0.0" in client.get("/metrics").text
