"""``--task demosaic``: a grey mosaic becomes a picture in colour."""

from __future__ import annotations

import pytest
import torch

from restoration.tasks import Task, pose

PRIOR = (3, 16, 16)


def picture(channels: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(16, 16), (11, 20), (7, 5), (30, 41)])
def test_the_grey_picture_is_the_measurement_and_padding_keeps_its_pattern(size: tuple[int, int]) -> None:
    task, grey = Task("demosaic", pattern="GRBG"), picture(1, *size)
    problem = pose(task, grey, PRIOR)
    operator, y = problem.measurement.operator, problem.measurement.y
    assert problem.crop(y)[0].equal(grey)
    # Whatever colours a mosaic is of, padding it is padding them: red stays red.
    clean = picture(3, *size)
    measured = pose(task, pose(Task("demosaic", pattern="GRBG"), grey, PRIOR).crop(y)[0], PRIOR).measurement.y
    assert measured.equal(y)
    whole = problem.frame.pad(clean)[None]
    again = pose(task, problem.crop(operator(whole))[0], PRIOR).measurement.y
    torch.testing.assert_close(again, operator(whole))


def test_simulation_keeps_one_colour_of_each_pixel() -> None:
    clean = picture(3, 12, 18)
    problem = pose(Task("demosaic", simulate=True, pattern="RGGB"), clean, PRIOR)
    y = problem.crop(problem.measurement.y)[0, 0]
    assert y[0, 0] == clean[0, 0, 0]
    assert y[0, 1] == clean[1, 0, 1]
    assert y[1, 1] == clean[2, 1, 1]
    assert problem.degraded.shape == (3, 12, 18)


def test_grey_priors_are_refused() -> None:
    with pytest.raises(ValueError, match="must have 3 channels"):
        pose(Task("demosaic", pattern="RGGB"), picture(1, 16, 16), (1, 16, 16))
