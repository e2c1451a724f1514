"""The Fréchet distance between two sets' features taken for Gaussians."""

from __future__ import annotations

import torch

from benchmarks.metrics.distance import Distance
from benchmarks.metrics.statistics import Statistics, require_equal


def frechet_distance(restored: Statistics, reference: Statistics) -> Distance:
    """‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½, in float64 (Dowson and Landau, 1982; Heusel et al., 2017).

    With Σ = L Lᵀ the last trace is the sum of the singular values of L₁ᵀ L₂: real without a matrix root, never
    squared, and defined for fewer images than features, where the usual root of a singular product is noise.
    Equal statistics give 0 to about 1e-13 of the traces. At 2048 features and full rank it takes 10 s on a CPU
    core, and the reference's factor (3 s of it) is kept.

    It is named after its features: FID on Inception's, FD-… on any others.

    Raises:
        MetricError: statistics of other features, of fewer than 2 images, or with NaN.
    """
    require_equal(restored.space, reference.space)
    device = reference.mean.device
    ours, theirs = restored.covariance.to(device), reference.covariance
    shared = torch.linalg.svdvals(restored.factor().to(device).T @ reference.factor()).sum()
    shift = (restored.mean.to(device) - reference.mean).square().sum()
    value = shift + ours.trace() + theirs.trace() - 2 * shared
    return Distance(restored.space.frechet_name, float(value), restored.count, reference.count)
