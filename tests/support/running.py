"""The command ``restore`` in this process, for tests."""

from __future__ import annotations

import sys

import pytest

from restoration.commands import restore as cli


def restore(*arguments: object, capsys: pytest.CaptureFixture[str] | None = None) -> tuple[int, str, str]:
    """Run it: exit code, stdout, stderr, without what was printed before."""
    before = sys.argv
    sys.argv = ["restore", *map(str, arguments)]
    if capsys:
        capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = before
    out, err = capsys.readouterr() if capsys else ("", "")
    return int(stop.value.code or 0), out, err
