"""Training pictures, from folders and tars."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restoration.errors import ImageError
from restoration.pictures.sources import find
from restoration.training import pictures
from restoration.training.pictures import Batches, Form, Pictures, scaled

CROPS = Form(16, 3, crop=True)
WHOLE = Form(16, 3, crop=False)


def test_a_tar_gives_what_its_folder_gives(photographs: Path, as_tar: Callable[[str], Path]) -> None:
    tar = as_tar("w")
    a, b = Pictures(find([photographs]), CROPS), Pictures(find([tar]), CROPS)
    assert len(a) == len(b) == 12
    assert all(np.array_equal(a[i], b[i]) for i in range(12))
    assert len(find([photographs, tar])) == 24


def test_hidden_files_and_other_files_are_no_pictures(photographs: Path) -> None:
    (photographs / ".hidden.png").write_bytes(b"")
    (photographs / "notes.txt").write_text("")
    (photographs / "deeper").mkdir()
    (photographs / "00.png").rename(photographs / "deeper" / "00.PNG")
    assert [source.name for source in find([photographs])][-1] == "deeper/00.PNG"
    assert len(find([photographs])) == 12


def test_damaged_and_small_pictures_are_skipped_and_counted(photographs: Path) -> None:
    (photographs / "03.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 8)).save(photographs / "04.png")
    found = Pictures(find([photographs]), WHOLE)
    assert len(found) == 10
    assert found.skipped == [
        "03.png: is not a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PNM, DICOM or NIfTI image, "
        "or its header is damaged",
        "04.png: 40 x 8 is smaller than --size 16",
    ]


@pytest.mark.parametrize("what", ["nothing", "compressed", "text"])
def test_what_holds_no_pictures_is_refused_in_one_line(
    what: str, as_tar: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "data.tar"
    if what == "compressed":
        as_tar("w:gz")
    elif what == "text":
        path.write_text("hello " * 1000)
    with pytest.raises(ImageError, match=r"data\.tar: ") as error:
        find([path])
    assert "\n" not in str(error.value)


def test_a_whole_picture_is_the_square_of_its_middle(tmp_path: Path) -> None:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 16:48] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    only = Pictures(find([tmp_path]), WHOLE)[0]
    assert only.shape == (3, 16, 16)
    assert (only == 200).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGB", 1)])
def test_grey_becomes_colour_and_colour_grey(mode: str, channels: int, tmp_path: Path) -> None:
    Image.new(mode, (16, 16), 60 if mode == "L" else (30, 60, 90)).save(tmp_path / "a.png")
    picture = Pictures(find([tmp_path]), Form(16, channels, crop=False))[0]
    assert picture.shape == (channels, 16, 16)
    assert (picture == 60).all()


def test_crops_lie_anywhere_in_the_picture_and_only_there() -> None:
    position = np.stack([np.arange(20)[:, None] + np.zeros(24), np.zeros(20)[:, None] + np.arange(24)] * 2)[:3]
    draw = np.random.default_rng(0)
    corners = {tuple(CROPS.view(position.astype(np.uint8), draw)[:2, 0, 0]) for _ in range(2000)}
    assert corners == {(top, left) for top in range(5) for left in range(9)}


def test_held_out_ones_are_chosen_by_name_and_never_trained_on(photographs: Path) -> None:
    found = Pictures(find([photographs]), CROPS)
    held_out = found.held_out()
    assert len(held_out) == 2  # a fifth of 12
    assert [found.names[i] for i in held_out] == [Pictures(find([photographs]), WHOLE).names[i] for i in held_out]
    kept = sorted(set(range(12)) - set(held_out))
    found._pixels[held_out[0]] = None  # whoever asks for it would decode it again
    found._sources[held_out[0]] = None  # type: ignore[call-overload]
    batches = iter(Batches(found, kept, 5, flip=False, seed=(0,)))
    assert all(next(batches).shape == (5, 3, 16, 16) for _ in range(10))


def test_every_round_shows_every_picture_once_in_another_order(tmp_path: Path) -> None:
    for i in range(6):
        Image.new("RGB", (16, 16), (i, i, i)).save(tmp_path / f"{i}.png")
    batches = iter(Batches(Pictures(find([tmp_path]), WHOLE), range(6), 6, flip=True, seed=(1,)))
    rounds = [next(batches)[:, 0, 0, 0].tolist() for _ in range(5)]
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1


def test_half_of_the_pictures_are_mirrored_if_asked(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = Pictures(find([tmp_path]), WHOLE)
    left = next(iter(Batches(found, [0], 400, flip=True, seed=(0,))))[:, 0, 0, 0] == 255
    assert 150 < int(left.sum()) < 250  # five standard deviations of a fair coin
    assert bool((next(iter(Batches(found, [0], 50, flip=False, seed=(0,))))[:, 0, 0, 0] == 255).all())


def test_pictures_beyond_the_memory_kept_are_decoded_again(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_kept = Pictures(find([photographs]), WHOLE)
    monkeypatch.setattr(pictures, "KEPT_BYTES", 3000)
    some_kept = Pictures(find([photographs]), WHOLE)
    assert some_kept.again == 9  # of 16 × 16 × 3 bytes three fit
    assert all(np.array_equal(all_kept[i], some_kept[i]) for i in range(12))


def test_of_photographs_larger_than_their_share_of_memory_a_part_is_kept(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pictures(find([photographs]), CROPS)
    monkeypatch.setattr(pictures, "KEPT_BYTES", 12 * 18 * 18 * 3)
    parts = Pictures(find([photographs]), CROPS)
    assert (whole.cut, parts.cut, parts.again) == (0, 12, 0)
    assert all(parts[i].shape == (3, 18, 18) for i in range(12))
    assert np.array_equal(parts[3], Pictures(find([photographs]), CROPS)[3])
    places = {(top, left) for top in range(3) for left in range(7)}
    assert any(np.array_equal(parts[3], whole[3][:, y : y + 18, x : x + 18]) for y, x in places)


def test_a_picture_that_went_away_is_passed_over(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "KEPT_BYTES", 0)
    found = Pictures(find([photographs]), WHOLE)
    (photographs / "05.png").unlink()
    assert next(iter(Batches(found, range(12), 24, flip=False, seed=(0,)))).shape == (24, 3, 16, 16)
    for file in photographs.iterdir():
        file.unlink()
    with pytest.raises(ImageError, match="100 pictures in a row cannot be read any more"):
        next(iter(Batches(found, range(12), 1, flip=False, seed=(0,))))


def test_what_a_command_writes_among_its_data_is_no_data(photographs: Path) -> None:
    (photographs / "mine" / "training").mkdir(parents=True)
    (photographs / "00.png").rename(photographs / "mine" / "training" / "samples.png")
    assert len(find([photographs])) == 12
    assert len(find([photographs], leave_out=photographs / "mine")) == 11


def test_odd_members_of_a_tar_are_left_out_and_a_cut_one_is_told(
    tmp_path: Path, as_tar: Callable[[str], Path]
) -> None:
    tar = as_tar("w")
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(ImageError, match="the tar is cut short"):
        find([tar])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="is neither a folder nor a file"):
        find([tmp_path / "pipe"])


def test_bytes_span_the_models_range() -> None:
    assert scaled(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
    every = torch.arange(256, dtype=torch.uint8)
    assert scaled(every).equal(every.float() / 127.5 - 1)  # x/255 doubled is x/127.5 rounded once: every bit
