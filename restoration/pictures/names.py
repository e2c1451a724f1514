"""Names of picture files: suffixes of one part, and ``.nii.gz``, which has two."""

from __future__ import annotations

from pathlib import Path

_DOUBLE = (".nii.gz",)


def suffix_of(path: Path) -> str:
    """The suffix in lower case; "" where there is none."""
    name = path.name.lower()
    return next((suffix for suffix in _DOUBLE if name.endswith(suffix)), path.suffix.lower())


def stem_of(path: Path) -> str:
    """The name without its suffix."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def beside(path: Path, what: str) -> Path:
    """The same name with a word before its suffix: ``brain-std.nii.gz`` beside ``brain.nii.gz``."""
    suffix = path.name[len(stem_of(path)) :]
    return path.with_name(f"{stem_of(path)}-{what}{suffix}")
