"""``--task deblur``: kernels by word or file, and what lies beyond the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.comparison.deconvolution import richardson_lucy, wiener
from degradations import Blur, Measurement, kernels
from restoration.errors import ImageError
from restoration.tasks import Task, calibration_key, pose
from restoration.tasks.beyond import ROUNDING, continued
from restoration.tasks.kernels import blur_kernel

PRIOR = (3, 16, 16)


def scene(height: int, width: int) -> torch.Tensor:
    """Slopes and edges, (3, H, W): no noise, which no blur lets through."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    edges = ((7 * rows + 5 * columns) % 2 > 1).float()
    return torch.stack([0.6 * rows + 0.3 * edges, columns * 0.8, 0.2 + 0.5 * edges])


def photographed(clean: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """What a camera sees of the middle: the scene beyond its frame is blurred into it."""
    reach = max(kernel.shape) // 2
    return Blur(clean.shape, kernel)(clean[None])[0][:, reach:-reach, reach:-reach]


def inverted(measurement: Measurement) -> torch.Tensor:
    """The linear estimate of every frequency by its own noise."""
    operator = measurement.operator
    s = operator.singular_values
    return operator.V(s / (s**2 + (float(measurement.sigma) / 0.05) ** 2) * operator.Ut(measurement.y))


@pytest.mark.parametrize("kernel", ["gaussian:1.2", "disk:2.5", "motion:7,30"])
def test_no_ringing_enters_from_the_frame(kernel: str) -> None:
    weights = blur_kernel(kernel)
    reach = max(weights.shape) // 2
    whole = scene(48 + 2 * reach, 40 + 2 * reach)
    clean, picture = whole[:, reach:-reach, reach:-reach], photographed(whole, weights)
    problem = pose(Task("deblur", kernel=kernel), picture, PRIOR)
    assert problem.degraded.equal(picture)
    assert problem.measurement.sigma == ROUNDING
    error = (problem.crop(inverted(problem.measurement))[0] - clean).square().mean(0)
    inside = torch.zeros_like(error, dtype=torch.bool)
    inside[6:-6, 6:-6] = True
    rim, middle = float(error[~inside].mean()), float(error[inside].mean())
    as_periodic = inverted(Measurement(picture[None], Blur(picture.shape, weights), ROUNDING))[0] - clean
    # Edges leave the picture through its rim, where they are seen from one side only; measured: 1.3 to 2.6 times.
    assert rim < 4 * middle
    assert rim < 0.05 * float(as_periodic.square().mean(0)[~inside].mean())


def test_the_fill_keeps_what_was_measured_and_explains_it() -> None:
    kernel = kernels.gaussian(1.2).float()
    operator = Blur((3, 40, 32), kernel)
    y = operator(scene(40, 32)[None])[0]
    known = torch.zeros(40, 32, dtype=torch.bool)
    known[8:-8, 8:-8] = True
    before = {name: buffer.clone() for name, buffer in operator.named_buffers()}
    filled = continued(torch.where(known, y, 0.5), known, operator, ROUNDING)
    assert filled[:, known].equal(y[:, known])

    def unexplained(measured: torch.Tensor) -> float:
        """RMS of what no picture of usual contrast can have been blurred into."""
        rest = operator(inverted(Measurement(measured[None], operator, ROUNDING)))[0] - measured
        return float(rest.square().mean().sqrt())

    assert unexplained(filled) < 2 * ROUNDING  # as much as noise would leave
    assert unexplained(torch.where(known, y, 0.5)) > 10 * ROUNDING
    assert all(buffer.equal(before[name]) for name, buffer in operator.named_buffers())


def test_simulation_blurs_a_scene_that_goes_on() -> None:
    clean = scene(24, 20)
    problem = pose(Task("deblur", simulate=True, kernel="uniform:5"), clean, PRIOR)
    assert problem.original is not None
    assert problem.original.equal(clean)
    around = torch.from_numpy(np.pad(clean.numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect"))
    wanted = around.unfold(1, 5, 1).unfold(2, 5, 1).mean(dim=(3, 4))
    # the noise that is assumed is there: 1,440 values, none beyond 5 σ
    torch.testing.assert_close(problem.degraded, wanted, atol=5 * ROUNDING, rtol=0)
    assert float((problem.degraded - wanted).std()) == pytest.approx(ROUNDING, rel=0.1)
    assert problem.notes[0] == (
        "padded by the scene that explains it, from 20×24 to 48×48; the result is cropped back"
    )
    assert problem.notes[1] == "noise of σ = 0.0011 is assumed, as rounding to 8 bits leaves"


def test_fit_takes_the_picture_to_be_periodic_and_exact() -> None:
    clean = scene(16, 16)
    measurement = pose(Task("deblur", simulate=True, fit=True, kernel="disk:2"), clean, PRIOR).measurement
    assert measurement.sigma == 0
    assert measurement.operator.image_shape == PRIOR
    assert measurement.y.equal(measurement.operator(clean[None]))
    assert calibration_key(measurement) is None  # no prior was calibrated on blurs
    named = pose(Task("deblur-disk-2", simulate=True, fit=True), clean, PRIOR).measurement
    assert named.y.equal(measurement.y)


def test_kernels_come_from_pictures_and_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = np.zeros((3, 5))
    weights[1, 1:4] = 2
    np.save("k.npy", weights)
    Image.fromarray((weights * 100).astype(np.uint8)).save("k.png")
    for name in ("k.npy", "k.png"):
        torch.testing.assert_close(blur_kernel(name), torch.from_numpy(weights / 6).float())
    tasks = [Task("deblur", kernel=name) for name in ("k.npy", "k.png", "disk:1")]
    hashes = [task.kind.record()["kernel_sha256"] for task in tasks]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((4, 5)), "must have odd sides.*got 5×4"),
        (np.array([[1.0, -2.0, 1.0]]), "must not sum to 0"),
        (np.zeros((3, 3)), "must not sum to 0"),
        (np.array([[1.0, np.nan, 1.0]]), "must be finite"),
        (np.ones(3), "must hold at most 2001×2001 real numbers"),
        (np.ones((3, 3), complex), "real numbers"),
        (np.ones((1, 2003)), "at most 2001"),
        (np.array([[{}]], dtype=object), "cannot be read as a kernel"),
    ],
)
def test_useless_kernels_are_refused(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", values)
    with pytest.raises((ValueError, ImageError), match=message) as told:
        blur_kernel(str(tmp_path / "k.npy"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("deblur"), r"deblur needs kernel: gaussian:SIGMA, .* \(--kernel\)"),
        (lambda: Task("denoise", 0.1, kernel="disk:2"), r"kernel is for .*deblur.*, not for denoise \(--kernel\)"),
        (lambda: Task("deblur", kernel="gauss:2"), "kernel must be gaussian:SIGMA, .* or a file: got 'gauss:2'"),
        (lambda: Task("deblur", kernel="motion:5"), "kernel must be motion:LENGTH,ANGLE"),
        (lambda: Task("deblur", kernel="disk:wide"), "kernel must be disk:RADIUS"),
        (lambda: Task("deblur", kernel="uniform:4"), "kernel 'uniform:4': side must be an odd number"),
        (lambda: Task("deblur", kernel="gaussian:0"), "kernel 'gaussian:0': sigma must be above 0"),
        (
            lambda: pose(Task("deblur", kernel="uniform:21"), scene(16, 30), PRIOR),
            "kernel must be at most as large as the picture: uniform:21 is 21×21, it is 30×16",
        ),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(1, 33, 24), (3, 32, 41)])
def test_classic_deconvolution_sharpens(shape: tuple[int, int, int]) -> None:
    clean = scene(*shape[1:])[: shape[0]]
    operator = Blur(shape, kernels.gaussian(1).float())
    measurement = Measurement(operator(clean[None]), operator, 0.001)

    def error(image: torch.Tensor) -> float:
        return float((image[0] - clean)[:, 8:-8, 8:-8].square().mean())

    for sharpen in (wiener, richardson_lucy):
        assert error(sharpen(measurement)) < 0.7 * error(measurement.y)  # by 1.5 dB at least
