"""``--task sr4 --kernel``: what a small picture was really made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from degradations import Downsampling, SuperResolution
from restoration.tasks import Task, calibration_key, pose
from restoration.tasks.beyond import ROUNDING

PRIOR = (3, 16, 16)


def scene(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    edges = ((3 * rows + 2 * columns) % 2 > 1).float()
    return torch.stack([0.6 * rows + 0.3 * edges, columns * 0.8, 0.2 + 0.5 * edges])


def shrunk(picture: torch.Tensor, factor: int) -> torch.Tensor:
    """By Pillow, with bicubic antialiasing."""
    size = (picture.shape[2] // factor, picture.shape[1] // factor)
    planes = [Image.fromarray(plane.numpy()).resize(size, Image.Resampling.BICUBIC) for plane in picture]
    return torch.stack([torch.from_numpy(np.array(plane)) for plane in planes])


def test_averaging_blocks_stays_the_default_and_has_no_frame_to_fill() -> None:
    for task in (Task("sr4"), Task("sr4", kernel="box")):
        problem = pose(task, scene(6, 8), PRIOR)
        assert type(problem.measurement.operator) is SuperResolution
        assert problem.measurement.operator.image_shape == (3, 24, 32)
        assert problem.measurement.sigma == 0
        assert problem.notes == ()
        assert calibration_key(problem.measurement) == "sr4"
        assert task.kind.record() == {}


def test_a_picture_that_pillow_shrank_is_explained_to_its_rim() -> None:
    clean = scene(64, 48)
    small = shrunk(clean, 4)
    problem = pose(Task("sr4", kernel="bicubic"), small, PRIOR)
    measurement = problem.measurement
    assert type(measurement.operator) is Downsampling
    assert measurement.sigma == ROUNDING
    assert problem.frame.shrunk(4).crop(measurement.y)[0].equal(small)
    s = measurement.operator.singular_values
    x = measurement.operator.V(s / (s**2 + (ROUNDING / 0.05) ** 2) * measurement.operator.Ut(measurement.y))
    assert problem.crop(x).shape == (1, *clean.shape)
    error = (problem.crop(x)[0] - clean).square().mean(0)
    inside = error[12:-12, 12:-12].mean()
    assert float(error[:12].mean()) < 3 * float(inside)  # edges are seen from one side there; measured: 1.1
    as_box = pose(Task("sr4"), small, PRIOR).measurement
    assert float((as_box.operator.pinv(as_box.y)[0] - clean).square().mean()) > 1.2 * float(error.mean())


@pytest.mark.parametrize("size", [(40, 36), (41, 37), (12, 50)])
def test_simulated_shrinking_takes_any_size(size: tuple[int, int]) -> None:
    clean = scene(*size)
    problem = pose(Task("sr2", simulate=True, kernel="lanczos"), clean, PRIOR)
    assert problem.original is not None
    assert problem.original.equal(clean)
    assert problem.degraded.shape == clean.shape


def test_a_name_may_end_in_its_kernel_and_fit_is_exact() -> None:
    measurement = pose(Task("sr4-bicubic", simulate=True, fit=True), scene(16, 16), PRIOR).measurement
    assert type(measurement.operator) is Downsampling
    assert (measurement.operator.image_shape, measurement.sigma) == (PRIOR, 0)
    assert calibration_key(measurement) is None


def test_kernels_of_files_have_the_parity_of_the_factor(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.ones((2, 4)))
    path = str(tmp_path / "k.npy")
    assert type(pose(Task("sr2", kernel=path), scene(12, 12), PRIOR).measurement.operator) is Downsampling
    with pytest.raises(ValueError, match="must have odd sides for a factor of 3: got 4×2"):
        Task("sr3", kernel=path)
    with pytest.raises(ValueError, match="kernel must be box, bicubic, lanczos, gaussian:SIGMA or a file"):
        Task("sr4", kernel="disk:3")
    with pytest.raises(ValueError, match="at most as large as the picture: bicubic is 16×16, it is 3×9"):
        pose(Task("sr4", kernel="bicubic"), scene(9, 3), PRIOR)
