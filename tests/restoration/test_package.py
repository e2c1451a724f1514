"""The package as users import it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import degradations
import restoration
from restoration.version import own_version
from solvers import SAMPLERS


def test_every_public_name_resolves() -> None:
    for name in restoration.__all__:
        assert getattr(restoration, name) is not None
    assert set(restoration.__all__) <= set(dir(restoration))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = restoration.nothing


def test_every_operator_and_sampler_is_among_the_public_names() -> None:
    assert set(degradations.__all__) <= set(restoration.__all__)
    assert {sampler.__name__ for sampler in SAMPLERS.values()} <= set(restoration.__all__)
    assert restoration.Blur is degradations.Blur


def python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_importing_imports_neither_torch_nor_deepinv(tmp_path: Path) -> None:
    done = python("import restoration, sys; print({'torch', 'deepinv'} & set(sys.modules))", tmp_path)
    assert done.stdout.strip() == "set()"


def test_the_outer_loop_does_not_import_diffusers(tmp_path: Path) -> None:
    done = python("import nested, solvers, sys; print('diffusers' in sys.modules)", tmp_path)
    assert done.stdout.strip() == "False"


def test_a_folder_that_shadows_a_sibling_is_named(tmp_path: Path) -> None:
    (tmp_path / "solvers").mkdir()
    (tmp_path / "solvers" / "__init__.py").write_text("")
    done = python("import restoration", tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert str(tmp_path / "solvers") in last


def test_a_package_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("restoration.version.version", absent)
    assert own_version() == "not installed"
