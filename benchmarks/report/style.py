"""The stylesheets: of charts, wherever they stand, and of the page around them."""

from __future__ import annotations

from importlib.resources import files


def _read(name: str) -> str:
    return files("benchmarks.report").joinpath(name).read_text(encoding="utf-8")


CHARTS = _read("charts.css")
PAGE = CHARTS + _read("style.css")
