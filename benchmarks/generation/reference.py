"""Real pictures to compare samples with: their features' statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from benchmarks.engine.campaign import check_sizes
from benchmarks.metrics.features import Features
from benchmarks.metrics.statistics import Statistics
from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.sources import Source, find
from restoration.tasks import Shape, fit_to, with_channels

FILE = "reference.safetensors"
"""In a results folder: the statistics that its samples were compared with."""
TOLD = 8
"""Of so many pictures that were left out each has a line."""


def measure_reference(
    data: Sequence[Path], features: Features, shape: Shape, *, limit: int | None, fit: bool, batch: int
) -> tuple[Statistics, tuple[str, ...]]:
    """Statistics of the pictures of folders and tars, and lines on those left out and those enlarged.

    Args:
        shape: (C, H, W) of the samples; grey becomes RGB or RGB grey as for restoring.
        limit: only so many, the first by name.
        fit: crop and resample to the samples' size; smaller ones are enlarged, for without them the others would
            not stand for all.

    Raises:
        ImageError: a picture of another size, or fewer than two that can be read.
    """
    sources = find(data)[:limit]
    if not fit:
        check_sizes(sources, shape[1:])
    statistics, failed, small = Statistics(features.space), list[str](), list[str]()
    console = Console(stderr=True)
    starts = range(0, len(sources), batch)
    shown = track(starts, "reference", console=console, transient=True, disable=not console.is_terminal)
    for start in shown:
        read = [(s.name, _read(s, shape, fit, failed, small)) for s in sources[start : start + batch]]
        there = [(name, picture) for name, picture in read if picture is not None]
        if there:
            clean = torch.stack([picture for _, picture in there])
            statistics.update(features(clean, [name for name, _ in there]))
    if statistics.count < 2:
        raise ImageError(
            f"{data[0]}: a distance needs two pictures or more: {statistics.count} could be read"
            + (f", first {failed[0]}" if failed else "")
        )
    return statistics, _notes(failed, small)


def _notes(failed: list[str], small: list[str]) -> tuple[str, ...]:
    lines = [f"left out of the reference: {line}" for line in failed[:TOLD]]
    if len(failed) > TOLD:
        lines.append(f"left out of the reference: {len(failed) - TOLD:,} more")
    if small:
        lines.append(f"{len(small):,} of the reference were smaller and were enlarged, first {small[0]}")
    return tuple(lines)


def _read(source: Source, shape: Shape, fit: bool, failed: list[str], small: list[str]) -> Tensor | None:
    """(C, H, W) in [0, 1]; None, and a line in ``failed``, where it cannot be had."""
    try:
        picture = images.decode(source.read(), source.name)
        if fit and tuple(picture.shape[1:]) != tuple(shape[1:]):
            if picture.shape[1] < shape[1] or picture.shape[2] < shape[2]:
                picture = _enlarged(picture, shape[1], shape[2])
                small.append(source.name)
            picture = fit_to(picture, shape[1], shape[2], shrink=True)
        return with_channels(picture, shape[0])[0]
    except (ImageError, OSError) as error:
        failed.append(str(error))
        return None


def _enlarged(picture: Tensor, height: int, width: int) -> Tensor:
    """The whole picture, just large enough to be cropped."""
    rows, columns = picture.shape[1:]
    scale = max(height / rows, width / columns)
    size = (round(rows * scale), round(columns * scale))
    return functional.interpolate(picture[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
