"""Send damaged and hostile requests to the service, and see that none is its error.

``python -m benchmarks.studies.hostile_uploads`` sends 500 pictures and masks of the fuzz study's corpus, damaged
as there, and exits 1 where an answer is a 5xx, is no problem in one sentence, tells a path of the server, takes
more than 30 s, or where a sound picture cannot be restored afterwards. Seed and number decide every case.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from starlette.testclient import TestClient

from benchmarks.studies.fuzz import Case, prepare
from benchmarks.studies.fuzz_corpus import sound_files, tiny_prior
from restoration.priors.formats.convert import save_folder
from restoration.service.app import create_app
from restoration.service.decoding import Decoder
from restoration.service.jobs import Jobs, Limits
from restoration.service.pool import Pool
from restoration.service.security import Access
from restoration.service.store import Store

SECONDS = 30.0
TASKS = ("denoise", "sr2", "colorize", "jpeg", "demosaic", "deblur", "inpaint", "colorize+inpaint")
OPTIONS: dict[str, dict[str, Any]] = {
    "denoise": {"sigma": "auto"},
    "demosaic": {"pattern": "RGGB"},
    "deblur": {"kernel": "gaussian:1"},
}


@contextmanager
def serving(folder: Path, decoder: Decoder | None = None) -> Iterator[TestClient]:
    """A client of a server in this process, with a small network.

    Args:
        folder: for its prior and its store.
        decoder: one that is running; None starts one.
    """
    save_folder(tiny_prior(), folder / "tiny")
    pool, store = Pool([str(folder / "tiny")], batch=8), Store(folder / "store")
    jobs = Jobs(store, pool, Limits(runs=1000, per_client=1000, keep_s=60), decoder)
    client = TestClient(create_app(jobs, Access()), "http://localhost", raise_server_exceptions=False)
    with client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        yield client


def send(client: TestClient, number: int, seed: int, corpus: Path, place: Path) -> tuple[int, str]:
    """Send one case; the answer's status, and what is wrong with it, if anything."""
    draw = random.Random(f"{seed} upload {number}")
    task = draw.choice(TASKS)
    image = prepare(Case("picture", number, seed), corpus, place)
    files = {"image": (image.name, _content(image))}
    if "inpaint" in task:
        (mask_place := place / "mask").mkdir()
        files["mask"] = ("mask", _content(prepare(Case("mask", number, seed), corpus, mask_place)))
    data = {"task": task, "outer": 1, "inner": 1, "resize_mask": "inpaint" in task, **OPTIONS.get(task, {})}
    began = time.monotonic()
    answer = client.post("/v1/restorations", files=files, data={name: str(value) for name, value in data.items()})
    status, took = answer.status_code, time.monotonic() - began
    if status == 202:
        client.delete(answer.headers["location"])
        return status, ""
    wrong = "a server's error" if status >= 500 else ""
    told = answer.json()
    if not (isinstance(told.get("detail"), str) and told["detail"] and "\n" not in told["detail"]):
        wrong = wrong or "no sentence"
    if str(place) in answer.text or "/store/" in answer.text:
        wrong = wrong or "tells a path of the server"
    return status, wrong or (f"took {took:.0f} s" if took > SECONDS else "")


def _content(file: Path) -> bytes:
    """What is sent of a file; nothing where damage made it a folder, a pipe or a dead link."""
    return file.read_bytes() if file.is_file() else b""


def run(
    client: TestClient, total: int, seed: int, watch: Callable[[str], object]
) -> tuple[Counter[int], list[str]]:
    """Send so many cases; how often each status came, and what was wrong."""
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        sound_files(Path(folder) / "corpus", ["picture", "mask"])
        for number in range(total):
            (place := Path(folder) / f"case-{number}").mkdir()
            status, why = send(client, number, seed, Path(folder) / "corpus", place)
            statuses[status] += 1
            shutil.rmtree(place)
            if why:
                wrong.append(f"{number}: {status}, {why}")
                watch(wrong[-1])
        sound = (Path(folder) / "corpus" / "picture" / "a.png").read_bytes()
        answer = client.post("/v1/restorations?task=sr2&inner=1&wait=60", files={"image": ("a.png", sound)})
        if answer.status_code != 200:
            wrong.append(f"a sound picture afterwards: {answer.status_code} {answer.text[:200]}")
    return statuses, wrong


def main(
    total: Annotated[int, typer.Option("--cases", min=1, help="How many.")] = 500,
    seed: Annotated[int, typer.Option(help="Of all damage.")] = 0,
) -> None:
    """Send damaged and hostile requests to the service, and see that none is its error."""
    torch.set_num_threads(1)
    console, began = Console(soft_wrap=True, highlight=False), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as client:
        statuses, wrong = run(client, total, seed, lambda said: console.print(said, markup=False))
    told = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    console.print(f"{total} uploads in {time.monotonic() - began:.0f} s: {told}; wrong: {len(wrong)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
