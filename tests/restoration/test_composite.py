"""``--task A+B``: several degradations at once."""

from __future__ import annotations

import pytest
import torch

from degradations import Grey, Masked
from restoration.tasks import Task, calibration_key, pose

PRIOR = (3, 16, 16)


def picture(channels: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


def hole(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, 4:8, 4:10] = 1
    return mask


@pytest.mark.parametrize("name", ["colorize+inpaint", "inpaint+colorize"])
def test_an_old_print_is_grey_and_scratched(name: str) -> None:
    grey = picture(1, 18, 20)
    problem = pose(Task(name), grey, PRIOR, mask=hole(18, 20))
    assert type(problem.measurement.operator) is Grey
    y, known = problem.measurement.y[0], hole(18, 20)[0] < 0.5
    assert y[:, known].equal(grey[:, known])
    assert not y[:, ~known].any()
    assert problem.degraded.shape == (3, 18, 20)
    assert problem.degraded[:, ~known].eq(0.5).all()
    assert problem.degraded[:, known].equal(grey.expand(3, -1, -1)[:, known])
    assert calibration_key(problem.measurement) is None


def test_a_coloured_scan_is_taken_as_grey() -> None:
    colour = picture(3, 16, 16)
    problem = pose(Task("colorize+inpaint"), colour, PRIOR, mask=hole(16, 16))
    known = hole(16, 16)[0] < 0.5
    torch.testing.assert_close(problem.measurement.y[0, 0][known], colour.mean(0)[known])
    assert problem.notes == ("has colour; its channels' mean is used",)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("colorize+sr4", {}, (5, 6)),
        ("colorize+sr2", {"kernel": "bicubic"}, (12, 11)),
        ("colorize+deblur", {"kernel": "disk:1.5"}, (20, 21)),
        ("sr2+inpaint", {}, (10, 12)),
        ("demosaic+inpaint", {"pattern": "GBRG"}, (17, 19)),
        ("colorize+sr2+inpaint", {}, (10, 12)),
    ],
)
def test_what_was_measured_and_what_is_simulated_have_one_operator(name: str, options, size) -> None:
    task = Task(name, **options)
    mask = hole(*size) if task.kind.takes_mask else None
    grey = name.startswith(("colorize", "demosaic"))
    measured = pose(task, picture(1 if grey else 3, *size), PRIOR, mask=mask)
    f = task.factor
    assert measured.degraded.shape == (3, size[0] * f, size[1] * f)
    clean = picture(3, size[0] * f, size[1] * f)
    simulated = pose(Task(name, simulate=True, **options), clean, PRIOR)
    assert simulated.measurement.y.shape == measured.measurement.y.shape
    assert type(simulated.measurement.operator) is type(measured.measurement.operator)
    if mask is not None:
        s = simulated.measurement.operator
        kept = s.U(s.Ut(torch.ones(1, *s.measurement_shape)))
        inside = simulated.frame.shrunk(f).crop(kept)
        assert float(inside.mean()) == pytest.approx(0.5, abs=0.01)  # half of the (small) pixels


def test_a_mask_of_a_clean_picture_drops_the_small_pixels_that_it_covers() -> None:
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:12, 16:24] = 1
    operator = pose(Task("sr4+inpaint", simulate=True), picture(3, 32, 32), PRIOR, mask=mask).measurement.operator
    assert type(operator) is Masked
    kept = operator.U(operator.Ut(torch.ones(1, 3, 8, 8)))[0, 0] > 0.5
    assert sorted((~kept).nonzero().tolist()) == [[2, 4], [2, 5]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("denoise+sr4"), "denoise\\+sr4 cannot be restored: every task takes noise: .* --sigma"),
        (lambda: Task("jpeg+colorize"), "jpeg with another has no singular value"),
        (lambda: Task("sr4+deblur", kernel="disk:1"), "sr4 and deblur together have no singular value"),
        (lambda: Task("sr4+sr2"), "sr4 and sr2 are of one kind"),
        (lambda: Task("colorize+colorize"), "are of one kind"),
        (lambda: Task("colorize+demosaic", pattern="RGGB"), "a mosaic has the colours"),
        (lambda: Task("deblur+inpaint", kernel="disk:1"), "a mask after a blur has no singular value"),
        (lambda: Task("sr4+inpaint", kernel="bicubic"), "inpaint does not go with sr4 by kernel"),
        (lambda: Task("colorize+deblur"), "deblur needs kernel"),
        (lambda: Task("colorize+inpaint", kernel="disk:1"), "kernel is for .*, not for colorize\\+inpaint"),
        (lambda: Task("colorize+"), "task must be one of"),
        (lambda: Task("colorize+sharpen"), "task must be one of .*: got 'sharpen'"),
        (lambda: pose(Task("colorize+inpaint"), picture(1, 16, 16), PRIOR), "colorize\\+inpaint needs a mask"),
        (lambda: pose(Task("colorize+sr2"), picture(1, 16, 16), PRIOR, mask=hole(16, 16)), "a mask is for"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
