"""Which version of this package runs, for the records of results."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Of the package nested-restoration; "not installed" where it is run from its folder."""
    try:
        return version("nested-restoration")
    except PackageNotFoundError:
        return "not installed"
