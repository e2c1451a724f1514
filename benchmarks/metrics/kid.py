"""The kernel distance between two sets' features."""

from __future__ import annotations

from benchmarks.metrics.distance import Distance
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import require_equal
from benchmarks.metrics.weights import require

MODULE = "torch_fidelity"


def kernel_distance(
    restored: FeatureSample,
    reference: FeatureSample,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Distance:
    """Squared MMD of the kernel (x·y / dim + 1)³, unbiased, mean and spread over subsets (Bińkowski et al., 2018).

    It is computed by torch-fidelity, of the sample's features by name in order, so that of a sample of everything
    it is the number that its command prints. Sets smaller than a subset make the subsets smaller (its command
    refuses). Where there are more images than a sample keeps, the distance is the sample's. float32 is good to
    some 1e-7 where kernels are of order one. It is named after its features: KID on Inception's, KD-… on others.

    Raises:
        MetricError: no torch-fidelity; samples of other features, of fewer than 2 images, or with NaN.
        ValueError: no subsets, or of fewer than 2.
    """
    require_equal(restored.space, reference.space)
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"at least one subset of at least 2 is needed: got {subsets} of {subset_size}")
    require(MODULE)
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    x, y = restored.features, reference.features
    size = min(subset_size, len(x), len(y))
    if size < 2:
        raise MetricError(f"a kernel distance needs 2 images or more: it has {len(x)} and {len(y)}")
    if not (bool(x.isfinite().all()) and bool(y.isfinite().all())):
        raise MetricError("these features hold NaN or infinity: an image or a network gave it")
    told = kid_features_to_metric(x, y, kid_subsets=subsets, kid_subset_size=size, rng_seed=seed, verbose=False)
    mean, spread = told[KEY_METRIC_KID_MEAN], told[KEY_METRIC_KID_STD]
    return Distance(restored.space.kernel_name, mean, restored.count, reference.count, spread)
