"""The kept pictures, side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from benchmarks.engine.chunk import ORIGINAL
from benchmarks.engine.results import Results
from benchmarks.engine.summary import TaskSummary
from benchmarks.engine.trials import Look
from benchmarks.report.markup import Markup, element, header, joined, row, table
from benchmarks.report.reading import Report, runs_of

COLUMNS = 6
"""Numbers of evaluations shown; of more, so many are picked evenly, the last among them."""
PIXELS = 16_000_000
"""Of all pictures of a page: a browser still opens it."""


def grid(report: Report, summary: TaskSummary) -> Markup:
    """For every kept picture its degraded and its original one, and between them a row for every run."""
    names, pictures = report.results.pictures(summary.task)
    runs = [run for run in runs_of(summary) if any(look_key.startswith(f"{run}|") for look_key in pictures)]
    originals = pictures.get(ORIGINAL)
    if originals is None or not runs:
        return Markup()
    points = _picked(sorted({look.nfe for look in summary.means if look.kind == "returned"}))
    count = min(len(originals), max(_affordable(originals, len(report.summaries), len(runs), len(points)), 1))
    worth = psnr_of(names[:count], report.results, summary.task)
    groups = [_group(pictures, i, runs, points, (names[i], worth[names[i]]), summary.task) for i in range(count)]
    head = row(header("degraded"), header("run"), *(header(nfe) for nfe in points), header("original"))
    more = "" if count == len(originals) else f" The first {count} of {len(originals)} that were kept."
    return table(head, groups, f"What would be returned after so many evaluations; PSNR in dB.{more}", "grid")


def _picked(points: list[int]) -> list[int]:
    if len(points) <= COLUMNS:
        return points
    return [points[round((i + 1) * len(points) / COLUMNS) - 1] for i in range(COLUMNS)]


def _affordable(originals: Tensor, tasks: int, runs: int, points: int) -> int:
    each = originals.shape[-1] * originals.shape[-2] * (runs * points + 2)
    return int(PIXELS // (each * tasks))


def _group(
    pictures: Mapping[str, Tensor],
    i: int,
    runs: Sequence[str],
    points: Sequence[int],
    known: tuple[str, Mapping[str, float]],
    task: str,
) -> Markup:
    """The rows of one picture."""
    name, psnr = known
    rows = []
    for r, run in enumerate(runs):
        cells = []
        for nfe in points:
            key = Look(run, "returned", nfe).key
            if key not in pictures:
                cells.append(element("td"))
                continue
            worth = f"{psnr[key]:.2f}" if key in psnr else ""
            alt = f"{name}, {task}: {run} after {nfe} evaluations" + (f", {worth} dB" if worth else "")
            cells.append(element("td", figure(pictures[key][i], alt, worth)))
        first, last = [], []
        if r == 0:
            if "degraded" in pictures:
                first = [figure(pictures["degraded"][i], f"{name}, {task}: degraded")]
            last = [figure(pictures[ORIGINAL][i], f"{name}: original", name)]
            first = [element("td", *first, rowspan=len(runs))]
            last = [element("td", *last, rowspan=len(runs), class_="named")]
        rows.append(row(*first, header(run, scope="row"), *cells, *last, class_=None if r else "first"))
    return joined(*rows)


def figure(picture: Tensor, alt: str, caption: str = "") -> Markup:
    """A picture (C, H, W) uint8 and the words under it."""
    return joined(
        element("img", src=data_uri(picture), alt=alt, width=picture.shape[-1], height=picture.shape[-2]),
        element("small", caption) if caption else "",
    )


def data_uri(picture: Tensor) -> str:
    """As a PNG, grey where it has not three channels (then of its first)."""
    pixels = picture.permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[:, :, 0])
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def psnr_of(names: Sequence[str], results: Results, task: str) -> dict[str, dict[str, float]]:
    """PSNR by look of every named picture, as far as it was measured; the first chunks' rows are read."""
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    left = set(names)
    for chunk in results.chunks(task):
        for told in chunk.rows:
            if told["image"] in found and "psnr" in told:
                look = Look(told["run"], told["kind"], told["nfe"])
                found[told["image"]][look.key] = float(told["psnr"])
        left -= set(chunk.names)
        if not left:
            break
    return found
