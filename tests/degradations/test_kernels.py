"""Kernels are what their names say."""

from __future__ import annotations

import math
import time

import pytest
import torch

from degradations import kernels


def spread(kernel: torch.Tensor) -> tuple[float, float]:
    """Standard deviations down and across, about the middle."""
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in kernel.shape)
    return (
        float((kernel.sum(1) * rows**2).sum().sqrt()),
        float((kernel.sum(0) * columns**2).sum().sqrt()),
    )


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.gaussian(0.3),
        kernels.gaussian(1.6),
        kernels.gaussian(1, 4),
        kernels.disk(0.4),
        kernels.disk(3),
        kernels.uniform(9),
        kernels.motion(1, 0),
        kernels.motion(15, 30),
        kernels.motion(7.5, -100),
    ],
)
def test_kernels_have_sum_1_odd_sides_and_their_mean_in_the_middle(kernel: torch.Tensor) -> None:
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert all(side % 2 for side in kernel.shape)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-12, rtol=0)


def test_widths_are_as_asked() -> None:
    assert spread(kernels.gaussian(2, 3)) == pytest.approx((2, 3), rel=1e-3)  # cut at 4 σ
    assert spread(kernels.disk(5)) == pytest.approx((2.5, 2.5), rel=0.01)  # of a disk: half of its radius
    assert spread(kernels.uniform(9)) == pytest.approx(((80 / 12) ** 0.5,) * 2)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_motion_is_a_line_at_its_angle_counter_clockwise(angle: float) -> None:
    kernel = kernels.motion(21, angle)
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in kernel.shape)
    covariance = -(kernel * rows[:, None] * columns).sum()  # rows count downwards
    down, across = spread(kernel)
    found = math.degrees(0.5 * math.atan2(2 * float(covariance), across**2 - down**2)) % 180
    assert found == pytest.approx(angle, abs=0.5)
    assert math.hypot(down, across) == pytest.approx(21 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kernels.gaussian(0), "sigma must be above 0"),
        (lambda: kernels.gaussian(float("nan")), "sigma must be above 0"),
        (lambda: kernels.gaussian(1e9), "at most 2001"),
        (lambda: kernels.disk(-1), "radius must be above 0"),
        (lambda: kernels.disk(math.inf), "radius must be above 0"),
        (lambda: kernels.uniform(4), "odd number of pixels: got 4"),
        (lambda: kernels.uniform(2.5), "odd number of pixels: got 2.5"),
        (lambda: kernels.motion(0.5, 0), "length must be at least 1"),
        (lambda: kernels.motion(5, math.inf), "angle finite"),
        (lambda: kernels.motion(1e7, 0), "at most 2001"),
    ],
)
def test_wrong_numbers_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_large_kernels_cost_what_their_edge_or_length_costs() -> None:
    """In memory and time: a radius of 1000 took 8 GB and five seconds."""
    began = time.process_time()
    disk, motion = kernels.disk(1000), kernels.motion(1000, 30)
    assert time.process_time() - began < 3  # 0.4 s alone; a busy machine's share on top
    assert spread(disk) == pytest.approx((500, 500), rel=1e-4)  # of a disk: half of its radius
    assert math.hypot(*spread(motion)) == pytest.approx(1000 / 12**0.5, rel=1e-3)


@pytest.mark.parametrize("radius", [0.5, 3.3, 16.2])
def test_disk_covers_each_pixel_by_how_much_of_it_is_inside(radius: float) -> None:
    kernel = kernels.disk(radius)
    side = len(kernel)
    fine = (torch.arange(side * 16, dtype=torch.float64) + 0.5) / 16 - side / 2
    inside = (fine[:, None] ** 2 + fine**2 <= radius**2).double()
    covered = inside.view(side, 16, side, 16).mean(dim=(1, 3))
    assert torch.equal(kernel, covered / covered.sum())


def test_long_motion_is_the_sum_of_its_points() -> None:
    steps = torch.linspace(-149.5, 149.5, 4800, dtype=torch.float64)  # in two parts
    offsets = torch.arange(-150, 151, dtype=torch.float64)
    turn = math.radians(33)
    down = (1 - (offsets + steps[:, None] * math.sin(turn)).abs()).clamp(min=0)
    across = (1 - (offsets - steps[:, None] * math.cos(turn)).abs()).clamp(min=0)
    whole = down.mT @ across
    torch.testing.assert_close(kernels.motion(300, 33), whole / whole.sum(), atol=1e-15, rtol=0)  # rounding
