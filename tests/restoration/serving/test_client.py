"""The client in Python, against a server that really listens."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from restoration.client import Client, ServiceError

from .conftest import Serve, picture


@pytest.fixture(scope="module")
def client(listen: Serve) -> Iterator[Client]:
    with listen() as address, Client(address) as client:
        yield client


def test_previews_improve_until_the_result(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(picture())
    job = client.submit(file, task="sr2", outer=2, inner=3, seed=1, simulate=True)
    told = list(job.previews())
    assert [preview.nfe for preview in told] == [3, 6, 6]
    assert told[-1].stopped_by == "finished"
    assert told[-1].seeds == (1,)
    assert set(told[0].scores) == {"psnr", "ssim"}
    assert Image.open(io.BytesIO(job.image(told[0].name, "webp"))).format == "WEBP"
    assert job.known()["state"] == "done"


def test_run_is_stopped_and_goes_on(client: Client) -> None:
    job = client.submit(picture(), task="sr2", allocation=[2, *[20] * 40])
    for preview in job.previews(every=True):
        if preview.complete and preview.stopped_by is None:
            job.stop()
    assert preview.stopped_by == "interrupt"
    job.more(5)
    assert job.result().nfe > preview.nfe
    job.forget()
    with pytest.raises(ServiceError, match="no such restoration") as refused:
        job.known()
    assert refused.value.status == 404


def test_refusals_are_the_server_s_sentences(client: Client) -> None:
    with pytest.raises(ServiceError, match=r"task must be one of denoise, .*: got 'paint'"):
        client.submit(picture(), task="paint")
    assert client.priors() == ["tiny"]
    assert "sr4" in {task["name"] for task in client.tasks()}
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"):
        nobody.tasks()
