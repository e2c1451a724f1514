"""Training by several processes, as ``accelerate launch`` and torchrun start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_train_one_prior(photographs: Path, tmp_path: Path) -> None:
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    ask = ("--size", "16", "--crop", "--batch", "2", "--device", "cpu", "--steps", "2", "-o", "mine")
    done = subprocess.run(
        (*launch, "-m", "restoration.training", str(photographs), *ask),
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert (facts["batch"], facts["images"], facts["finished"]) == (4, 8, True)
    assert done.stderr.count("reading 12 pictures") == 1
