"""``--sigma auto``: noise estimated in the picture, and how far to trust that."""

from __future__ import annotations

import pytest
import torch

from restoration.errors import ImageError
from restoration.tasks import Task, pose
from restoration.tasks.estimating import estimated

PRIOR = (3, 16, 16)


def smooth(channels: int = 3, height: int = 96, width: int = 80) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([0.2 + 0.5 * rows, 0.3 + 0.3 * columns, 0.7 - 0.3 * rows * columns])[:channels]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_on_a_smooth_picture_is_found(sigma: float, channels: int) -> None:
    noisy = smooth(channels) + sigma * noise(channels, 96, 80)
    found = estimated(noisy)
    # the median of 2,000 coefficients has a standard error of 2 %
    assert found.sigma == pytest.approx(sigma, rel=0.08)
    assert found.low <= found.sigma * 1.1
    assert found.high >= found.sigma * 0.9
    known = torch.rand(96, 80, generator=torch.Generator().manual_seed(1)) < 0.5
    assert estimated(torch.where(known, noisy, 0), known).sigma == pytest.approx(sigma, rel=0.2)  # 120 blocks


def test_it_says_when_it_is_unsure() -> None:
    uneven = smooth() + torch.cat([0.05 * noise(3, 96, 40), 0.15 * noise(3, 96, 40, seed=1)], dim=2)
    assert "unsure: texture counts as noise" in estimated(uneven).told
    assert "unsure" in estimated(smooth() + 0.01 * noise(3, 96, 80)).told  # as little as a photograph's texture
    told = estimated(smooth() + 0.1 * noise(3, 96, 80)).told
    assert told.startswith("noise of σ = 0.")
    assert " is estimated in the picture (its parts: 0.0" in told
    assert "unsure" not in told


@pytest.mark.parametrize(
    ("name", "options", "channels"),
    [
        ("denoise", {}, 3),
        ("sr2", {}, 3),
        ("colorize", {}, 1),
        ("deblur", {"kernel": "disk:1"}, 3),
        ("demosaic", {"pattern": "RGGB"}, 1),
        ("colorize+sr2", {}, 1),
    ],
)
def test_every_task_takes_it(name: str, options, channels: int) -> None:
    picture = smooth(channels)
    if name == "demosaic":  # neighbours differ in colour, which is no noise
        picture = picture.clone()
        picture[:, ::2, ::2] += 0.2
    problem = pose(Task(name, sigma_auto=True, **options), picture + 0.05 * noise(channels, 96, 80), PRIOR)
    assert problem.measurement.sigma == problem.task.sigma == pytest.approx(0.05, rel=0.1)
    assert any("is estimated in the picture" in note for note in problem.notes)


def test_holes_are_no_noise() -> None:
    picture, mask = smooth() + 0.05 * noise(3, 96, 80), torch.zeros(1, 96, 80)
    mask[:, 20:40, 10:60] = 1
    given = torch.where(mask > 0, 1, picture)
    problem = pose(Task("inpaint", sigma_auto=True), given, PRIOR, mask=mask)
    assert problem.task.sigma == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("denoise", 0.1, sigma_auto=True), "it was given"),
        (lambda: Task("denoise", sigma_auto=True, simulate=True), "not simulated"),
        (lambda: Task("jpeg", sigma_auto=True), "its noise is known"),
        (lambda: pose(Task("denoise", sigma_auto=True), smooth(3, 12, 40), PRIOR), "40×12 pixels are too few"),
        (lambda: pose(Task("denoise", sigma_auto=True), torch.full((3, 32, 32), 0.5), PRIOR), "no noise is found"),
        (lambda: estimated(smooth(), torch.eye(96, 80) > 0), "too few known pixels"),
    ],
)
def test_what_cannot_be_estimated_is_told(make, message: str) -> None:
    with pytest.raises((ValueError, ImageError), match=message):
        make()
