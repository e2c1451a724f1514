"""A client of ``restore-serve``: submit a picture, watch it improve, stop when it is good enough.

with Client("http://localhost:8000") as client:
    job = client.submit("face.png", task="sr4", deadline=5)
    for preview in job.previews():
        if preview.expected_change is not None and preview.expected_change < 0.01:
            job.stop()
    Path("out.png").write_bytes(job.image())
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from restoration.errors import RestorationError

Format = Literal["png", "jpg", "webp", "tif"]
MOST_BREAKS = 10
"""Times in a row that a stream of events may break before it is given up."""
AWAY = (502, 503, 504)
"""Answers of a server that is starting again, or of a proxy before it: a stream is tried again after them."""
LONGEST_PAUSE_S = 30.0
"""Between two tries, whatever the server says."""


class ServiceError(RestorationError):
    """The server refused, in its own words.

    Args:
        message: one sentence.
        status: of HTTP.
        retry_after: seconds after which it may do; None where it does not say.
    """

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class Preview:
    """What a restoration has come to.

    Args:
        nfe, total_nfe: network evaluations made, and planned now.
        elapsed: seconds since it began.
        complete: it is a sample, that can be kept; others are blurred means.
        expected_change: RMSE in [0, 1] by which the run's end is expected to differ; None where that is not known.
        scores: psnr and ssim, of simulated tasks.
        name: of its picture, for :meth:`Job.image`.
        stopped_by: of a result: "finished", "deadline", "max_nfe" or "interrupt"; None of a preview.
        seeds: of a result, one a sample.
    """

    nfe: int
    total_nfe: int
    elapsed: float
    complete: bool
    expected_change: float | None
    name: str
    scores: dict[str, float] = field(default_factory=dict)
    stopped_by: str | None = None
    seeds: tuple[int, ...] = ()


class Client:
    """Talks to one server.

    Args:
        url: where it is.
        token: where it asks for one.
        timeout: seconds for any answer but a stream.
    """

    def __init__(
        self, url: str = "http://localhost:8000", token: str | None = None, timeout: float = 60.0
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def submit(
        self,
        picture: Path | str | bytes,
        mask: Path | str | bytes | None = None,
        strokes: Path | str | bytes | None = None,
        **options: Any,
    ) -> Job:
        """Ask for a restoration.

        Args:
            picture, mask, strokes: a file, or its bytes.
            options: as the command's, with _ for -: ``task="sr4", sigma=0.05, deadline=2.0, effort="adaptive"``.

        Raises:
            ServiceError: it is refused.
            OSError: a file cannot be read.
        """
        files = {"image": _file(picture)}
        if mask is not None:
            files["mask"] = _file(mask)
        if strokes is not None:
            files["strokes"] = _file(strokes)
        answer = self.ask("POST", "/v1/restorations", files=files, data={"options": json.dumps(options)})
        return Job(self, answer.json()["id"])

    def job(self, id: str) -> Job:
        """A restoration that was asked for before."""
        return Job(self, id)

    def tasks(self) -> list[dict[str, Any]]:
        """What can be restored."""
        found: list[dict[str, Any]] = self.ask("GET", "/v1/tasks").json()
        return found

    def priors(self) -> list[str]:
        """Names that ``prior`` may be; the first is the default."""
        return [prior["name"] for prior in self.ask("GET", "/v1/priors").json()]

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any request.

        Raises:
            ServiceError: the answer is a refusal, or there is none.
        """
        try:
            return _checked(self.http.request(method, path, **more))
        except httpx.TransportError as error:
            raise ServiceError(f"{self.http.base_url}: {error}", 0) from None

    def close(self) -> None:
        """Let the connections go."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Job:
    """A restoration at a server.

    Args:
        client: that talks to it.
        id: which it is.
    """

    client: Client
    id: str

    def previews(self, *, every: bool = False) -> Iterator[Preview]:
        """What it comes to, as it comes, until its result, which is the last, or until it waits for a choice.

        A connection that breaks is resumed, also where the server is starting again (503), after a pause.

        Args:
            every: those of every evaluation too, not only complete ones.

        Raises:
            ServiceError: it has failed, is forgotten, or the server cannot be reached any more.
        """
        last, breaks = 0, 0
        while True:
            why = ServiceError(f"{self.client.http.base_url}: the events end without a result", 0)
            try:
                headers = {"Last-Event-ID": str(last)} if last else {}
                with self.client.http.stream("GET", self._path("/events"), headers=headers) as answer:
                    if answer.is_error:
                        answer.read()
                    for seq, kind, data in _events(_checked(answer).iter_lines()):
                        breaks = 0
                        if kind == "error":
                            raise ServiceError(data["message"], answer.status_code)
                        if kind == "result" or (kind == "preview" and (every or data["complete"])):
                            yield _preview(data)
                        last = seq or last
                        if kind in ("result", "candidates"):
                            return
            except httpx.TransportError as error:
                why = ServiceError(f"{self.client.http.base_url}: {error}", 0)
            except ServiceError as error:
                if error.status not in AWAY:
                    raise
                why = error
            breaks += 1
            if breaks > MOST_BREAKS:
                raise why from None
            pause = max(min(0.1 * 2**breaks, 5.0), why.retry_after or 0)
            time.sleep(min(pause, LONGEST_PAUSE_S))

    def result(self) -> Preview:
        """Wait for its result; one that waits for a choice has none yet."""
        *_, last = self.previews()
        return last

    def candidates(self) -> list[str]:
        """Wait for the next candidates: the names of their pictures, for :meth:`image`; none once it has ended."""
        for _ in self.previews():
            pass
        found: list[str] = self.known()["candidates"]
        return found

    def choose(self, *keep: int) -> None:
        """Keep candidates, by their numbers from 1, and go on from them; the last preview's one is the result."""
        self.client.ask("POST", self._path("/choose"), json={"keep": list(keep)})

    def edit(self, picture: Path | str | bytes, candidate: int = 1, *, trust: bool = False) -> None:
        """Go on from a changed preview, of a candidate, or of a run that has ended.

        Args:
            picture: a file, or its bytes.
            candidate: which it was made of, from 1.
            trust: keep what contradicts the measurement in it, too.
        """
        told = {"candidate": str(candidate), "trust_edit": str(trust).lower()}
        self.client.ask("POST", self._path("/edit"), files={"image": _file(picture)}, data=told)

    def image(self, show: str = "best", format: Format = "png") -> bytes:
        """A picture file: the best so far, or a preview's by its name, also while it runs."""
        return self.client.ask("GET", self._path("/image"), params={"show": show, "format": format}).content

    def known(self) -> dict[str, Any]:
        """All that is known of it; see the API's ``Restoration``."""
        found: dict[str, Any] = self.client.ask("GET", self._path("")).json()
        return found

    def stop(self) -> None:
        """Keep the best so far: that is its result."""
        self.client.ask("POST", self._path("/stop"))

    def more(self, nfe: int | None = None) -> None:
        """Do more for it, once it has ended: so many evaluations, or as many again."""
        self.client.ask("POST", self._path("/more"), json={} if nfe is None else {"nfe": nfe})

    def forget(self) -> None:
        """End it, and let the server forget it."""
        self.client.ask("DELETE", self._path(""))

    def _path(self, end: str) -> str:
        return f"/v1/restorations/{self.id}{end}"


def _file(given: Path | str | bytes) -> tuple[str, bytes]:
    if isinstance(given, bytes):
        return "picture", given
    return Path(given).name, Path(given).read_bytes()


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {answer.status_code} {answer.reason_phrase}"
    after = answer.headers.get("retry-after", "")
    raise ServiceError(detail, answer.status_code, float(after) if after.isdecimal() else None)


def _events(lines: Iterator[str]) -> Iterator[tuple[int | None, str, dict[str, Any]]]:
    said: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            said[name] = value.removeprefix(" ")
            continue
        if "event" in said:
            yield (int(said["id"]) if "id" in said else None), said["event"], json.loads(said["data"])
        said = {}


def _preview(data: dict[str, Any]) -> Preview:
    return Preview(
        nfe=data["nfe"],
        total_nfe=data["total_nfe"],
        elapsed=data["elapsed_s"],
        complete=data["complete"],
        expected_change=data.get("expected_change"),
        name=data["href"].rpartition("=")[2],
        scores={name: data[name] for name in ("psnr", "ssim") if name in data},
        stopped_by=data.get("stopped_by"),
        seeds=tuple(data.get("seeds", ())),
    )
