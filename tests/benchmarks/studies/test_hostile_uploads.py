"""Hostile uploads are the client's errors, never the server's."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from benchmarks.studies.hostile_uploads import run, serving


def test_no_hostile_upload_is_the_server_s_error(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        statuses, wrong = run(client, 50, 1, print)
        assert wrong == []
        assert statuses.total() == 50
        assert len(statuses) >= 2  # some are sound enough to be restored
