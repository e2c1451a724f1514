"""Masks as people draw them, and what they mark."""

from __future__ import annotations

import pytest
import torch

from degradations import Inpainting
from restoration.errors import ImageError
from restoration.pictures.picture import Picture
from restoration.tasks import Task, known_pixels, mask_of, pose

HOLE = torch.zeros(1, 32, 32)
HOLE[:, 8:20, 5:26] = 1


def marked(picture: Picture, **options: object) -> torch.Tensor:
    mask, _ = mask_of(picture, "m.png", **options)  # type: ignore[arg-type]
    return ~known_pixels(mask)


@pytest.mark.parametrize("colour", [0.0, 1.0, 0.6])
def test_one_brush_on_a_transparent_ground_marks_what_to_fill_whatever_its_colour(colour: float) -> None:
    assert marked(Picture(torch.full((3, 32, 32), colour), HOLE)).equal(HOLE[0] > 0)
    on_black = Picture(HOLE.expand(3, -1, -1) * colour, HOLE)  # what editors write under a transparent ground
    assert marked(on_black).equal(HOLE[0] > 0)


def test_black_and_white_on_a_transparent_ground_is_shown_on_black() -> None:
    both = torch.zeros(3, 32, 32)
    both[:, 8:14] = 1
    mask, notes = mask_of(Picture(both, HOLE), "m.png")
    assert (mask[0] > 0.5).equal((both[0] > 0) & (HOLE[0] > 0))
    assert "white" in notes[0]


def test_a_picture_with_a_transparent_hole_is_asked_about() -> None:
    picture = Picture(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), HOLE)
    with pytest.raises(ImageError, match="colours and transparency"):
        mask_of(picture, "m.png")
    with pytest.raises(ImageError, match="transparent everywhere"):
        mask_of(Picture(picture.pixels, torch.zeros(1, 32, 32)), "m.png")


@pytest.mark.parametrize("level", [1 / 255, 1 / 65535, 0.3])
def test_the_larger_of_two_levels_marks_what_to_fill(level: float) -> None:
    mask, notes = mask_of(Picture(HOLE * level), "m.png")
    assert mask.equal(HOLE)
    assert "two levels" in notes[0]


def test_a_mask_is_inverted_grown_and_resized_only_when_asked() -> None:
    assert marked(Picture(1 - HOLE), invert=True).equal(HOLE[0] > 0)
    grown = marked(Picture(HOLE), grow=3)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    down = (8 - rows).clamp(min=0) + (rows - 19).clamp(min=0)
    across = (5 - columns).clamp(min=0) + (columns - 25).clamp(min=0)
    assert grown.equal(down**2 + across**2 <= 9)
    mask, notes = mask_of(Picture(HOLE), "m.png", size=(64, 64))
    assert mask.shape == (1, 64, 64)
    assert notes == ("resized from 32×32 to 64×64",)
    with pytest.raises(ImageError, match="mask must have the picture's size"):
        pose(Task("inpaint"), torch.rand(3, 64, 64), (3, 16, 16), mask=HOLE)


def test_what_jpeg_leaves_beside_an_edge_is_not_filled() -> None:
    ringing = HOLE + 0.04 * (HOLE == 0)
    assert marked(Picture(ringing)).equal(HOLE[0] > 0)


def test_a_soft_edge_shows_the_result_as_much_as_it_is_white() -> None:
    soft = HOLE.clone()
    soft[:, 7] = soft[:, 8] * 0.25
    given = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    problem = pose(Task("inpaint"), given, (3, 16, 16), mask=soft)
    assert isinstance(problem.measurement.operator, Inpainting)
    assert (problem.measurement.operator.singular_values[0] == 0).equal(soft[0] > 0)  # all it touches is filled
    shown = problem.crop(torch.ones(1, 3, 32, 32))[0]
    torch.testing.assert_close(shown[:, 7, 8:20], 0.25 + 0.75 * given[:, 7, 8:20])
    assert bool((shown[:, 8:20, 5:26] == 1).all())
    hard = pose(Task("inpaint"), given, (3, 16, 16), mask=HOLE)
    assert hard.share is None
    assert hard.crop(torch.ones(1, 3, 32, 32)).equal(torch.ones(1, 3, 32, 32))


def test_a_hole_wider_than_the_prior_sees_is_noted() -> None:
    given, wide = torch.rand(3, 64, 64), torch.zeros(1, 64, 64)
    wide[:, 10:54, 10:54] = 1
    assert "44 pixels wide" in pose(Task("inpaint"), given, (3, 16, 16), mask=wide).notes[-1]
    assert pose(Task("inpaint"), given, (3, 48, 48), mask=wide).notes == ()
