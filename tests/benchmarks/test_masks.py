"""Masks of a benchmark: the same for every method, from the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.engine.case import cases
from benchmarks.engine.chunk import problem_of
from benchmarks.engine.masks import Given, Hole, Scratches
from benchmarks.studies.kills import write_pictures
from restoration.errors import ImageError
from restoration.pictures import images
from restoration.pictures.sources import find


def test_scratches_are_of_the_seed_and_leave_most_of_a_picture() -> None:
    masks = torch.stack([Scratches().fill(64, 48, seed) for seed in range(32)])
    assert masks[3].equal(Scratches().fill(64, 48, 3))
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 32
    shares = masks.mean(dim=(1, 2, 3))
    assert 0.1 < float(shares.min()) < float(shares.max()) < 0.45  # six strokes of 2 pixels of 48, some bent


def test_a_hole_is_a_square_in_the_middle() -> None:
    mask = Hole(16).fill(64, 64, 0)
    assert (float(mask.sum()), float(mask[:, 24:40, 24:40].sum())) == (256, 256)


def test_a_file_is_cropped_and_shrunk_as_a_picture_is(tmp_path: Path) -> None:
    picture = torch.zeros(1, 32, 48)
    picture[:, 8:24, 16:32] = 1
    images.save(tmp_path / "mask.png", picture, {})
    assert Given(tmp_path / "mask.png").fill(32, 48, 0).equal(picture)
    half = Given(tmp_path / "mask.png").fill(16, 16, 0) >= 0.5
    expected = torch.zeros(1, 16, 16, dtype=torch.bool)
    expected[:, 4:12, 4:12] = True
    assert half.equal(expected)


def test_every_picture_is_posed_with_its_cases_mask(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p", 2, 32)
    sources = find([tmp_path / "p"])
    for name, share in (("inpaint", 0.5), ("inpaint-hole4", 15 / 16), ("inpaint-scratch", 0.75)):
        (case,) = (case.fitted(True) for case in cases([name], 0.0).values())
        known = [
            problem_of(case, source, (3, 16, 16)).measurement.operator.singular_values.mean() for source in sources
        ]
        assert torch.stack(known).mean() == pytest.approx(share, abs=0.15 if name == "inpaint-scratch" else 1e-6)
        again = problem_of(case, sources[0], (3, 16, 16)).measurement
        assert again.fingerprint() == problem_of(case, sources[0], (3, 16, 16)).measurement.fingerprint()


def test_a_mask_that_marks_nothing_is_refused_at_once(tmp_path: Path) -> None:
    images.save(tmp_path / "mask.png", torch.zeros(1, 8, 8), {})
    with pytest.raises(ImageError, match="is black everywhere"):
        cases(["inpaint-mask"], mask=tmp_path / "mask.png")
