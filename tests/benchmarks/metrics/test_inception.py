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
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import Statistics
from restoration.pictures import images

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


@pytest.mark.filterwarnings("ignore")  # torch-fidelity's own
def test_the_distances_are_torch_fidelitys_on_the_same_folders(tmp_path: Path, weights: Path) -> None:
    # FID's formula at 64 features: at 2048 torch-fidelity takes half a minute for its eigenvalues. Done by hand on
    # 16 images the two were 2e-7 apart, the noise of its root of a singular product.
    count, batch = 6, 4
    restored, originals = sets(count)
    expected = fidelity.calculate_metrics(
        input1=folder(tmp_path / "restored", restored),
        input2=folder(tmp_path / "original", originals),
        feature_extractor_weights_path=str(weights),
        fid=True,
        feature_layer_fid="64",
        kid=True,
        kid_subsets=10,
        kid_subset_size=4,
        batch_size=batch,
        cuda=False,
        cache=False,
        verbose=False,
    )
    early, last = InceptionFeatures(weights, layer="64"), InceptionFeatures(weights)
    names = [f"{i:03d}" for i in range(count)]
    statistics, samples = [], []
    for pictures in (restored, originals):
        statistics.append(Statistics(early.space))
        samples.append(FeatureSample(last.space))
        for i in range(0, count, batch):
            statistics[-1].update(early(pictures[i : i + batch]))
            samples[-1].update(last(pictures[i : i + batch]), names[i : i + batch])
    frechet = frechet_distance(*statistics)
    assert frechet.name == "FD-inception-64"
    assert frechet.value == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)
    kernel = kernel_distance(*samples, subsets=10, subset_size=4)
    assert kernel.name == "KID"
    assert last.space.frechet_name == "FID"
    assert kernel.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert kernel.spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-6)


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
