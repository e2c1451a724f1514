"""The paper's configuration gives the pictures that it always gave: bit for bit on the machine that recorded them.

``python tests/restoration/test_recorded_results.py`` records. With the weights shipped before, this code gave, bit
for bit, what was recorded before the solvers stopped calling the network themselves; then weights were replaced,
and what they give was recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.commands.demo import TASKS as DEMO
from benchmarks.commands.demo import face
from restoration.priors import load_prior
from restoration.restorer import Preview, Restorer
from restoration.tasks import Task, pose

HASHES = Path(__file__).parent / "recorded" / "results.json"
TENSORS = HASHES.with_suffix(".safetensors")
COMMAND = {
    "denoise": Task("denoise", sigma=0.1, simulate=True, fit=True),
    "sr4": Task("sr4", simulate=True, fit=True),
    "colorize": Task("colorize", sigma=0.05, simulate=True, fit=True),
    "inpaint": Task("inpaint", simulate=True, fit=True),
}


def machine() -> dict[str, str]:
    """What decides the last bit of a convolution."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = "".join(sorted(names)) or platform.processor()
    kernels = f"{capability}, MKL_CBWR {os.environ.get('MKL_CBWR')}"
    return {"cpu": cpu, "kernels": kernels, "torch": torch.__version__}


def results() -> Iterator[tuple[str, Tensor]]:
    """Every completed preview of ``make demo``, nested and plain, and of ``restore --seed 7`` on four tasks."""
    restorer = Restorer(load_prior("faces-64", "cpu"), "ddrm")
    for kind, tasks, seed in (("demo", DEMO, 0), ("command", COMMAND, 7)):
        for name, task in tasks.items():
            problem = pose(task, face(), restorer.prior.image_shape, seed=seed)
            for vanilla in (False, True):
                found: list[Preview] = []

                def watch(preview: Preview, found: list[Preview] = found) -> None:
                    if preview.complete:
                        found.append(preview)

                restorer.restore(problem.measurement, seeds=[seed], watch=watch, vanilla=vanilla)
                way = "plain" if vanilla else "nested"
                for preview in found:
                    yield f"{kind} {name.split()[0]} {way} {preview.nfe}", preview.image[0]


def sha256(image: Tensor) -> str:
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()


def test_results_are_those_recorded(one_thread: None) -> None:
    recorded = json.loads(HASHES.read_text())
    found = dict(results())
    assert list(found) == list(recorded["sha256"])
    if machine() == recorded["machine"]:
        assert {name: sha256(image) for name, image in found.items()} == recorded["sha256"]
    ends = load_file(TENSORS)
    for name, end in ends.items():
        # other kernels round differently, by 1e-6 of a value an evaluation; a wrong coefficient shows as 1e-2
        difference = float((found[name] - end).abs().max())
        assert difference < 2e-3, f"{name}: {difference}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    images = dict(results())
    told = {"machine": machine(), "sha256": {name: sha256(image) for name, image in images.items()}}
    HASHES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    save_file({name: image.contiguous() for name, image in images.items() if name.endswith(" 30")}, TENSORS)
