"""Weights that metrics need: given as a file, in torch's own cache, or fetched into it without hanging."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from benchmarks.metrics.errors import MetricError
from restoration.errors import PriorError

PATIENCE = 8.0
"""Seconds until a server that has not answered counts as out of reach, name lookup included."""


@dataclass(frozen=True)
class Weights:
    """A published file of weights.

    Args:
        owner: whose they are, as errors say it: "Inception's".
        url: where the library that uses them has them from; the file name's last part is its SHA-256's beginning.
        option: which option of the command line takes a copy's path.
        page: where its licence stands.
    """

    owner: str
    url: str
    option: str
    page: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    @property
    def cached(self) -> Path:
        """Where torch.hub, and with it the library, keeps it: below ``$TORCH_HOME``."""
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self.file

    def find(self, given: Path | None) -> Path:
        """The given file, else the cached one, which is downloaded if it is not there.

        Raises:
            MetricError: one line: no such file, no connection (told within ``PATIENCE``), not the published file.
        """
        if given is not None:
            if not given.is_file():
                raise MetricError(f"{given}: no such file ({self.option})")
            return given
        from restoration.priors.library.catalogue import Known  # restoration.priors is slow to import
        from restoration.priors.library.download import fetch

        target = self.cached
        if not target.is_file():
            try:
                _knock(self.url)
                fetch(Known(self.file, self.file, self.url, self.page, ""), target.parent, timeout=PATIENCE)
                self._check(target)
            except (PriorError, OSError) as error:
                raise MetricError(
                    f"{self.owner} weights cannot be downloaded here ({_reason(error)}); give {self.option}"
                ) from None
        return target

    def _check(self, path: Path) -> None:
        beginning = path.stem.rpartition("-")[2]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(beginning):
            path.unlink()
            raise OSError(f"the server sent another file: its SHA-256 begins with {found[:8]}")


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, read with ``weights_only``: nothing in it runs. MetricError for any other file."""
    from restoration.priors.formats.reading import read_tensors  # as above

    try:
        return read_tensors(path)
    except PriorError as error:
        raise MetricError(str(error)) from None


def require(*modules: str) -> None:
    """MetricError that names the extra to install where one of the modules is not there; imports nothing."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        names = " and ".join(missing)
        raise MetricError(f"{names} is not installed: pip install 'nested-restoration[bench]'")


def _knock(url: str) -> None:
    """OSError within ``PATIENCE`` where the server gives no answer: a name lookup has no time limit of its own."""
    failed: list[OSError] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "nested-restoration"})
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # any answer will do
        except OSError as error:
            failed.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if asking.is_alive():
        raise OSError(f"no answer within {PATIENCE:g} s")
    if failed:
        raise failed[0]


def _reason(error: Exception) -> str:
    """What went wrong, of the system's words or, of our own download, those in its brackets."""
    reason = getattr(error, "reason", error)  # an URLError's is often another OSError
    text = str(getattr(reason, "strerror", None) or reason)
    if isinstance(error, PriorError):
        text = text.partition("(")[2].partition("): get ")[0] or text
    return " ".join(text.split())
