"""The site: every page is in its navigation, links lead somewhere, the reference is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pages import ROOT, name_of, pages
from site_check import foreign

import degradations
import nested
import restoration
import solvers

REFERENCE = ROOT / "docs" / "api"


def test_every_page_is_in_the_navigation_and_no_other() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load(text)["nav"]))
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(shown) == sorted(there)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_to_files_and_their_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), f"{name_of(page)}: {target}"
        if heading:
            assert heading in headings(there), f"{name_of(page)}: {target}"


def headings(page: Path) -> set[str]:
    """As anchors, by the rule of the site; that of code hosts is the same for these."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in found}


def test_the_reference_has_every_public_name() -> None:
    told = "".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", told, re.MULTILINE))
    assert {"degradations", "nested", "solvers"} <= listed  # whole, by their __all__
    below = {*degradations.__all__, *nested.__all__, *solvers.__all__}
    assert {*restoration.__all__} - below <= {name.rpartition(".")[2] for name in listed}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 125


def test_a_page_that_loads_from_another_host_is_found() -> None:
    theirs = '<link rel="stylesheet" href="//fonts.example/a.css"><img src="https://example.org/a.png">'
    assert foreign(theirs) == ["//fonts.example/a.css", "https://example.org/a.png"]
    assert foreign('<a href="https://example.org">source</a> <img src="../a.png"> <script src="b.js">') == []
