"""Compact Markdown of what priors restore: a row a method, a column a task, and where they lose."""

from __future__ import annotations

import math
import re

from benchmarks.engine.markdown import markdown
from benchmarks.studies.priors_results import Cell, Group, Row

LOSS = 0.3
"""dB by which a method without a network may be ahead of the faithful sampler before it is told."""
FAITHFUL = "faithful"
RUNS = {
    "A⁺y": "measurement, A⁺y",
    "classic": "classical",
    "non-local means": "non-local means",
    "bicubic": "bicubic",
    "Lanczos": "Lanczos",
    "Wiener": "Wiener",
    "Richardson–Lucy": "Richardson–Lucy",
    "one evaluation": "one evaluation",
    "DDRM": "DDRM",
    "nested DDRM": "DDRM",
    "FIRE faithful": FAITHFUL,
    "nested FIRE faithful": FAITHFUL,
    "FIRE natural": "natural",
    "nested FIRE natural": "natural",
}
"""Names of the rows, in their order; other methods come after them under their own names."""
GROUPS = (("denoise", "sr"), ("inpaint", "colorize", "deblur", "jpeg"))
"""Tasks that share a table, by the beginnings of their names; all others come in the second."""
NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"


def tables(group: Group, loss: float = LOSS) -> list[str]:
    """Markdown lines of a prior: its tables, seconds, losses, and under which conditions it was measured."""
    told = "whole pictures" if group.shape is None else f"pictures of {group.shape[2]} × {group.shape[1]}"
    images = sorted({cell.images for cells in group.cells.values() for cell in cells.values()})
    counts = " to ".join(dict.fromkeys((str(images[0]), str(images[-1])))) if images else "no"
    lines = [f"## `{group.prior}`: {counts} {told}", ""]
    space, foreign = _space(group)
    rows = sorted(group.cells, key=_order)
    tasks = sorted(group.tasks, key=_place)
    for first in (True, False):
        some = [task for task in tasks if (_group(task) == 0) is first]
        measured = [row for row in rows if any(task in group.cells[row] for task in some)]
        if measured:
            cells = [
                [title(row), *(_told(group.cells[row].get(task), space) for task in some)] for row in measured
            ]
            lines += [*markdown(["", *map(column, some)], cells), ""]
    lines += [*_seconds(group, rows), ""]
    if any(_named(row) == FAITHFUL for row in rows):
        lines += [f"A method without a network is ahead of faithful by more than {loss:g} dB:", ""]
        lines += [*(losses(group, loss) or ["- nowhere."]), ""]
    lines += [f"- {folder}: {of}." for folder, of in group.conditions.items()]
    return [*lines, *_differing(group), *foreign, ""]


def losses(group: Group, loss: float = LOSS) -> list[str]:
    """A bullet for every task and method without a network that is ahead of a faithful run by more than that."""
    ours = [row for row in sorted(group.cells, key=_order) if _named(row) == FAITHFUL]
    lines = []
    for task in sorted(group.tasks, key=_place):
        for row in sorted(group.cells, key=_order):
            cell = group.cells[row].get(task)
            if row.nfe or cell is None:
                continue
            behind = {
                title(one): cell.psnr - group.cells[one][task].psnr for one in ours if task in group.cells[one]
            }
            told = [f"{name} by {by:.2f} dB" for name, by in behind.items() if by > loss]
            if told:
                lines.append(f"- {column(task)}: {title(row)}, {cell.psnr:.2f} dB, is ahead of {'; '.join(told)}.")
    return lines


def title(row: Row) -> str:
    """A row's name: the method, and its evaluations where there are several."""
    if samples := re.fullmatch(r"mean of (\d+) FIRE (.+)", row.run):
        return f"mean of {samples[1]} × {row.nfe // int(samples[1])} {samples[2]}"
    name = _named(row)
    if row.outer > 1:
        return f"{name}, {row.outer} × {row.nfe // row.outer}"
    return f"{name}, {row.nfe}" if row.nfe > 1 else name


def column(task: str) -> str:
    """A column's name, of the name under which results are filed: "sr4-0.05" is "sr4, σ 0.05"."""
    name, sigma = _parted(task)
    if name == "denoise":
        return f"denoise {sigma:g}"
    if hole := re.fullmatch(r"inpaint-hole(\d+)", name):
        told = f"hole {hole[1]} × {hole[1]}"
    elif quality := re.fullmatch(r"jpeg(\d+)", name):
        told = f"JPEG {quality[1]}"
    else:
        told = {"inpaint": "inpaint 50 %", "inpaint-scratch": "scratch", "inpaint-mask": "mask"}.get(name, name)
    return f"{told}, σ {sigma:g}" if sigma else told


def _named(row: Row) -> str:
    return RUNS.get(row.run, row.run)


def _order(row: Row) -> tuple[int, bool, str, bool, int]:
    names = list(dict.fromkeys(RUNS.values()))
    place = names.index(_named(row)) if row.run in RUNS else len(names)
    return place, not row.run.startswith("mean"), _named(row), row.outer > 1, row.nfe


def _parted(task: str) -> tuple[str, float]:
    """Title and σ of a task; what takes no σ is filed without one."""
    found = re.fullmatch(rf"(.+?)-({NUMBER})", task)
    return (found[1], float(found[2])) if found else (task, 0.0)


def _group(task: str) -> int:
    return next((i for i, kinds in enumerate(GROUPS) if task.startswith(kinds)), 1)


def _place(task: str) -> tuple[int, int, bool, tuple[float, ...], str, float]:
    """Tasks of one kind beside one another, noiseless ones first, by factor or side, then by σ."""
    name, sigma = _parted(task)
    kinds = [kind for some in GROUPS for kind in some]
    kind = next((i for i, beginning in enumerate(kinds) if name.startswith(beginning)), len(kinds))
    numbers = tuple(float(number) for number in re.findall(NUMBER, name))
    masked = name.removeprefix("inpaint")
    noisy = sigma > 0 and not name.startswith("denoise")
    return _group(task), kind, noisy, numbers, {"": "", "-scratch": "-a"}.get(masked, masked), sigma


def _told(cell: Cell | None, space: str) -> str:
    """PSNR, SSIM, and the distance where it is of the table's features."""
    if cell is None:
        return ""
    if math.isnan(cell.psnr):
        return "failed"
    parts = [f"{cell.psnr:.2f}", _short(f"{cell.ssim:.3f}")]
    if cell.distance is not None and cell.space == space:
        parts.append(_short(f"{cell.distance:.2g}") if cell.distance < 1 else f"{cell.distance:.3g}")
    return " ".join([*parts, f"({cell.failed} failed)"] if cell.failed else parts)


def _short(number: str) -> str:
    return number[1:] if number.startswith("0.") else number


def _seconds(group: Group, rows: list[Row]) -> list[str]:
    """A row a method and machine: the least and the most seconds a picture over the tasks."""
    cells = []
    for row in rows:
        by_hardware: dict[str, list[float]] = {}
        for cell in group.cells[row].values():
            if math.isfinite(cell.seconds):
                by_hardware.setdefault(cell.hardware, []).append(cell.seconds)
        for hardware, spent in by_hardware.items():
            bounds = dict.fromkeys(f"{seconds:.2g}" for seconds in (min(spent), max(spent)))
            cells.append([title(row), " to ".join(bounds), hardware])
    return markdown(["", "s a picture", "on"], cells)


def _space(group: Group) -> tuple[str, list[str]]:
    """The features of which the newest distances are, and a line where others are left out."""
    folders = list(group.conditions)
    with_distance = [
        cell for cells in group.cells.values() for cell in cells.values() if cell.distance is not None
    ]
    newest = max(with_distance, key=lambda cell: folders.index(cell.folder), default=None)
    if newest is None:
        return "", []
    others = dict.fromkeys(cell.folder for cell in with_distance if cell.space != newest.space)
    told = f"- FD-prior of other weights' features is left out: {', '.join(others)}."
    return newest.space, [told] if others else []


def _differing(group: Group) -> list[str]:
    """A line for every task of which folders degraded other pictures, or the same ones in other ways."""
    lines = []
    for task in sorted(group.pictures, key=_place):
        used = {cells[task].folder for cells in group.cells.values() if task in cells}
        kinds: dict[frozenset[tuple[str, str]], list[str]] = {}
        for folder, pictures in group.pictures[task].items():
            if folder in used:
                kinds.setdefault(frozenset(pictures.items()), []).append(folder)
        if len(kinds) > 1:
            told = "; ".join(f"{len(pictures)} in {', '.join(some)}" for pictures, some in kinds.items())
            lines.append(f"- {column(task)}: other pictures or operators: {told}.")
    return lines
