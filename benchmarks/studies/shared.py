"""What studies of pictures share: their options, how they read pictures, and how they print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.engine.markdown import markdown
from restoration.pictures import images
from restoration.pictures.sources import find

Data = Annotated[list[Path], typer.Option(help="Folder or tar of clean pictures.")]
Limit = Annotated[int, typer.Option(help="How many of them, the first by name.")]


def middle(pictures: Tensor, side: int) -> Tensor:
    """(..., side, side) of the middle of pictures (..., H, W) that are at least as large."""
    top, left = ((length - side) // 2 for length in pictures.shape[-2:])
    return pictures[..., top : top + side, left : left + side]


def clean_pictures(data: list[Path], limit: int) -> list[Tensor]:
    """The first pictures (C, H, W) of folders and tars."""
    return [images.decode(source.read(), source.name) for source in find(tuple(data))[:limit]]


def tell(*lines: str) -> None:
    """Print lines as they are, whatever the terminal's width."""
    console = Console(soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line, markup=False)


def show(head: list[str], rows: list[list[str]], told: str, notes: Sequence[str] = ()) -> None:
    """Print a table, in Markdown, and under which conditions it was measured; notes stand in between."""
    tell(*markdown(head, rows), *notes, f"{told}, torch {torch.__version__}")
