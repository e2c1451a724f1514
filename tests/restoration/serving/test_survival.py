"""What survives: a server that is killed, a full disk, clients that leave or do not read."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from nested import NestedState
from restoration.service.jobs import Limits
from restoration.service.store import Store, StoreError

from .conftest import Serve, ask, ended, events_of, picture, pixels_of

LONG = {"task": "sr2", "allocation": "2,18,20,20,20", "seed": 4}  # 80 evaluations
CHOSEN = {"task": "sr2", "allocation": "2,120,2", "candidates": 3, "seed": 5}


@contextmanager
def process(prior: Path, store: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server in a process of its own, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "restoration.commands.serve", "--port", str(port), "--prior", str(prior)]
    server = subprocess.Popen([*command, "--store", str(store), "--batch", "8", *more])
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{address}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield server, address
    finally:
        server.kill()
        server.wait()


def submit(address: str, image: bytes | None = None, **options: Any) -> str:
    files = {"image": ("a.png", image or picture())}
    answer = httpx.post(f"{address}/v1/restorations", files=files, params=options, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait(address: str, id: str, key: str, least: Any) -> dict[str, Any]:
    end = time.monotonic() + 120
    with httpx.Client(base_url=address) as client:  # one: to make it takes longer than to ask
        while time.monotonic() < end:
            known: dict[str, Any] = client.get(f"/v1/restorations/{id}").json()
            if known[key] == least or (isinstance(least, int) and known[key] >= least):
                return known
            time.sleep(0.02)
    raise AssertionError(known)


def choose(address: str, id: str, candidate: int) -> None:
    answer = httpx.post(f"{address}/v1/restorations/{id}/choose", json={"keep": [candidate]}, timeout=60)
    assert answer.status_code == 202, answer.text


def image(address: str, id: str, show: str = "best") -> bytes:
    return httpx.get(f"{address}/v1/restorations/{id}/image?show={show}").content


def test_killed_server_s_runs_and_choices_go_on_to_the_same_result(prior_folder: Path, tmp_path: Path) -> None:
    """Calls of one picture, so that the bits of a result do not depend on who else was there."""
    store, small = tmp_path / "store", picture(8)
    with process(prior_folder, store, "--batch", "1") as (server, address):
        done = submit(address, task="sr2", inner=2, outer=2, seed=1)
        wait(address, done, "state", "done")
        first = image(address, done)
        whole = submit(address, **LONG)
        steered, waiting, chosen = (submit(address, small, **CHOSEN) for _ in range(3))
        for id in (steered, waiting, chosen):
            wait(address, id, "state", "waiting")
        choose(address, steered, 3)
        wait(address, steered, "nfe", 122)
        wait(address, steered, "state", "waiting")
        wait(address, whole, "state", "done")
        undisturbed = image(address, whole), image(address, steered, "122-2")
        broken = submit(address, **LONG)
        choose(address, chosen, 3)
        wait(address, broken, "nfe", 3)
        wait(address, chosen, "nfe", 3)
        os.kill(server.pid, signal.SIGKILL)
    for id, last in ((broken, 80), (chosen, 122)):
        assert NestedState.load(store / id / "run.state").spent < last  # in the middle
    with process(prior_folder, store, "--batch", "1") as (server, address):
        known = httpx.get(f"{address}/v1/restorations/{waiting}").json()
        assert (known["state"], known["candidates"]) == ("waiting", ["002-1", "002-2", "002-3"])
        choose(address, waiting, 3)
        assert wait(address, broken, "state", "done")["nfe"] == 80
        again = [image(address, broken)]
        for id in (chosen, waiting):
            wait(address, id, "nfe", 122)
            assert wait(address, id, "state", "waiting")["chosen"] == [[3]]
            again.append(image(address, id, "122-2"))
        for before, after in zip((*undisturbed, undisturbed[1]), again, strict=True):
            assert np.array_equal(pixels_of(before), pixels_of(after))
        told = events_of(httpx.get(f"{address}/v1/restorations/{broken}/events").text)
        assert [kind for _, kind, _ in told].count("result") == 1
        assert image(address, done) == first
        began = time.monotonic()
        promised = submit(address, task="sr2", deadline=25)
        left = submit(address, task="sr2", allocation=",".join(["20"] * 45))
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        refused = httpx.post(f"{address}/v1/restorations?task=sr2", files={"image": ("a.png", picture())})
        assert refused.status_code == 503  # told to stop, it takes nothing more
        assert server.wait(60) == 0
        assert time.monotonic() - began < 40
    kept = Store(store)
    facts = {id: kept.load(id).facts["facts"] for id in (promised, left)}  # type: ignore[union-attr]
    assert facts[promised]["state"] == "done"  # the deadline was kept
    assert kept.unfinished() == ([left] if facts[left]["state"] != "done" else [])
    kept.close()


def test_full_disk_costs_no_restoration(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as client:
        write = Store.write

        def full(self: Store, id: str, name: str, content: Any) -> Path:
            if name not in ("image", "mask"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, id, name, content)

        monkeypatch.setattr(Store, "write", full)
        id = ask(client, task="sr2", outer=1, inner=2).json()["id"]
        known = ended(client, id)
        assert known["state"] == "done"
        assert any("disk is full" in note for note in known["notes"])
        assert pixels_of(client.get(f"/v1/restorations/{id}/image").content).shape == (32, 32, 3)
        assert client.get(f"/v1/restorations/{id}/image?format=jpg").status_code == 200

        def none(self: Store, *arguments: Any, **more: Any) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Store, "save", none)
        answer = ask(client, task="sr2", outer=1, inner=2)
        assert answer.status_code == 507  # what could not be promised is not
        monkeypatch.setattr(Store, "write", none)
        assert ask(client, task="sr2", outer=1, inner=2).status_code == 507


def test_results_go_when_their_time_is_over(serve: Serve) -> None:
    with serve(Limits(keep_s=0.2)) as client:
        id = ask(client, task="sr2", outer=1, inner=2).json()["id"]
        end = time.monotonic() + 30
        while client.get(f"/v1/restorations/{id}").status_code != 404:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert not (client.jobs.store.folder / id).exists()


def test_store_makes_room_by_what_ended_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", most_bytes=3000)
    ids = []
    for i in range(3):
        id = store.new()
        store.write(id, "image", bytes(900))
        store.save(id, "", {"n": i}, open=i == 0, until=1000.0 + i, new=True)
        ids.append(id)
    assert store.has_room(900)
    assert [store.load(id) is not None for id in ids] == [True, False, True]  # the first is unfinished
    assert not store.has_room(2500)
    with pytest.raises(OSError, match="No space left"):
        store.write(ids[0], "010.png", bytes(2500))
    store.close()


def test_store_is_one_server_s_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="in use by another server"):
        Store(tmp_path / "store")
    store.close()
    Store(tmp_path / "store").close()


def test_damaged_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "facts.sqlite").write_bytes(b"no data base" * 100)
    with pytest.raises(StoreError, match="cannot be used as a store"):
        Store(tmp_path)


def test_damaged_runs_do_not_keep_a_server_from_starting(serve: Serve, tmp_path: Path) -> None:
    place = tmp_path / "store"
    with serve(store=place) as client:
        ids = [ask(client, **{**LONG, "seed": i}).json()["id"] for i in range(3)]
        while client.get(f"/v1/restorations/{ids[2]}").json()["nfe"] < 20:
            time.sleep(0.01)
    (place / ids[0] / "image").write_bytes(b"damaged")
    (place / ids[1] / "run.state").write_bytes(b"damaged")
    with serve(store=place) as client:
        lost = ended(client, ids[0])
        assert lost["state"] == "failed"
        assert "a.png: is not a PNG" in lost["error"]
        assert ended(client, ids[1])["nfe"] == 80  # begun again
        assert ended(client, ids[2])["nfe"] == 80


def test_run_that_cannot_be_read_keeps_back_no_other(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "store"
    with serve(store=place) as client:
        ids = [ask(client, **{**LONG, "seed": i}).json()["id"] for i in range(2)]
    load = Store.load

    def failing(self: Store, id: str) -> Any:
        if id == ids[0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return load(self, id)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "load", failing)
        with serve(store=place) as client:
            assert ended(client, ids[1])["nfe"] == 80
    with serve(store=place) as client:  # the disk is well again
        assert ended(client, ids[0])["nfe"] == 80


def test_client_that_does_not_read_holds_up_nobody(prior_folder: Path, tmp_path: Path) -> None:
    with process(prior_folder, tmp_path / "store") as (_, address):
        slow = submit(address, **LONG)
        port = int(address.rpartition(":")[2])
        readers = []
        for _ in range(3):
            reader = socket.create_connection(("127.0.0.1", port))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            path = f"/v1/restorations/{slow}/events?pictures=png"
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            readers.append(reader)
        gone = socket.create_connection(("127.0.0.1", port))
        gone.sendall(f"GET /v1/restorations/{slow}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        gone.close()
        assert wait(address, slow, "state", "done")["nfe"] == 80
        text = b""
        readers[0].settimeout(30)
        while b"event: result" not in text:  # what it left out were previews, never the result
            text += readers[0].recv(65536)
        for reader in readers:
            reader.close()


def test_client_that_leaves_frees_its_place(prior_folder: Path, tmp_path: Path) -> None:
    with process(prior_folder, tmp_path / "store") as (_, address):
        options = {"task": "sr2", "allocation": ",".join(["2", *["20"] * 45]), "wait": 60}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{address}/v1/restorations",
                files={"image": ("a.png", picture())},
                params=options,
                timeout=httpx.Timeout(60, read=1.0),
            )
        end = time.monotonic() + 30
        while "restoration_open 0.0" not in httpx.get(f"{address}/metrics").text:
            assert time.monotonic() < end
            time.sleep(0.05)
