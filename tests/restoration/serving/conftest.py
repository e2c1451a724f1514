"""A server with a network that answers in a millisecond, and pictures for it."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import uvicorn
from starlette.testclient import TestClient

from restoration.commands.job import run
from restoration.commands.settings import (
    EffortSettings,
    OutputSettings,
    PriorSettings,
    Settings,
    SteeringSettings,
    TaskSettings,
)
from restoration.service.app import create_app
from restoration.service.decoding import Decoder
from restoration.service.jobs import Jobs, Limits
from restoration.service.pool import Pool
from restoration.service.security import Access
from restoration.service.store import Store

Serve = Callable[..., Any]


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    """The process that looks at pictures first; it takes seconds to start."""
    decoder = Decoder()
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def serve(prior_folder: Path, decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts a server, as a context that gives a client; more servers on the same store one after another."""

    @contextmanager
    def started(
        limits: Limits | None = None, access: Access | None = None, store: Path | None = None, most: int = 1 << 30
    ) -> Iterator[TestClient]:
        place = Store(store or tmp_path_factory.mktemp("served") / "store", most)
        jobs = Jobs(place, Pool([str(prior_folder)], batch=8), limits or Limits(), decoder)
        client = TestClient(
            create_app(jobs, access or Access()), base_url="http://localhost", raise_server_exceptions=False
        )
        with client:
            client.jobs = jobs  # type: ignore[attr-defined]
            end = time.monotonic() + 60
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.02)
            yield client

    return started


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    """Of a server with everything as it is by default."""
    with serve() as client:
        yield client


@pytest.fixture(scope="module")
def listen(prior_folder: Path, decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts a server that really listens, as a context that gives its address."""

    @contextmanager
    def started(access: Access | None = None) -> Iterator[str]:
        store = Store(tmp_path_factory.mktemp("listening") / "store")
        jobs = Jobs(store, Pool([str(prior_folder)], batch=8), Limits(), decoder)
        app = create_app(jobs, access or Access())
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=2)
            )
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            while not jobs.ready:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True
            thread.join()

    return started


def picture(side: int = 16, seed: int = 0, channels: int = 3) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def by_command(prior_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Enlarges ``picture()`` twofold as the command ``restore`` does; the file of its result."""

    def restored(effort: EffortSettings, steering: SteeringSettings | None = None) -> Path:
        file, out = tmp_path / "a.png", tmp_path / "out.png"
        file.write_bytes(picture())
        settings = Settings(
            (file,),
            TaskSettings("sr2"),
            OutputSettings(out, overwrite=True),
            PriorSettings(str(prior_folder), device="cpu"),
            steering=steering or SteeringSettings(),
            effort=effort,
        )
        assert run(settings) == 0
        return out

    return restored


def ask(client: TestClient, image: bytes | None = None, mask: bytes | None = None, **options: Any) -> Any:
    """The answer to a restoration that is asked for."""
    files = {"image": ("a.png", picture() if image is None else image)}
    if mask is not None:
        files["mask"] = ("m.png", mask)
    return client.post("/v1/restorations", files=files, data={"options": json.dumps(options)})


def ended(client: TestClient, id: str, seconds: float = 60) -> dict[str, Any]:
    """What is known of a restoration once it has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        known: dict[str, Any] = client.get(f"/v1/restorations/{id}").json()
        if known["state"] in ("done", "failed"):
            return known
        time.sleep(0.02)
    raise AssertionError(f"{id} has not ended: {known}")


def events_of(text: str) -> list[tuple[int | None, str, dict[str, Any]]]:
    """(id, event, data) of server-sent events."""
    found = []
    for block in text.split("\n\n"):
        said = dict(
            line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":")
        )
        if "event" in said:
            id = int(said["id"]) if "id" in said else None
            found.append((id, said["event"], json.loads(said["data"])))
    return found


def pixels_of(content: bytes) -> np.ndarray:
    """(H, W, C) of a picture file."""
    return np.asarray(Image.open(io.BytesIO(content)))
