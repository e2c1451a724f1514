"""PSNR, SSIM and LPIPS: per image, clamped, and what the field computes."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.metrics.errors import MetricError
from benchmarks.metrics.lpips import LPIPS
from benchmarks.metrics.pixels import to_uint8
from benchmarks.metrics.psnr import psnr
from benchmarks.metrics.ssim import ssim
from restoration.pictures import images
from restoration.pictures.scores import scores_of

lpips = pytest.importorskip("lpips", reason="the extra 'bench' is not installed")
models = pytest.importorskip("torchvision").models


def pair(size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(3, 3, size, size, generator=generator)
    noise = torch.randn(original.shape, generator=generator)
    return original + noise * torch.tensor([0.01, 0.1, 0.5]).reshape(3, 1, 1, 1), original


def test_psnr_is_each_images_own_on_clamped_floats() -> None:
    original = torch.zeros(3, 1, 4, 4)
    restored = torch.stack([torch.full((1, 4, 4), level) for level in (0.1, 1.5, 0.0)])
    found = psnr(restored, original)
    assert found.dtype == torch.float64
    # 0.1 is not exact in float32: 4e-9 of it, 3e-8 dB
    assert found.tolist() == pytest.approx([20, 0, 100], abs=1e-6)


def test_psnr_and_ssim_are_those_that_the_restore_command_tells() -> None:
    restored, original = pair()
    for i in range(3):
        told = scores_of(original[i], restored[i].clamp(0, 1))
        # it rounds them to 4 and 5 digits
        assert psnr(restored, original)[i].item() == pytest.approx(told["psnr"], abs=6e-5)
        assert ssim(restored, original)[i].item() == pytest.approx(told["ssim"], abs=6e-6)


def test_ssim_is_one_for_equal_images_and_falls_with_noise() -> None:
    restored, original = pair()
    assert ssim(original, original).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    falling = ssim(restored, original).tolist()
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < 1
    with pytest.raises(ValueError, match=r"11×11 or more: got \(3, 3, 8, 8\)"):
        ssim(original[:, :, :8, :8], original[:, :, :8, :8])


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_what_are_no_pairs_of_images_is_refused(metric: object) -> None:
    image = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"one shape: got \(2, 3, 16, 16\) and \(1, 3, 16, 16\)"):
        metric(image, image[:1])  # type: ignore[operator]
    with pytest.raises(ValueError, match="must be floats"):
        metric(image.byte(), image)  # type: ignore[operator]
    with pytest.raises(ValueError, match="C = 1 or 3"):
        metric(image[:, :2], image[:, :2])  # type: ignore[operator]


def test_levels_are_those_of_a_saved_file(tmp_path: Path) -> None:
    image = torch.linspace(-0.1, 1.1, 3 * 40 * 40).reshape(1, 3, 40, 40)
    image[0, 0, 0, :3] = torch.tensor([0.5, 1.5, 2.5]) / 255  # halves, where roundings differ
    images.save(tmp_path / "a.png", image[0], {})
    assert (images.load(tmp_path / "a.png") * 255).round().byte().equal(to_uint8(image)[0])


@pytest.fixture
def alexnet(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = models.alexnet(weights=None).features.state_dict()
    path = tmp_path / "alexnet.pth"
    torch.save({f"features.{name}": tensor for name, tensor in tensors.items()}, path)
    return path


def test_lpips_is_the_librarys_on_the_scale_of_minus_one_to_one(alexnet: Path) -> None:
    restored, original = pair(64)
    before = torch.random.get_rng_state()
    found = LPIPS(alexnet)(restored, original)
    assert torch.random.get_rng_state().equal(before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    tensors = torch.load(alexnet, weights_only=True)
    for part in (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5):
        own = part.state_dict()
        part.load_state_dict({name: tensors[f"features.{name}"] for name in own})
    with torch.no_grad():
        expected = theirs(restored.clamp(0, 1), original, normalize=True)
    # 1e-6: the same float32 network on inputs that differ in their last bit
    torch.testing.assert_close(found, expected.flatten().double(), rtol=1e-6, atol=1e-9)
    assert found.dtype == torch.float64
    assert found.tolist() == sorted(found.tolist())


def test_lpips_of_equal_images_is_zero_and_small_ones_are_refused(alexnet: Path) -> None:
    metric = LPIPS(alexnet)
    grey = pair(31)[1][:, :1]
    assert metric(grey, grey).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="31×31 or more"):
        metric(grey[..., :30], grey[..., :30])


def test_other_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(MetricError, match="are not torchvision's AlexNet weights") as told:
        LPIPS(path)
    assert "\n" not in str(told.value)
