"""The Fréchet and the kernel distance against closed forms, and what they say of themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.metrics.distance import Distance
from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.kid import kernel_distance
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import Statistics


def statistics(mean: Tensor, covariance: Tensor, count: int = 5000) -> Statistics:
    found = Statistics(FeatureSpace("test", len(mean), ""))
    found.count, found.mean, found.scatter = count, mean.double(), covariance.double() * (count - 1)
    return found


def seen(features: Tensor, name: str = "test") -> Statistics:
    found = Statistics(FeatureSpace(name, features.shape[1], ""))
    found.update(features)
    return found


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_covariances_that_commute_have_a_closed_form() -> None:
    basis = torch.linalg.qr(random(40, 40)).Q
    a, b = torch.logspace(0, -6, 40, dtype=torch.float64), torch.linspace(0.1, 2, 40, dtype=torch.float64)
    shift = random(40, seed=1)
    found = frechet_distance(
        statistics(shift, basis @ a.diag() @ basis.T), statistics(torch.zeros(40), basis @ b.diag() @ basis.T)
    )
    expected = shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    # singular values to a few roundings; the smallest eigenvalues, 1e-6, to 1e-10 of themselves
    assert found.value == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("count", [300, 20])
def test_equal_statistics_are_at_distance_zero_also_with_fewer_images_than_features(count: int) -> None:
    features = random(count, 64) * torch.logspace(0, -5, 64, dtype=torch.float64) + 10
    found = frechet_distance(seen(features), seen(features.clone()))
    assert abs(found.value) < 1e-12 * float(seen(features).covariance.trace())


def test_rank_deficient_sets_are_as_far_apart_as_where_they_live() -> None:
    x, y = random(20, 8), random(25, 8, seed=1) * 2 + 1
    basis = torch.linalg.qr(random(100, 100, seed=2)).Q[:, :8]
    low, high = frechet_distance(seen(x), seen(y)), frechet_distance(seen(x @ basis.T), seen(y @ basis.T))
    assert high.value == pytest.approx(low.value, rel=1e-12)
    nothing = frechet_distance(seen(torch.ones(5, 8)), seen(torch.ones(5, 8)))
    assert nothing.value == 0


def test_a_distance_carries_its_name_and_whether_to_believe_it() -> None:
    few = frechet_distance(seen(random(10, 4), "prior"), seen(random(3000, 4), "prior"))
    assert few.name == "FD-prior"
    assert not few.reliable
    assert str(few).endswith("(unreliable: 10 images, fewer than 2,048)")
    many = seen(random(2048, 4), "inception")
    found = frechet_distance(many, many)
    assert found.name == "FID"
    assert found.reliable
    assert "unreliable" not in str(found)
    assert str(Distance("KID", 0.0123, 4000, 4000, 0.001)) == "KID 0.0123 ± 0.001"
    assert FeatureSpace("inception-64", 64, "").frechet_name == "FD-inception-64"
    assert FeatureSpace("prior", 4, "").kernel_name == "KD-prior"


def test_statistics_of_other_features_are_not_compared() -> None:
    with pytest.raises(MetricError, match="other features"):
        frechet_distance(seen(random(10, 4), "prior"), seen(random(10, 4), "inception"))
    with pytest.raises(MetricError, match="of 1"):
        frechet_distance(seen(random(10, 4)), seen(random(1, 4)))


def sample(features: Tensor, name: str = "test") -> FeatureSample:
    found = FeatureSample(FeatureSpace(name, features.shape[1], ""))
    found.update(features, [f"{i:05d}" for i in range(len(features))])
    return found


def test_the_kernel_distance_is_the_mmd_summed_by_hand() -> None:
    x, y = random(5, 3).float(), random(5, 3, seed=1).float()

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    within = sum(kernel(z[i], z[j]) for z in (x, y) for i in range(5) for j in range(5) if i != j) / 20
    expected = within - 2 * sum(kernel(a, b) for a in x for b in y) / 25
    found = kernel_distance(sample(x), sample(y), subsets=3)  # a subset of all five is all five
    assert found.value == pytest.approx(expected, abs=1e-5)  # kernels reach 20, and float32 keeps 1e-7 of that
    assert found.spread == pytest.approx(0, abs=1e-5)
    assert found.name == "KD-test"


def test_the_kernel_distance_is_unbiased_where_the_distributions_are_one() -> None:
    found = kernel_distance(sample(random(1000, 8)), sample(random(1000, 8, seed=1)), subsets=50, subset_size=100)
    assert found.spread is not None
    assert abs(found.value) < 4 * found.spread / math.sqrt(10)  # ten disjoint subsets are independent
    far = [
        kernel_distance(sample(random(1000, 8)), sample(random(1000, 8) + 1), subsets=9, subset_size=100)
        for _ in range(2)
    ]
    assert far[0].value > 10 * found.spread
    assert far[0] == far[1]


def test_kernel_distances_that_mean_nothing_are_refused() -> None:
    with pytest.raises(MetricError, match="2 images or more: it has 1 and 9"):
        kernel_distance(sample(random(1, 4)), sample(random(9, 4)))
    with pytest.raises(MetricError, match="NaN"):
        kernel_distance(sample(torch.full((4, 4), torch.nan)), sample(random(9, 4)))
    with pytest.raises(ValueError, match="got 0 of 1000"):
        kernel_distance(sample(random(9, 4)), sample(random(9, 4)), subsets=0)


def test_the_kernel_distance_is_torch_fidelitys(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = random(300, 8).float(), random(250, 8, seed=1).float()
    wanted = kid_features_to_metric(
        x, y, kid_subsets=7, kid_subset_size=100, rng_seed=2020, verbose=False, kid_kernel="poly",
        kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1,
    )  # fmt: skip
    found = kernel_distance(sample(x), sample(y), subsets=7, subset_size=100)
    assert (found.value, found.spread) == tuple(wanted.values())
    monkeypatch.setattr("benchmarks.metrics.weights.find_spec", lambda module: None)
    with pytest.raises(MetricError, match=r"torch_fidelity is not installed: pip install"):
        kernel_distance(sample(x), sample(y))
