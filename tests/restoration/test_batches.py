"""Folders of pictures: what is read, what is left out with a word, and what results are called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restoration.errors import OutputError
from restoration.pictures import images, inputs, outputs
from restoration.pictures.inputs import Input


def picture(path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path, **options)  # type: ignore[arg-type]


def names(found: inputs.Found) -> list[str]:
    return [str(given.below / given.file.name) for given in found.inputs]


def test_what_is_no_picture_is_left_out_with_a_word(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp", "c.gif", "d.avif", "e.jp2"):
        picture(tmp_path / name)
    (tmp_path / "raw.cr2").touch()
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    picture(tmp_path / "deep" / "f.png")
    found = inputs.expand([tmp_path])
    assert names(found) == ["a.png", "b.bmp", "c.gif", "d.avif", "e.jp2"]
    assert {path.name: why for path, why in found.left_out} == {
        "raw.cr2": "is no kind of picture that is read",
        "loop.png": "is no file, or a link that leads to none",
        "deep": "is a folder (--recursive reads it)",
    }


def test_recursive_keeps_the_tree(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "deep" / "er" / "a.png")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    found = inputs.expand([tmp_path / "in"], recursive=True)
    assert names(found) == ["a.png", "deep/er/a.png"]
    targets = outputs.plan(found.inputs, tmp_path / "out", folder=True)
    assert [str(path.relative_to(tmp_path)) for path in targets.values()] == ["out/a.png", "out/deep/er/a.png"]


def test_our_own_results_in_the_folder_of_results_are_no_inputs(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    images.write(tmp_path / "a.png", images.read(tmp_path / "a.jpg"), {"seed": 1})
    assert names(inputs.expand([tmp_path], own=[tmp_path])) == ["a.jpg"]
    assert names(inputs.expand([tmp_path])) == ["a.jpg", "a.png"]  # elsewhere they may be restored again


def planned(names: list[str], **options: object) -> list[str]:
    given = [Input(Path("in") / name) for name in names]
    return [path.name for path in outputs.plan(given, Path("out"), folder=True, **options).values()]  # type: ignore[arg-type]


def test_names_cannot_clash() -> None:
    assert planned(["a.png", "b.jpg"]) == ["a.png", "b.png"]
    assert planned(["a.png", "a.jpg", "A.webp", "a-png.gif"]) == [
        "a-png-1.png",
        "a-jpg.png",
        "A-webp.png",
        "a-png.png",
    ]
    assert planned(["a.tif", "a.png"]) == ["a.tif", "a.png"]
    given = [Input(Path("in/a.png")), Input(Path("in/a.jpg"))]
    beside = outputs.plan(given, Path("in"), folder=True).values()  # results among the inputs
    assert [path.name for path in beside] == ["a-png.png", "a-jpg.png"]


def test_format_and_suffix_decide_names() -> None:
    assert planned(["a.png", "b.bmp"], form="jpg", name_suffix="-restored") == ["a-restored.jpg", "b-restored.jpg"]
    assert planned(["a.jpg", "b.bmp", "c.TIF"], form="same") == ["a.jpg", "b.png", "c.tif"]


def test_an_output_is_a_folder_where_it_is_typed_as_one(tmp_path: Path) -> None:
    assert outputs.is_folder(tmp_path / "new.folder", batch=False, typed_so=True)
    assert not outputs.is_folder(tmp_path / "new.png", batch=False, typed_so=False)
    with pytest.raises(OutputError, match="several inputs need a folder"):
        outputs.is_folder(tmp_path / "new.png", batch=True, typed_so=False)


def test_a_name_too_long_for_a_file_is_found_before_the_work() -> None:
    with pytest.raises(OutputError, match="longer than 255 bytes"):
        planned(["ä" * 126 + ".png"])


def test_left_out_and_notes_are_events() -> None:
    from restoration.events import LeftOut, Noted

    for event, name in ((LeftOut("a.cr2", "is no picture"), "left_out"), (Noted("a.png", "is CMYK"), "note")):
        assert json.loads(event.json())["event"] == name
