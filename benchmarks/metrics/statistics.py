"""Mean and covariance of features, streamed: nothing holds the images or their features."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import FeatureSpace
from nested.files import atomic_write

FORMAT = "nested-restoration feature statistics 1"


class Statistics:
    """Count, mean and scatter Σ (f − mean)(f − mean)ᵀ of feature vectors, in float64.

    A batch is added, and another's statistics are merged, by the pairwise update of Chan, Golub and LeVeque
    (1983), which does not subtract large sums. Statistics of shards merged in any order equal those of one pass
    to rounding; the same batches in the same order, a save and a load between them or not, give the same bits.

    Args:
        space: whose features come.
        device: where they are summed up; a batch from elsewhere is brought there.
    """

    def __init__(self, space: FeatureSpace, device: torch.device | str = "cpu") -> None:
        self.space = space
        self.count = 0
        self.mean = torch.zeros(space.dim, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(space.dim, space.dim, dtype=torch.float64, device=device)
        self._factor: Tensor | None = None

    def update(self, features: Tensor) -> None:
        """Add a batch (B, dim), B ≥ 0; ValueError for another shape."""
        if features.ndim != 2 or features.shape[1] != self.space.dim:
            raise ValueError(f"features must be (B, {self.space.dim}): got {tuple(features.shape)}")
        if len(features):
            features = features.detach().to(self.mean.device, torch.float64)
            mean = features.mean(dim=0)
            centred = features - mean
            self._add(len(features), mean, centred.T @ centred)

    def merge(self, other: Statistics) -> None:
        """Add what another has seen; MetricError where it saw other features."""
        require_equal(self.space, other.space)
        if other.count:
            device = self.mean.device
            self._add(other.count, other.mean.to(device), other.scatter.to(device))

    def _add(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.scatter = self.scatter + scatter + torch.outer(delta, delta) * (self.count * count / total)
        self.count = total
        self._factor = None

    @property
    def covariance(self) -> Tensor:
        """(dim, dim) float64, over count − 1 as ``numpy.cov``; MetricError for fewer than 2 images, or NaN."""
        if self.count < 2:
            raise MetricError(f"a covariance needs 2 images or more: these statistics are of {self.count}")
        if not bool(self.mean.isfinite().all() & self.scatter.isfinite().all()):
            raise MetricError("these statistics hold NaN or infinity: an image or a network gave it")
        return self.scatter / (self.count - 1)

    def factor(self) -> Tensor:
        """L (dim, r) with L Lᵀ the covariance and r its numerical rank; kept until the statistics change."""
        if self._factor is None:
            values, vectors = torch.linalg.eigh(self.covariance)
            floor = values[-1] * len(values) * torch.finfo(torch.float64).eps
            kept = values > floor.clamp(min=0)
            self._factor = vectors[:, kept] * values[kept].sqrt()
        return self._factor

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all; OSError as it comes."""
        tensors = {"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter}
        told = {"format": FORMAT, "space": json.dumps(asdict(self.space), sort_keys=True)}
        content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, told)
        atomic_write(path, lambda file: file.write(content))

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Statistics:
        """Read what ``save`` wrote; MetricError, one line, for anything else."""
        space, tensors, _ = read_tensors(path, FORMAT, str(device))
        statistics = cls(space, device)
        shapes = {"count": (), "mean": (space.dim,), "scatter": (space.dim, space.dim)}
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes:
            raise MetricError(f"{path}: is damaged: its tensors are not those of {space.dim} features")
        statistics.count = int(tensors["count"])
        statistics.mean, statistics.scatter = tensors["mean"].double(), tensors["scatter"].double()
        return statistics


def require_equal(ours: FeatureSpace, theirs: FeatureSpace) -> None:
    """MetricError where two feature spaces are not the same."""
    if ours != theirs:
        raise MetricError(f"statistics of other features cannot be merged or compared: {ours} and {theirs}")


def read_tensors(
    path: Path, form: str, device: str = "cpu"
) -> tuple[FeatureSpace, dict[str, Tensor], dict[str, str]]:
    """Space, tensors and metadata of a safetensors file in one of our formats; MetricError for any other."""
    if not path.is_file():
        raise MetricError(f"{path}: no such file")
    try:
        with safe_open(path, "pt", device=device) as file:
            told = file.metadata() or {}
            if told.get("format") != form:
                raise MetricError(f"{path}: is not a file of {form.removesuffix(' 1')}")
            space = FeatureSpace(**json.loads(told["space"]))
            return space, {name: file.get_tensor(name) for name in file.keys()}, told  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "is damaged or no safetensors file"
        raise MetricError(f"{path}: {why}") from None
