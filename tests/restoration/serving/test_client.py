"""The client in Python, against a server that really listens."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from restoration import client as module
from restoration.client import MOST_BREAKS, Client, ServiceError

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


RESULT = (
    'id: 2\nevent: result\ndata: {"nfe": 4, "total_nfe": 4, "elapsed_s": 1, "complete": true, '
    '"stopped_by": "finished", "href": "/v1/restorations/a/image?show=result"}\n\n'
)
AWAY = (503, {"Retry-After": "3"}, '{"detail": "starting"}')


def following(answers: list[tuple[int, dict[str, str], str]], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of a server that answers in turn, the last for ever; ``client.pauses`` are those it makes."""

    def answer(request: httpx.Request) -> httpx.Response:
        status, headers, text = answers.pop(0) if len(answers) > 1 else answers[0]
        return httpx.Response(status, headers=headers, text=text)

    client = Client("http://test")
    client.http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(answer))
    client.pauses = []  # type: ignore[attr-defined]
    monkeypatch.setattr(module.time, "sleep", client.pauses.append)  # type: ignore[attr-defined]
    return client


def test_server_that_starts_again_is_waited_for_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    client = following([AWAY, AWAY, (200, {}, RESULT)], monkeypatch)
    assert client.job("a").result().stopped_by == "finished"
    assert client.pauses == [3, 3]  # type: ignore[attr-defined]


def test_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    client = following([AWAY], monkeypatch)
    with pytest.raises(ServiceError, match="starting") as refused:
        client.job("a").result()
    assert refused.value.status == 503
    assert len(client.pauses) == MOST_BREAKS  # type: ignore[attr-defined]


def test_stream_that_ends_without_a_result_is_resumed_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = (200, {}, "retry: 1000\n\n")
    client = following([empty, empty, (200, {}, RESULT)], monkeypatch)
    assert client.job("a").result().nfe == 4
    assert client.pauses == [0.2, 0.4]  # type: ignore[attr-defined]
    with pytest.raises(ServiceError, match="the events end without a result"):
        following([empty], monkeypatch).job("a").result()
