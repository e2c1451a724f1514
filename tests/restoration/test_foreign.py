"""Checkpoints of other code bases: the same outputs, every published one, and one line for everything else."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "foreign"
STEPS = (7, 850)


@cache
def recorded() -> dict[str, Any]:
    """Names and shapes of checkpoints, made with the original code; ``tiny`` ones with the original's outputs."""
    return json.loads(gzip.decompress((FOLDER / "listings.json.gz").read_bytes()))


@cache
def outputs() -> dict[str, Tensor]:
    return load_file(FOLDER / "outputs.safetensors")


def weights(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, Tensor]:
    """Random weights that no library's version changes: PCG64's raw stream, in the names' order.

    None is what training starts from: what would be zero or one is random too, and attention is not flat.
    """
    stream, made = np.random.PCG64(seed), {}
    for name in sorted(shapes):
        shape = shapes[name]
        raw = np.atleast_1d(stream.random_raw(math.prod(shape)))
        uniform = ((raw >> np.uint64(11)) * 2.0**-52 - 1).reshape(shape)
        if len(shape) == 1:
            values = 1 + 0.5 * uniform if name.endswith("weight") else 0.3 * uniform
        elif name.startswith("label_emb"):
            values = uniform
        else:
            sharp = any(part in name for part in (".qkv.", ".q.", ".k."))
            values = uniform * math.sqrt(3 / math.prod(shape[1:])) * (2 if sharp else 1)
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


def picture(channels: int, size: int) -> Tensor:
    return weights({"x": [channels * size * size, 1]}, seed=1)["x"].reshape(1, channels, size, size)
