"""A small results folder without a prior, and a hostile one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.engine.chunk import ORIGINAL, Chunk
from benchmarks.engine.results import Results

HOSTILE = "\"><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>.png"
CONFIG: dict[str, Any] = {
    "command": "table2",
    "data": ["faces tar"],
    "fit": True,
    "batch": 2,
    "prior": "faces-64",
    "prior fingerprint": "0123abcd v_prediction torch.bfloat16 None",
    "image shape": [3, 8, 8],
    "eta": 0.85,
    "eta_b": 1.0,
    "runs": [
        ["nested 3x10", [10, 10, 10], [10, 20, 30], ["returned"]],
        ["plain 30", [30], [10, 20, 30], ["returned", "drawn"]],
    ],
    "features": {"name": "prior", "dim": 3, "detail": "of a test"},
    "lpips": False,
    "device": "cpu",
    "torch": "2.0",
    "nested-restoration": "0.1.0",
}


@pytest.fixture
def hostile() -> str:
    """A file name that would be markup."""
    return HOSTILE


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a results folder of two chunks; what is named beside pictures and task is its configuration."""

    def make(names: tuple[str, ...] = ("a.png", "b.png"), task: str = "sr16", **config: Any) -> Path:
        config = CONFIG | config
        path = tmp_path / "results"
        results = Results(path, config)
        generator = torch.Generator().manual_seed(0)
        for index in range(2):
            # the second chunk has other pictures, and one that could not be read
            own = list(names) if index == 0 else ["c.png", "broken.png"]
            chunk = Chunk(own, hardware="a <test> machine", seconds={"nested 3x10": 1.5, "plain 30": 1.25})
            if index == 1:
                chunk.failed["broken.png"] = "broken.png: is <b>no</b> picture"
            read = [name for name in own if name not in chunk.failed]
            clean = torch.randint(0, 256, (len(read), 3, 8, 8), dtype=torch.uint8, generator=generator)
            chunk.features[ORIGINAL] = torch.randn(len(read), 3, generator=generator)
            if index == 0:
                chunk.pictures |= {ORIGINAL: clean, "degraded": clean // 2}
            for run, _, points, kinds in config["runs"]:
                for nfe in points:
                    for kind in kinds:
                        key = f"{run}|{kind}|{nfe}"
                        strength = 12 if run.startswith("nested") else 45 - nfe
                        noise = torch.randint(
                            -strength, strength + 1, clean.shape, dtype=torch.int16, generator=generator
                        )
                        restored = (clean + noise).clamp(0, 255).byte()
                        chunk.features[key] = chunk.features[ORIGINAL] + strength / 10
                        if index == 0:
                            chunk.pictures[key] = restored
                        error = ((restored / 255 - clean / 255) ** 2).double().mean(dim=(1, 2, 3))
                        for name, mse in zip(read, error.tolist(), strict=True):
                            told = {"psnr": -10 * float(torch.tensor(mse).log10()), "sharpness": 10.0 + nfe}
                            chunk.rows.append({"image": name, "run": run, "kind": kind, "nfe": nfe, **told})
            results.write(task, index, chunk)
        return path

    return make
