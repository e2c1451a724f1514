"""What choosing is worth: the best of four candidates at each of three previews, against runs that nobody steers.

Run: ``python -m benchmarks.studies.steering --data ../shared/data/faces/test.tar --limit 64 --sheet steered.png``.

All but the faithful run draw samples (``FIRE.Settings("natural")``), with the same seeds. Four candidates of 30
evaluations cost 120; so do four whole runs of which the best is kept at the end, and one run of 120.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from benchmarks.commands.sheet import Cell, contact_sheet
from benchmarks.engine.markdown import markdown
from benchmarks.engine.masks import Hole
from benchmarks.metrics.psnr import psnr
from benchmarks.studies import shared
from nested import atomic_write
from restoration.pictures import images
from restoration.pictures.sources import find
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.steering import Steered
from restoration.tasks import Problem, Task, derived_seed, fit_to, pose
from solvers import FIRE

TASKS = {"sr8": "SR8", "inpaint": "a hole of 32×32", "colorize": "colorize"}
CANDIDATES, STEPS, LONG = 4, (10, 10, 10), (40, 40, 40)
REGION = 32
"""Pixels a side of the middle, which a person-like proxy looks at: the hole of inpainting, a face's features."""

Score = Callable[[Tensor], Tensor]
"""(B, C, H, W) in [0, 1] to (B,) dB."""


def middle(pictures: Tensor) -> Tensor:
    """The middle of (..., H, W)."""
    return shared.middle(pictures, REGION)


def by_all(clean: Tensor) -> Score:
    """An oracle that knows the clean picture (C, H, W)."""
    return lambda pictures: psnr(pictures, clean.expand_as(pictures))


def by_middle(clean: Tensor) -> Score:
    """One that sees only the middle of it."""
    return lambda pictures: psnr(middle(pictures), middle(clean).expand_as(middle(pictures)))


def problem_of(name: str, picture: Tensor, shape: tuple[int, int, int], seed: int) -> Problem:
    """The picture (C, H, W) of the prior's size, degraded."""
    task = Task(name, simulate=True)
    mask = Hole(REGION).fill(*shape[1:], seed) if task.kind.takes_mask else None
    return pose(task, picture, shape, mask=mask, seed=seed)


def steered(first: Steered, problem: Problem, score: Score) -> Iterator[tuple[Steered, int]]:
    """Every preview and which candidate is kept, counted from 0; the last one's is the result."""
    node = first
    while True:
        best = int(score(problem.finished(node.candidates)).argmax())
        yield node, best
        if node.finished:
            return
        node = node.choose(best).advance()


def measured(problem: Problem, natural: Restorer, faithful: Restorer, seed: int) -> dict[str, tuple[float, float]]:
    """PSNR in dB of all and of the middle, by how a picture was made."""
    clean = problem.original
    assert clean is not None  # simulated
    clean = clean.to(getattr(natural.prior, "device", "cpu"))
    both, (whole, part) = problem.measurement, (by_all(clean), by_middle(clean))

    def scores(pictures: Tensor) -> np.ndarray:
        return torch.stack([whole(pictures), part(pictures)], dim=1).double().cpu().numpy()

    found = {}
    first = natural.steer(both, CANDIDATES, allocation=STEPS, seeds=[seed])
    for how, score in (("all", whole), ("its middle", part)):
        *_, (last, best) = steered(first, problem, score)
        found[f"steered by {how}"] = scores(problem.finished(last.candidates))[best]
    node = first
    while not node.finished:
        node = node.advance()
    ends = problem.finished(node.candidates)
    found["four runs, mean"] = scores(ends).mean(axis=0)
    found["four runs, best at the end by all"] = scores(ends)[int(whole(ends).argmax())]
    found["four runs, best at the end by its middle"] = scores(ends)[int(part(ends).argmax())]
    long = natural.restore(both, allocation=LONG, seeds=[seed])
    found["one run of 120"] = scores(problem.finished(long.image))[0]
    single = faithful.restore(both, allocation=STEPS, seeds=[seed])
    found["one faithful run"] = scores(problem.finished(single.image))[0]
    return {name: (float(values[0]), float(values[1])) for name, values in found.items()}


def recorded(path: Path) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """What an earlier run measured, by task and picture."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {
        (line["task"], line["picture"]): {how: (values[0], values[1]) for how, values in line["psnr"].items()}
        for line in lines
    }


COSTS = {"four runs, mean": 30, "one faithful run": 30}
"""Evaluations per picture that is kept; 120 of the others."""


def draw(problem: Problem, natural: Restorer, seed: int, title: str, path: Path) -> None:
    """A contact sheet of one restoration: every preview's candidates, and which was kept."""
    clean = problem.original
    assert clean is not None
    score = by_all(clean.to(getattr(natural.prior, "device", "cpu")))
    rows = []
    for node, best in steered(
        natural.steer(problem.measurement, CANDIDATES, allocation=STEPS, seeds=[seed]), problem, score
    ):
        shown = problem.finished(node.candidates)
        told = [f"{float(one):.2f} dB{' - kept' if i == best else ''}" for i, one in enumerate(score(shown))]
        cells = [Cell(picture.cpu(), caption) for picture, caption in zip(shown, told, strict=True)]
        rows.append((f"{node.run.spent} of\n{node.run.total_nfe}", [Cell(problem.degraded), *cells, Cell(clean)]))
    columns = ("degraded", *(f"candidate {i + 1}" for i in range(CANDIDATES)), "original")
    sheet = contact_sheet(title, columns, rows, side=128)
    atomic_write(path, lambda file: sheet.save(file, "PNG"))


def main(
    data: shared.Data,
    limit: shared.Limit = 2,
    prior: str = "faces-64",
    tasks: Annotated[str, typer.Option(help="Of sr8, inpaint, colorize.")] = ",".join(TASKS),
    device: str = "auto",
    sheet: Annotated[Path | None, typer.Option(help="A PNG of the first picture's steered inpainting.")] = None,
    each: Annotated[bool, typer.Option("--each", help="Tell every picture.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="JSON lines of what was measured; what is there is not measured again.")
    ] = None,
) -> None:
    """Print a table a task, in Markdown."""
    wanted = [name.strip() for name in tasks.split(",")]
    if not set(wanted) <= set(TASKS):
        raise typer.BadParameter(f"must be of {', '.join(TASKS)}: got {tasks}")
    known = load_prior(prior, device)
    natural, faithful = Restorer(known, FIRE.Settings("natural")), Restorer(known, FIRE.Settings("faithful"))
    sources = find(tuple(data))[:limit]
    had = {} if record is None or not record.exists() else recorded(record)
    for i, source in enumerate(sources):  # task by task within a picture: a stopped run has as many of each
        picture = fit_to(images.decode(source.read(), source.name), *known.image_shape[1:], shrink=True)
        seed = derived_seed(i, "steering") % 2**31
        for name in wanted:
            problem = problem_of(name, picture, known.image_shape, seed)
            if (name, source.name) not in had:
                one = measured(problem, natural, faithful, seed)
                had[name, source.name] = one
                if record is not None:
                    with record.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps({"task": name, "picture": source.name, "psnr": one}) + "\n")
            if each:
                told = {how: round(values[0], 2) for how, values in had[name, source.name].items()}
                shared.tell(f"{name}: {source.name}: {told}")
            if sheet is not None and not i and name == "inpaint":
                draw(problem, natural, seed, f"Inpainting, the best of four kept: {prior}", sheet)
    for name in wanted:
        found: dict[str, list[tuple[float, float]]] = {}
        for source in sources:
            for how, pair in had[name, source.name].items():
                found.setdefault(how, []).append(pair)
        base = np.array(found["four runs, mean"])
        rows = []
        for how, values in found.items():
            mean, gain = np.mean(values, axis=0), np.array(values) - base
            error = gain.std(axis=0, ddof=min(1, len(values) - 1)) / len(values) ** 0.5
            gains = (f"{gain[:, j].mean():+.2f} ± {error[j]:.2f}" for j in (0, 1))
            rows.append([how, str(COSTS.get(how, 120)), f"{mean[0]:.2f}", f"{mean[1]:.2f}", *gains])
        head = [TASKS[name], "evaluations", "PSNR ↑ dB", "of its middle", "gain", "of its middle"]
        shared.tell(*markdown(head, rows))
    shared.tell(f"{len(sources)} pictures of {data[0].name}, {prior}, {known.device}, torch {torch.__version__}")


if __name__ == "__main__":
    typer.run(main)
