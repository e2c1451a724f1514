"""Downloads resume, are checked, and leave no half a file under the real name."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from restoration.errors import PriorError
from restoration.priors.library.catalogue import KNOWN, Known, recognise
from restoration.priors.library.download import cache_folder, fetch

CONTENT = bytes(range(256)) * 20_000


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges and an ETag.

    ``/cut`` breaks after half of what is asked, ``/plain`` ignores ranges, ``/new`` has another ETag, ``/garbage``
    is no HTTP.
    """

    asked: list[str | None]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        if self.path == "/garbage":
            self.wfile.write(b"no such protocol\r\n\r\n")
            return
        tag = '"two"' if self.path == "/new" else '"one"'
        ranges = wanted and self.path != "/plain" and self.headers.get("If-Range") == tag
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def known() -> Iterator[Known]:
    Server.asked = []
    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/whole"
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    yield Known("test-8", "test.ckpt", url, "https://example.org", "none", sha256=sha256)
    server.shutdown()
    server.server_close()
    thread.join()


def at(known: Known, path: str) -> Known:
    return replace(known, url=known.url.replace("/whole", path))


def test_a_file_is_downloaded_once_and_progress_is_told(known: Known, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    path = fetch(known, tmp_path / "cache", lambda *facts: told.append(facts))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("test.ckpt", len(CONTENT), len(CONTENT))
    assert fetch(known, tmp_path / "cache") == path
    assert len(Server.asked) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [".test.ckpt.lock", "test.ckpt"]


@pytest.mark.parametrize("rest", ["/whole", "/plain", "/new"], ids=["ranges", "no ranges", "another file"])
def test_a_broken_download_goes_on(known: Known, tmp_path: Path, rest: str) -> None:
    with pytest.raises(PriorError, match=r"connection broke|IncompleteRead") as caught:
        fetch(at(known, "/cut"), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "test.ckpt").exists()
    half = (tmp_path / "test.ckpt.part").stat().st_size
    assert 0 < half < len(CONTENT)
    assert fetch(at(known, rest), tmp_path).read_bytes() == CONTENT
    assert Server.asked[-1] == f"bytes={half}-"


def test_a_finished_part_is_checked_and_used(known: Known, tmp_path: Path) -> None:
    (tmp_path / "test.ckpt.part").write_bytes(CONTENT)
    (tmp_path / "test.ckpt.part.etag").write_text('"one"')
    assert fetch(known, tmp_path).read_bytes() == CONTENT
    assert Server.asked == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("extra", [b"", b"more than the file"], ids=["of no known file", "longer than the file"])
def test_a_part_of_something_else_is_not_used(known: Known, tmp_path: Path, extra: bytes) -> None:
    unchecked = replace(known, sha256="")
    (tmp_path / "test.ckpt.part").write_bytes(CONTENT + extra if extra else b"something else")
    if extra:
        (tmp_path / "test.ckpt.part.etag").write_text('"one"')
        with pytest.raises(PriorError):
            fetch(unchecked, tmp_path)  # the server says so, and the part is gone
    assert fetch(unchecked, tmp_path).read_bytes() == CONTENT


def test_two_at_once_download_one_whole_file(known: Known, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(replace(known, sha256=""), tmp_path), range(2)))
    assert paths[0].read_bytes() == CONTENT
    assert len(Server.asked) == 1


def test_a_server_that_speaks_no_http_is_one_line(known: Known, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="cannot be downloaded") as caught:
        fetch(at(known, "/garbage"), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_another_file_than_the_published_one_is_removed(known: Known, tmp_path: Path, kind: str) -> None:
    other = replace(known, **{"sha256": "", kind: "0" * 32})
    with pytest.raises(PriorError, match=f"not the published file: its {kind}"):
        fetch(other, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".test.ckpt.lock"]


def test_offline_one_line_says_which_file_to_put_where(tmp_path: Path) -> None:
    nowhere = Known("test-8", "test.ckpt", "http://127.0.0.1:9/test.ckpt", "", "")
    with pytest.raises(PriorError) as caught:
        fetch(nowhere, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in ("test.ckpt", nowhere.url, str(tmp_path)))


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTED_RESTORATION_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("NESTED_RESTORATION_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == platformdirs.user_cache_path() / "nested-restoration"
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "nested-restoration"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_folder() == Path.home() / ".cache" / "nested-restoration"


def test_known_files_are_recognised_by_checksum_and_else_by_name() -> None:
    imagenet = KNOWN["imagenet-256"]
    assert recognise("renamed.pt", imagenet.sha256) is imagenet
    assert recognise(imagenet.file, "0" * 64) is None  # its checksum is published, and this is not it
    assert recognise("celeba_hq.ckpt", "0" * 64) is KNOWN["celebahq-256"]
    assert recognise("ffhq_10m.pt", "0" * 64) is KNOWN["ffhq-256"]
    assert recognise("mine.pt", "0" * 64) is None


def test_every_known_checkpoint_has_source_and_licence() -> None:
    for name, known in KNOWN.items():
        assert known.name == name
        assert known.licence
        assert known.source.startswith("https://")
        assert known.url
        assert "/" not in known.file
        assert "\\" not in known.file
