"""What can be had here, told without network, without waiting and in one line."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch

from benchmarks.metrics import weights
from benchmarks.metrics.availability import available
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.inception import InceptionFeatures
from benchmarks.metrics.lpips import LPIPS
from benchmarks.metrics.weights import Weights

pytest.importorskip("torch_fidelity", reason="the extra 'bench' is not installed")
pytest.importorskip("lpips", reason="the extra 'bench' is not installed")
NAMES = ["PSNR", "SSIM", "LPIPS", "FID", "KID", "FD-prior"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network but this machine's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_without_weights_the_others_remain_and_the_reason_is_told() -> None:
    found = available(prior=True)
    assert list(found) == NAMES
    assert [name for name in NAMES if found[name]] == ["PSNR", "SSIM", "FD-prior"]
    assert str(found["PSNR"]) == "PSNR: available"
    assert str(found["LPIPS"]) == (
        "LPIPS: not available: AlexNet's weights are not here; let them be downloaded, or give --lpips-weights"
    )
    assert not available(prior=False)["FD-prior"]


def test_offline_is_told_in_one_line(tmp_path: Path) -> None:
    expected = "Inception's weights cannot be downloaded here (Network is unreachable); give --fid-weights"
    assert available(prior=True, download=True)["FID"].reason == expected
    with pytest.raises(MetricError, match="Inception's weights cannot be downloaded here"):
        InceptionFeatures()
    with pytest.raises(
        MetricError, match=r"AlexNet's weights cannot be downloaded here \(.*\); give --lpips-weights"
    ):
        LPIPS()


def test_given_or_cached_weights_are_taken(tmp_path: Path, cache: Path) -> None:
    given = tmp_path / "mine.pth"
    assert available(prior=True, lpips_weights=given)["LPIPS"].reason == f"{given}: no such file (--lpips-weights)"
    given.touch()
    assert available(prior=True, lpips_weights=given)["LPIPS"]
    cache.mkdir(parents=True)
    (cache / "weights-inception-2015-12-05-6726825d.pth").touch()
    found = available(prior=True)
    assert found["FID"]
    assert found["KID"]


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = weights.find_spec
    monkeypatch.setattr(weights, "find_spec", lambda name: None if name == "lpips" else find(name))
    reason = available(prior=True)["LPIPS"].reason
    assert reason == "lpips is not installed: pip install 'nested-restoration[bench]'"


class Server(BaseHTTPRequestHandler):
    """Sends the same few bytes for every file."""

    def do_HEAD(self) -> None:
        self.send_error(405)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"weights")

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.undo()
    with HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_download_is_checked_by_the_hash_in_its_name(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    right = hashlib.sha256(b"weights").hexdigest()[:8]
    path = Weights("Its", f"{server}/its-{right}.pth", "--it", "").find(None)
    assert path.read_bytes() == b"weights"
    assert path.parent == tmp_path / "hub" / "checkpoints"
    wrong = Weights("Its", f"{server}/its-00000000.pth", "--it", "")
    with pytest.raises(MetricError, match=f"another file: its SHA-256 begins with {right}"):
        wrong.find(None)
    assert not wrong.cached.exists()


def test_a_server_that_never_answers_does_not_hang(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/its-00000000.pth"
        start = time.monotonic()
        with pytest.raises(MetricError, match=r"Its weights cannot be downloaded here \(.*\); give --it"):
            Weights("Its", url, "--it", "").find(None)
        assert time.monotonic() - start < 2


def test_importing_the_metrics_imports_none_of_their_libraries() -> None:
    script = (
        "import benchmarks.metrics.availability, benchmarks.metrics.kid, benchmarks.metrics.ssim, sys; "
        "heavy = {'torch_fidelity', 'lpips', 'torchvision', 'skimage', 'diffusers'}; "
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    house = Path(weights.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=house, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
