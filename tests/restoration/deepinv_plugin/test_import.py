"""The plugin as a package: what it asks for, what it gives."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from restoration import deepinv_plugin


def test_every_public_name_resolves() -> None:
    for name in deepinv_plugin.__all__:
        assert getattr(deepinv_plugin, name) is not None


def test_without_deepinv_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name
        for name in sys.modules
        if name.startswith(("restoration.deepinv_plugin", "restoration.plugins.deepinv"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "deepinv", None)
    with pytest.raises(ImportError) as error:
        import_module("restoration.deepinv_plugin")
    assert str(error.value) == (
        "restoration.deepinv_plugin needs deepinv: pip install 'nested-restoration[deepinv]'"
    )
