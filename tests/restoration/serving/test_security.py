"""Who is let in, and what is refused before anything is done for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from restoration.service.jobs import Limits
from restoration.service.opening import Bounds
from restoration.service.security import Access, hosts_of, is_loopback, read_tokens

from .conftest import Serve, ask, ended, picture

SHORT = {"task": "sr2", "outer": 1, "inner": 2}
LONG = {"task": "sr2", "allocation": ",".join(["20"] * 45)}
ONE, OTHER = "a-token-of-one-client", "a-token-of-another-one"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded(serve: Serve) -> Any:
    """A client of a server that asks for tokens."""
    with serve(access=Access((ONE, OTHER), hosts=())) as client:
        yield client


@pytest.mark.parametrize("header", [{}, bearer("wrong"), bearer(""), {"Authorization": ONE}])
def test_nothing_is_told_without_a_token(guarded: TestClient, header: dict[str, str]) -> None:
    for path in ("/v1/tasks", "/v1/restorations/x", "/metrics"):
        answer = guarded.get(path, headers=header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert guarded.get("/healthz").status_code == 200


def test_one_client_never_sees_another_s(guarded: TestClient) -> None:
    files = {"image": ("a.png", picture())}
    made = guarded.post("/v1/restorations?task=sr2&inner=2", files=files, headers=bearer(ONE))
    address = made.headers["location"]
    for method, end in [("GET", ""), ("GET", "/events"), ("GET", "/image"), ("POST", "/stop"), ("DELETE", "")]:
        assert guarded.request(method, address + end, headers=bearer(OTHER)).status_code == 404
    assert guarded.get(address, headers=bearer(ONE)).status_code == 200


def test_ids_cannot_be_guessed(client: TestClient) -> None:
    ids = {ask(client, **SHORT).json()["id"] for _ in range(3)}
    assert all(len(id) == 22 for id in ids)  # 128 random bits
    assert len({id[:4] for id in ids}) == 3
    assert client.get("/v1/restorations/..%2f..%2fetc").status_code == 404


def test_page_elsewhere_can_neither_act_nor_pose_as_this_one(client: TestClient) -> None:
    files = {"image": ("a.png", picture())}
    elsewhere = client.post("/v1/restorations?task=sr2", files=files, headers={"Origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    assert client.post("/v1/restorations?task=sr2", files=files, headers={"Origin": "null"}).status_code == 403
    rebound = client.get("/v1/tasks", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    preflight = client.options("/v1/restorations", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in preflight.headers
    own = client.post("/v1/restorations?task=sr2", files=files, headers={"Origin": "http://localhost"})
    assert own.status_code == 202


def test_browser_is_kept_strict(client: TestClient) -> None:
    for path in ("/", "/main.js", "/v1/tasks", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_page_names_no_other_host() -> None:
    page = Path(__file__).parents[3] / "restoration" / "service" / "page"
    texts = [
        file.read_text(encoding="utf-8") for file in page.iterdir() if file.suffix in (".html", ".js", ".css")
    ]
    assert len(texts) >= 8
    assert not any("https://" in text or "//cdn" in text for text in texts)


def test_large_requests_are_refused(serve: Serve) -> None:
    with serve(access=Access(max_body=2000)) as client:
        assert ask(client, picture(4), **SHORT).status_code == 202
        answer = ask(client, picture(64), **SHORT)
        assert (answer.status_code, "2,000 bytes" in answer.json()["detail"]) == (413, True)

        def chunks() -> Any:
            for _ in range(100):
                yield b"x" * 100

        told = client.post("/v1/restorations", content=chunks(), headers={"Content-Type": "application/json"})
        assert told.status_code == 413  # also where no length was told


def test_large_pictures_are_refused(serve: Serve) -> None:
    with serve(Limits(one=Bounds(pixels=1024))) as client:
        assert ask(client, picture(16), **SHORT).status_code == 202
        answer = ask(client, picture(17), **SHORT)
        assert (answer.status_code, "at most 1,024 pixels" in answer.json()["detail"]) == (422, True)
        assert ask(client, picture(16), **SHORT, samples=2).status_code == 422
        assert ask(client, picture(40), **SHORT).status_code == 422


def test_queue_is_bounded_in_all_and_for_each_client(serve: Serve) -> None:
    with serve(Limits(runs=3, per_client=2)) as client:
        ids = [ask(client, **LONG).json()["id"] for _ in range(2)]
        third = ask(client, **LONG)
        assert third.status_code == 429
        assert third.headers["retry-after"]
        client.delete(f"/v1/restorations/{ids[0]}")
        assert ask(client, **LONG).status_code == 202
    with serve(Limits(runs=1)) as client:
        ask(client, **LONG)
        assert ask(client, **LONG).status_code == 503
    with serve(Limits(pixels=2000)) as client:
        ask(client, **LONG)
        answer = ask(client, **LONG)
        assert (answer.status_code, "--total-pixels" in answer.json()["detail"]) == (503, True)


def test_file_names_of_clients_are_no_paths(client: TestClient) -> None:
    files = {"image": ("../../evil\n.png", b"no picture")}
    answer = client.post("/v1/restorations?task=sr2", files=files)
    assert answer.status_code in (400, 422)
    id = client.post("/v1/restorations?task=sr2", files={"image": ("../../../evil.png", picture())}).json()["id"]
    ended(client, id)
    folder = client.jobs.store.folder  # type: ignore[attr-defined]
    assert not list(folder.rglob("*evil*"))
    assert not list(folder.parent.glob("*evil*"))


def test_tokens_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# clients\n{ONE}\n\n{OTHER}\n")
    assert read_tokens(file) == (ONE, OTHER)
    file.write_text("short\n")
    with pytest.raises(ValueError, match="shorter than 16 characters"):
        read_tokens(file)
    file.write_text("#\n")
    with pytest.raises(ValueError, match="holds no token"):
        read_tokens(file)


def test_listening_beyond_this_machine_needs_a_token() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.8.8.8")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.0.1", "::", "example.org")))
    command = [sys.executable, "-m", "restoration.commands.serve", "--host", "0.0.0.0"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "--host 0.0.0.0 can be reached from elsewhere: give --token-file" in told.stderr


def test_json_of_millions_of_values_is_refused_before_it_is_read(client: TestClient) -> None:
    kind = {"Content-Type": "application/json"}
    many = b'{"task": [' + b"[]," * 3_000_000 + b"0]}"
    began = time.process_time()
    answer = client.post("/v1/restorations", content=many, headers=kind)
    assert (answer.status_code, "at most 10,000 values" in answer.json()["detail"]) == (400, True)
    assert time.process_time() - began < 2  # reading and showing them took 5 s; counting bytes 0.1 s
    form = client.post("/v1/restorations", files={"image": b""}, data={"options": "[" + "0," * 20_000 + "0]"})
    assert (form.status_code, form.json()["detail"]) == (400, "options may have at most 10,000 values")
    further = client.post(f"/v1/restorations/{'x' * 22}/more", content=many, headers=kind)
    assert (further.status_code, further.json()["detail"]) == (413, "a request may have at most 16,384 bytes")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[1, 2]", "the body must be a JSON object: got an array"),
        (b'"' + b"x" * 100_000 + b'"', "the body must be a JSON object: got a string"),
        (b'{"image": "AAAA", "task": [1, 2]}', "task must be a valid string: got [1, 2]"),
        (
            b'{"image": "AAAA", "task": "' + b"x" * 100_000 + b'"}',
            "task must have at most 200 characters: got 'xxx",
        ),
    ],
)
def test_wrong_json_is_told_briefly(client: TestClient, body: bytes, words: str) -> None:
    answer = client.post("/v1/restorations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    detail = answer.json()["detail"]
    assert words in detail
    assert len(detail) < 200


def test_origin_that_is_no_address_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/restorations?task=sr2", headers={"Origin": "http://["})
    assert answer.status_code == 403


def test_server_on_another_loopback_address_answers_by_it() -> None:
    assert "127.0.0.2" in hosts_of("127.0.0.2", ())
    assert hosts_of("::1", ()) == hosts_of("localhost", ()) == ("localhost", "127.0.0.1", "[::1]")
    assert hosts_of("0.0.0.0", ("a.example",)) == ("a.example",)
