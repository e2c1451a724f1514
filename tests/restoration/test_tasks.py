"""From a task's name and a picture to a measurement."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from degradations import Achromatic, Colorization, Denoising, Inpainting, Measurement, SuperResolution
from restoration.errors import ImageError
from restoration.tasks import HELP, KINDS, TASKS, Kind, Task, calibration_key, kind_of, pose, registry
from restoration.tasks.denoise import Denoise

PRIOR = (3, 16, 16)
NEEDED = {
    "deblur": {"kernel": "disk:1.5"},
    "jpeg": {"sigma": None, "quality": 20},
    "demosaic": {"pattern": "RGGB"},
}
"""What a task cannot do without, or takes none of."""


def picture(height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))


def hole() -> torch.Tensor:
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:8, 4:8] = 1
    return mask


def test_the_input_is_the_measurement() -> None:
    for task, given in [
        (Task("denoise", 0.1), picture(16, 16)),
        (Task("sr4"), picture(4, 4)),
        (Task("colorize"), picture(16, 16, 1)),
    ]:
        problem = pose(task, given, PRIOR)
        assert problem.measurement.y[0].equal(given)
        assert problem.original is None
        assert problem.degraded.shape == PRIOR


def test_white_marks_what_to_fill() -> None:
    problem = pose(Task("inpaint"), picture(16, 16), PRIOR, mask=hole())
    assert isinstance(problem.measurement.operator, Inpainting)
    known = problem.measurement.operator.singular_values.expand(PRIOR) > 0
    assert known.equal((hole() < 0.5).expand(PRIOR))
    assert not problem.measurement.y[0][~known].any()
    assert problem.degraded[~known].eq(0.5).all()


def test_simulation_is_decided_by_the_seed() -> None:
    for task in (Task("denoise", 0.2, simulate=True), Task("inpaint", simulate=True)):
        first, again, other = (pose(task, picture(16, 16), PRIOR, seed=s).measurement.y for s in (1, 1, 2))
        assert first.equal(again)
        assert not first.equal(other)


def test_a_simulated_mask_drops_half_of_the_pixels_in_all_channels() -> None:
    operator = pose(Task("inpaint", simulate=True), picture(16, 16), PRIOR, seed=3).measurement.operator
    known = operator.singular_values.expand(PRIOR)
    assert float(known.mean()) == 0.5
    assert known[0].equal(known[1])


def test_fit_crops_what_was_measured_and_shrinks_what_is_clean() -> None:
    wide = picture(20, 40)
    cropped = pose(Task("denoise", 0.1, fit=True), wide, PRIOR)
    assert cropped.measurement.y[0].equal(wide[:, 2:18, 12:28])
    small = pose(Task("sr2", fit=True), wide, PRIOR)
    assert small.measurement.y[0].equal(wide[:, 6:14, 16:24])
    slope = torch.linspace(0, 1, 64).expand(3, 32, 64)
    shrunk = pose(Task("sr2", simulate=True, fit=True), slope, PRIOR)
    assert shrunk.original is not None
    exact = slope[:, :, 16:48].unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(3, 4))
    # on a slope every symmetric filter is the block mean, but at the border, where it has less to see
    torch.testing.assert_close(shrunk.original[:, :, 2:-2], exact[:, :, 2:-2], atol=1e-5, rtol=0)
    assert shrunk.notes == ("shrunk, from 64×32 to 16×16",)
    assert cropped.notes == ("cropped to its centre (--simulate would shrink it), from 40×20 to 16×16",)


def test_grey_and_colour_are_brought_to_what_is_needed() -> None:
    grey = picture(16, 16, 1)
    posed = pose(Task("denoise", 0.1), grey, PRIOR).measurement
    assert isinstance(posed.operator, Achromatic)
    assert posed.operator.plane(posed.y)[0].equal(grey)
    coloured = pose(Task("colorize"), picture(16, 16), PRIOR)
    torch.testing.assert_close(coloured.measurement.y[0, 0], picture(16, 16).mean(0))
    assert coloured.notes == ("has colour; its channels' mean is used",)
    assert pose(Task("colorize"), grey.expand(PRIOR), PRIOR).notes == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("sharpen"), "task must be one of denoise, sr2, .*: got 'sharpen'"),
        (lambda: Task("denoise"), "denoise needs sigma"),
        (lambda: Task("denoise", 0), "denoise needs sigma"),
        (lambda: Task("sr4", -0.1), "sigma must be finite and ≥ 0: got -0.1"),
        (lambda: Task("sr4", float("nan")), "sigma must be finite"),
        (lambda: Task("denoise", 25), "got 25; on a scale of 255 that is 0.098"),
        (lambda: pose(Task("inpaint"), picture(16, 16), PRIOR), "needs a mask"),
        (lambda: pose(Task("sr2"), picture(8, 8), PRIOR, mask=hole()), "a mask is for inpaint"),
        (lambda: pose(Task("sr3", fit=True), picture(5, 5), PRIOR), "factor must divide"),
        (
            lambda: pose(Task("sr9", simulate=True), picture(8, 20), PRIOR),
            "at most .* smaller side: got 9 for 20×8",
        ),
        (lambda: pose(Task("sr999"), picture(9, 9), PRIOR), "factor must leave at most 64000000 pixels"),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("task", "given", "mask", "message"),
    [
        (Task("denoise", 0.1, fit=True), picture(8, 40), None, "too small to fit: 40×8"),
        (
            Task("inpaint"),
            picture(16, 16),
            torch.zeros(1, 8, 8),
            "mask must have the picture's size, 16×16: got 8×8",
        ),
        (Task("inpaint"), picture(16, 16), torch.ones(1, 16, 16), "white everywhere"),
        (Task("inpaint"), picture(16, 16), torch.zeros(1, 16, 16), "black everywhere"),
    ],
)
def test_pictures_and_masks_of_unusable_sizes_are_told(task, given, mask, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        pose(task, given, PRIOR, mask=mask)


def reflected(image: torch.Tensor, rows: int, columns: int, top: int, left: int) -> torch.Tensor:
    """By hand: numpy's own reflection, which also goes on beyond one picture."""
    height, width = image.shape[1:]
    around = ((0, 0), (top, rows - height - top), (left, columns - width - left))
    return torch.from_numpy(np.pad(image.numpy(), around, mode="reflect"))


def test_a_large_picture_is_left_whole() -> None:
    for task, given, shape in [
        (Task("denoise", 0.1), picture(40, 21), (3, 40, 21)),
        (Task("sr4"), picture(5, 11), (3, 20, 44)),
        (Task("colorize"), picture(17, 30, 1), (3, 17, 30)),
        (Task("inpaint", simulate=True), picture(16, 33), (3, 16, 33)),
        (Task("sr3", simulate=True), picture(18, 30), (3, 18, 30)),
    ]:
        problem = pose(task, given, PRIOR)
        assert problem.measurement.operator.image_shape == problem.degraded.shape == shape
        assert problem.notes == ()


@pytest.mark.parametrize("side", [(6, 20), (1, 1), (40, 3)])
def test_what_was_measured_is_padded_by_its_reflection(side: tuple[int, int]) -> None:
    given, (height, width) = picture(*side), side
    rows, columns = max(height, 16), max(width, 16)
    problem = pose(Task("denoise", 0.1), given, PRIOR)
    padded = reflected(given, rows, columns, (rows - height) // 2, (columns - width) // 2)
    assert problem.measurement.y[0].equal(padded)
    assert problem.crop(problem.measurement.y)[0].equal(given)
    assert problem.degraded.equal(given)
    assert problem.notes == (
        f"padded by reflection, from {width}×{height} to {columns}×{rows}; the result is cropped back",
    )


def test_a_factor_that_does_not_divide_pads_the_clean_picture_and_keeps_its_blocks() -> None:
    clean = picture(21, 30)
    problem = pose(Task("sr4", simulate=True), clean, PRIOR)
    assert problem.original is not None
    assert problem.original.equal(clean)
    y, operator = problem.measurement.y, problem.measurement.operator
    assert operator.image_shape == (3, 24, 32)
    assert y.equal(operator(reflected(clean, 24, 32, 0, 0)[None]))
    # blocks that lie in the picture are those of the picture itself
    whole = clean[:, :20, :28].unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4))
    torch.testing.assert_close(y[0, :, :5, :7], whole)
    assert problem.degraded.shape == clean.shape


def test_a_small_measured_picture_keeps_its_blocks_in_the_middle() -> None:
    problem = pose(Task("sr4"), picture(2, 9), PRIOR)
    assert problem.measurement.operator.image_shape == (3, 16, 36)
    assert problem.measurement.y[0].equal(reflected(picture(2, 9), 4, 9, 1, 0))
    assert problem.crop(torch.rand(2, 3, 16, 36)).shape == (2, 3, 8, 36)
    assert pose(Task("sr3"), picture(5, 5), PRIOR).measurement.operator.image_shape == (3, 18, 18)


def test_picture_and_mask_are_padded_alike() -> None:
    given, mask = picture(10, 16), torch.zeros(1, 10, 16)
    mask[:, :3, 5:9] = 1
    problem = pose(Task("inpaint"), given, PRIOR, mask=mask)
    known = problem.measurement.operator.singular_values > 0
    assert known.equal(reflected(mask, 16, 16, 3, 0) < 0.5)
    torch.testing.assert_close(problem.measurement.y[0], reflected(given, 16, 16, 3, 0) * known)
    simulated = pose(Task("inpaint", simulate=True), given, PRIOR)
    assert float(simulated.crop(simulated.measurement.operator.singular_values).mean()) == 0.5


@pytest.mark.parametrize("name", [*TASKS, "sr3", "sr9999"])
def test_every_listed_name_is_of_one_task_and_in_the_help(name: str) -> None:
    found = [kind for kind in KINDS if kind.parse(name) is not None]
    assert [type(kind_of(name))] == found
    task = Task(name, **{"sigma": 0.1, "simulate": True, **NEEDED.get(name, {})})
    assert task.factor == (int(name[2:]) if name.startswith("sr") else 1)
    assert (name in HELP) == (name in TASKS)


@pytest.mark.parametrize("name", ["", "sr", "sr0", "sr04", "sr10000", "sr4 ", "sr٤", "Denoise", "denoise,sr4"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^--tasks must be one of denoise, .*, colorize, .*: got '"):
        kind_of(name, "--tasks")


def test_calibration_finds_a_posed_measurement_and_one_made_by_hand_under_the_same_key() -> None:
    for name, operator in [
        ("denoise", Denoising(PRIOR)),
        ("sr4", SuperResolution(PRIOR, 4)),
        ("inpaint", Inpainting(PRIOR, torch.arange(256).reshape(16, 16) % 2)),
        ("colorize", Colorization(PRIOR)),
    ]:
        posed = pose(Task(name, 0.1, simulate=True), picture(16, 16), PRIOR).measurement
        by_hand = Measurement(torch.zeros(1, *operator.measurement_shape), operator)
        assert calibration_key(posed) == calibration_key(by_hand) == name


@pytest.mark.parametrize("name", TASKS)
def test_pictures_of_every_task_can_be_stacked(name: str) -> None:
    task = Task(name, **{"sigma": 0.1, "simulate": True, "fit": True, **NEEDED.get(name, {})})
    posed = [pose(task, picture(16, 16), PRIOR, seed=seed).measurement for seed in (0, 1)]
    together = Measurement.stack(posed)
    for i, one in enumerate(posed):
        assert together.take([i]).operator(picture(16, 16)[None]).equal(one.operator(picture(16, 16)[None]))


def test_a_new_task_is_one_class_and_one_entry_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    class Copy(Denoise):
        names = ("copy",)
        needs_sigma = False

        @property
        def multiple(self) -> int:
            return 8

    kinds: tuple[type[Kind], ...] = (*KINDS, Copy)
    monkeypatch.setattr(registry, "KINDS", kinds)
    problem = pose(Task("copy"), picture(16, 20), PRIOR)
    assert problem.measurement.operator.image_shape == (3, 16, 24)
    assert problem.degraded.equal(picture(16, 20))
    with pytest.raises(ValueError, match="fit needs a prior whose height and width 8 divides: got 20×16"):
        pose(Task("copy", fit=True), picture(16, 20), (3, 16, 20))
    with pytest.raises(ValueError, match="a mask is for inpaint: got one for copy"):
        pose(Task("copy"), picture(16, 16), PRIOR, mask=hole())
