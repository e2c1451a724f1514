"""A bounded random sample of features, for metrics that need the vectors themselves."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.statistics import read_tensors, require_equal
from nested.files import atomic_write

FORMAT = "nested-restoration feature sample 1"
LIMIT = 5000


class FeatureSample:
    """The features of at most ``limit`` images, chosen uniformly: those whose names hash lowest.

    Which images they are depends on their names and the seed alone: not on order, shards, or how often one
    comes. The restored and the original of one name are kept together. 5,000 of Inception's take 41 MB, where
    30,000 would take 246 MB for each column of a table; nothing is held back while there are no more than
    ``limit``.

    Args:
        space: whose features come.
        limit: how many are kept.
        seed: of the choice.
    """

    def __init__(self, space: FeatureSpace, limit: int = LIMIT, seed: int = 0) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1: got {limit}")
        self.space, self.limit, self.seed = space, limit, seed
        self.count = 0
        self._rows: dict[str, Tensor] = {}
        self._worst: list[tuple[int, str]] = []  # a heap: highest hash first

    def update(self, features: Tensor, names: Sequence[str]) -> None:
        """Add a batch (B, dim) of named images; ValueError for another shape or number of names."""
        if features.shape != (len(names), self.space.dim):
            raise ValueError(f"features must be ({len(names)}, {self.space.dim}): got {tuple(features.shape)}")
        self.count += len(names)
        for name, row in zip(names, features.detach().float().cpu(), strict=True):
            self._keep(name, row)

    def merge(self, other: FeatureSample) -> None:
        """Add another's; MetricError where it saw other features, or chose otherwise."""
        require_equal(self.space, other.space)
        if (self.limit, self.seed) != (other.limit, other.seed):
            raise MetricError("samples of another limit or seed cannot be merged")
        self.count += other.count
        for name, row in other._rows.items():
            self._keep(name, row)

    def _keep(self, name: str, row: Tensor) -> None:
        if name not in self._rows:
            digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
            entry = (-int.from_bytes(digest[:8], "big"), name)
            if len(self._rows) < self.limit:
                heapq.heappush(self._worst, entry)
            else:
                out = heapq.heappushpop(self._worst, entry)[1]
                if out == name:
                    return
                del self._rows[out]
        self._rows[name] = row.clone()  # a view would keep its whole batch

    @property
    def features(self) -> Tensor:
        """(n, dim) float32 on the CPU, by name in order."""
        rows = [self._rows[name] for name in sorted(self._rows)]
        return torch.stack(rows) if rows else torch.zeros(0, self.space.dim)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; OSError as it comes."""
        told = {
            "format": FORMAT,
            "space": json.dumps(asdict(self.space), sort_keys=True),
            "names": json.dumps(sorted(self._rows)),
        }
        numbers = torch.tensor([self.limit, self.seed, self.count])
        content = save({"features": self.features, "limit_seed_count": numbers}, told)
        atomic_write(path, lambda file: file.write(content))

    @classmethod
    def load(cls, path: Path) -> FeatureSample:
        """Read what ``save`` wrote; MetricError, one line, for anything else."""
        space, tensors, told = read_tensors(path, FORMAT)
        try:
            limit, seed, count = tensors["limit_seed_count"].tolist()
            sample = cls(space, limit, seed)
            sample.update(tensors["features"], json.loads(told["names"]))
        except (KeyError, ValueError):
            raise MetricError(f"{path}: is damaged") from None
        sample.count = count
        return sample
