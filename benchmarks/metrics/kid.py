"""The kernel distance between two sets' features."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.metrics.distance import Distance
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import require_equal

_Points: TypeAlias = npt.NDArray[np.float32]


def kernel_distance(
    restored: FeatureSample,
    reference: FeatureSample,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Distance:
    """Squared MMD of the kernel (x·y / dim + 1)³, unbiased, mean and spread over subsets (Bińkowski et al., 2018).

    Subsets are drawn as torch-fidelity draws them, from the sample's features by name in order, so that with a
    sample of everything and its 100 subsets of 1,000 the number is torch-fidelity's. Sets smaller than a subset
    make the subsets smaller (torch-fidelity refuses). Where there are more images than a sample keeps, the
    distance is the sample's. It is computed in float32 as there, which is good to some 1e-7 where
    kernels are of order one. It is named after its features: KID on Inception's, KD-… on any others.

    Raises:
        MetricError: samples of other features, of fewer than 2 images, or with NaN.
        ValueError: no subsets, or of fewer than 2.
    """
    require_equal(restored.space, reference.space)
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"at least one subset of at least 2 is needed: got {subsets} of {subset_size}")
    x, y = restored.features.numpy(), reference.features.numpy()
    size = min(subset_size, len(x), len(y))
    if size < 2:
        raise MetricError(f"a kernel distance needs 2 images or more: it has {len(x)} and {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MetricError("these features hold NaN or infinity: an image or a network gave it")
    random = np.random.RandomState(seed)  # torch-fidelity's generator
    values = [
        _mmd(x[random.choice(len(x), size, replace=False)], y[random.choice(len(y), size, replace=False)])
        for _ in range(subsets)
    ]
    mean, spread = float(np.mean(values)), float(np.std(values))
    return Distance(restored.space.kernel_name, mean, restored.count, reference.count, spread)


def _mmd(x: _Points, y: _Points) -> float:
    """Unbiased within each set (no image with itself), over all pairs between them; x and y are (m, dim)."""
    m = len(x)
    within = [(kernel.sum(axis=1) - kernel.diagonal()).sum() for kernel in (_kernel(x, x), _kernel(y, y))]
    return float((within[0] + within[1]) / (m * (m - 1)) - 2 * _kernel(x, y).sum(axis=0).sum() / (m * m))


def _kernel(x: _Points, y: _Points) -> _Points:
    kernel: _Points = (x @ y.T * (1.0 / x.shape[1]) + 1) ** 3
    return kernel
