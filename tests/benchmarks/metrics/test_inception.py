"""FID and KID on random Inception weights: torch-fidelity's own numbers from the same folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.inception import InceptionFeatures
from benchmarks.metrics.kid import kernel_distance
from benchmarks.metrics.sample import Sample
from benchmarks.metrics.statistics import Statistics
from restoration import images

fidelity = pytest.importorskip("torch_fidelity", reason="the extra 'bench' is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in torch-fidelity's format with He's random weights, which keep activations of order one."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Bare(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, *args: object, **options: object) -> None:
            """Keep what the layers were made with."""

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Bare("random", ["2048"], feature_extractor_weights_path=path)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
    torch.save(network.state_dict(), path)
    return path


def folder(path: Path, pictures: Tensor) -> str:
    path.mkdir()
    for i, picture in enumerate(pictures):
        images.save(path / f"{i:03d}.png", picture, {})
    return str(path)


def sets(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    originals = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    return originals + 0.3 * torch.randn(originals.shape, generator=generator), originals


def theirs(tmp_path: Path, weights: Path, ours: Tensor, originals: Tensor, layer: str, **wanted: object) -> object:
    return fidelity.calculate_metrics(
        input1=folder(tmp_path / "restored", ours),
        input2=folder(tmp_path / "original", originals),
        feature_extractor_weights_path=str(weights),
        feature_layer_fid=layer,
        feature_layer_kid=layer,
        cuda=False,
        cache=False,
        batch_size=8,
        verbose=False,
        **wanted,
    )


@pytest.mark.filterwarnings("ignore")  # torch-fidelity's own
def test_fid_is_torch_fidelitys(tmp_path: Path, weights: Path) -> None:
    # 80 images and the 64 features of the first layers: its eigenvalues are good to rounding where the product
    # of covariances has full rank; a subset as large as the set, so that KID is of all images
    restored, originals = sets(80)
    expected = theirs(tmp_path, weights, restored, originals, "64", fid=True)
    features = InceptionFeatures(weights, layer="64")
    found = [Statistics(features.space) for _ in range(2)]
    for statistics, pictures in zip(found, (restored, originals), strict=True):
        for batch in pictures.split(8):
            statistics.update(features(batch))
    distance = frechet_distance(*found)
    assert distance.name == "FD-inception-64"
    assert distance.value == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # torch-fidelity's own
def test_kid_is_torch_fidelitys(tmp_path: Path, weights: Path) -> None:
    restored, originals = sets(12)
    expected = theirs(tmp_path, weights, restored, originals, "2048", kid=True, kid_subset_size=8, kid_subsets=10)
    features = InceptionFeatures(weights)
    found = [Sample(features.space) for _ in range(2)]
    for chosen, pictures in zip(found, (restored, originals), strict=True):
        for i in range(0, 12, 8):
            part = pictures[i : i + 8]
            chosen.update(features(part), [f"{i + j:03d}" for j in range(len(part))])
    distance = kernel_distance(*found, subsets=10, subset_size=8)
    assert distance.name == "KID"
    assert distance.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert distance.spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-5)


def test_grey_images_are_rgb_of_three_equal_channels(weights: Path) -> None:
    features = InceptionFeatures(weights, layer="64")
    grey = sets(2)[1][:, :1]
    assert features(grey).equal(features(grey.expand(-1, 3, -1, -1)))
    assert features(grey).shape == (2, 64)
    with pytest.raises(ValueError, match="must be floats"):
        features((grey * 255).byte())


def test_other_files_are_refused_in_one_line_and_never_run(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(MetricError, match="not torch-fidelity's Inception weights") as told:
        InceptionFeatures(path)
    assert "\n" not in str(told.value)
    torch.save({"code": Path}, path)
    with pytest.raises(MetricError, match="holds code"):
        InceptionFeatures(path)
    with pytest.raises(ValueError, match="layer must be one of"):
        InceptionFeatures(path, layer="128")
