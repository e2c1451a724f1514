"""A hook of mkdocs: a site that would load anything from another host is not built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["']?canonical)[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|url\(["']?((?:https?:)?//[^"')\s]+)""",
    re.IGNORECASE,
)


def foreign(page: str) -> list[str]:
    """The addresses on other hosts that a browser would load with a page or a sheet; links to follow are none."""
    return [next(filter(None, found)) for found in LOADED.findall(page)]


def on_post_build(config: Any) -> None:
    """Called by mkdocs when the site has been written."""
    from mkdocs.exceptions import PluginError

    site = Path(config["site_dir"])
    for file in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        if found := foreign(file.read_text(encoding="utf-8")):
            raise PluginError(f"{file.relative_to(site)} loads {found[0]}: the site must need no other host")
