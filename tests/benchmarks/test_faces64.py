"""The face table and the contact sheet, on pictures made here."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.chunk import stacked
from benchmarks.faces64 import TASKS, faces, measure, psnr, row
from benchmarks.sheet import Cell, contact_sheet
from degradations import Inpainting
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(3):
            content = io.BytesIO()
            Image.fromarray(np.full((32, 32, 3), 40 * (i + 1), np.uint8)).save(content, "PNG")
            member = tarfile.TarInfo(f"{i}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    return path


def test_pictures_come_from_the_tar_in_order(tar: Path) -> None:
    pictures = faces(tar, 2, 16)
    assert pictures.shape == (2, 3, 16, 16)
    assert pictures[1].unique().tolist() == pytest.approx([80 / 255])


def test_a_row_has_every_column_and_orders_them_as_they_must(tar: Path) -> None:
    originals = faces(tar, 3, 16)
    i = torch.arange(16.0)
    smooth = torch.exp(-((i[:, None] - i) ** 2) / 200)
    prior = GaussianPrior(torch.zeros(3, 16, 16), torch.kron(torch.ones(3, 3), torch.kron(smooth, smooth)) * 0.3)
    scores = row(Restorer(prior).posterior(stacked(measure(TASKS["SR4"], originals))), originals)
    assert set(scores) == {
        *(f"nested {n}" for n in (10, 20, 30)),
        *(f"plain {n}" for n in (10, 20, 30)),
        *(f"drawn {n}" for n in (10, 20)),
    }
    # flat pictures under an exact smooth prior: the block means say nearly everything
    assert scores["plain 30"] > 30
    assert scores["nested 10"] > scores["plain 10"]
    assert scores["drawn 10"] > scores["plain 10"]


def test_every_picture_keeps_its_own_mask(tar: Path) -> None:
    operator = stacked(measure(TASKS["inpaint, 50 %"], faces(tar, 3, 16))).operator
    assert isinstance(operator, Inpainting)
    assert operator.batch_size == 3
    assert not operator.singular_values[0].equal(operator.singular_values[1])


def test_psnr_is_the_mean_of_decibels_on_clamped_pictures() -> None:
    original = torch.zeros(2, 1, 4, 4)
    restored = torch.stack([torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 1.5)])
    assert psnr(original, restored) == pytest.approx((20 + 0) / 2)


def test_a_contact_sheet_shows_every_pixel() -> None:
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    sheet = contact_sheet("title", ["a", "b"], [("row", [Cell(picture, "20 dB"), Cell(picture[:1])])], side=16)
    colours = {tuple(colour) for colour in np.asarray(sheet).reshape(-1, 3)}
    assert {tuple(c) for c in (picture * 255).round().byte().flatten(1).T.tolist()} <= colours
