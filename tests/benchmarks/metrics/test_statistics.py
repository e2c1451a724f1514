"""Streamed statistics and samples: what one pass over everything would give, saved, merged and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import Statistics

SPACE = FeatureSpace("test", 12, "random")
FEATURES = torch.randn(100, 12, generator=torch.Generator().manual_seed(0)) + 1000
NAMES = [f"{i:03d}.png" for i in range(100)]


def of(features: torch.Tensor, batch: int = 7) -> Statistics:
    statistics = Statistics(SPACE)
    for part in features.split(batch):
        statistics.update(part)
    return statistics


def test_streamed_moments_are_numpys() -> None:
    statistics, features = of(FEATURES), FEATURES.double().numpy()
    # a mean of 1000 beside a deviation of 1: sums of squares in float64 would keep 1e-10, the pairwise update all
    np.testing.assert_allclose(statistics.mean.numpy(), features.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(statistics.covariance.numpy(), np.cov(features, rowvar=False), rtol=0, atol=1e-13)


def test_shards_merged_in_any_order_are_one_pass() -> None:
    whole = of(FEATURES)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        merged = Statistics(SPACE)
        merged.update(FEATURES[:0])
        for i in order:
            merged.merge(of(FEATURES[i::4], batch=3))
        assert merged.count == 100
        torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-14, atol=0)
        torch.testing.assert_close(merged.scatter, whole.scatter, rtol=0, atol=1e-11)  # of about 100


def test_a_save_and_a_load_in_between_change_no_bit(tmp_path: Path) -> None:
    half = of(FEATURES[:49])
    half.save(tmp_path / "half.safetensors")
    resumed = Statistics.load(tmp_path / "half.safetensors")
    for part in FEATURES[49:].split(7):
        resumed.update(part)
    whole = of(FEATURES)
    assert resumed.space == whole.space
    assert resumed.count == whole.count
    assert resumed.mean.equal(whole.mean)
    assert resumed.scatter.equal(whole.scatter)


def test_other_features_are_neither_merged_nor_taken() -> None:
    with pytest.raises(MetricError, match="other features cannot be merged"):
        of(FEATURES).merge(Statistics(FeatureSpace("test", 12, "other weights")))
    with pytest.raises(ValueError, match=r"features must be \(B, 12\): got \(100, 11\)"):
        Statistics(SPACE).update(FEATURES[:, :11])


def test_too_few_images_and_nan_are_told() -> None:
    with pytest.raises(MetricError, match="2 images or more: these statistics are of 1"):
        _ = of(FEATURES[:1]).covariance
    with pytest.raises(MetricError, match="NaN"):
        _ = of(torch.full((3, 12), torch.nan)).covariance


def test_the_factor_is_of_the_covariance_and_of_its_rank() -> None:
    for features, rank in ((FEATURES, 12), (FEATURES[:5], 4)):
        statistics = of(features)
        factor = statistics.factor()
        assert factor.shape == (12, rank)
        torch.testing.assert_close(factor @ factor.T, statistics.covariance, rtol=0, atol=1e-12)
        statistics.update(FEATURES[50:])
        assert statistics.factor().shape == (12, 12)


@pytest.mark.parametrize("kind", [Statistics, FeatureSample])
def test_files_that_are_no_statistics_are_told_in_one_line(
    tmp_path: Path, kind: type[Statistics] | type[FeatureSample]
) -> None:
    path = tmp_path / "file"
    with pytest.raises(MetricError, match="no such file"):
        kind.load(path)
    path.write_bytes(b"nothing of ours")
    with pytest.raises(MetricError, match="is damaged or no safetensors file"):
        kind.load(path)
    of(FEATURES).save(path) if kind is FeatureSample else FeatureSample(SPACE).save(path)
    with pytest.raises(MetricError, match="is not a file of nested-restoration feature") as told:
        kind.load(path)
    assert "\n" not in str(told.value)


def sample(which: list[int], limit: int = 30, batch: int = 7) -> FeatureSample:
    chosen = FeatureSample(SPACE, limit)
    for i in range(0, len(which), batch):
        part = which[i : i + batch]
        chosen.update(FEATURES[part], [NAMES[j] for j in part])
    return chosen


def test_a_sample_depends_on_names_alone(tmp_path: Path) -> None:
    whole = sample(list(range(100)))
    assert whole.features.shape == (30, 12)
    assert sample(list(range(99, -1, -1)), batch=1).features.equal(whole.features)
    merged = sample(list(range(1, 100, 2)))
    merged.merge(sample(list(range(0, 100, 2))))
    assert merged.features.equal(whole.features)
    assert merged.count == 100
    merged.save(tmp_path / "sample")
    loaded = FeatureSample.load(tmp_path / "sample")
    assert loaded.features.equal(whole.features)
    assert (loaded.count, loaded.limit, loaded.space) == (100, 30, SPACE)
    loaded.update(FEATURES[:10], NAMES[:10])  # seen before
    assert loaded.features.equal(whole.features)


def test_a_small_sample_is_everything_by_name() -> None:
    assert sample(list(range(99, -1, -1)), limit=100).features.equal(FEATURES)


def test_samples_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(MetricError, match="another limit or seed"):
        sample([0]).merge(sample([1], limit=5))
    with pytest.raises(MetricError, match="other features"):
        sample([0]).merge(FeatureSample(FeatureSpace("test", 12, "other"), 30))
    with pytest.raises(ValueError, match=r"features must be \(1, 12\)"):
        FeatureSample(SPACE).update(FEATURES, ["a"])
