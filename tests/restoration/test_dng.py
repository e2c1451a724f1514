"""A sensor's mosaic comes out of a DNG with its levels, pattern and orientation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import running
import tifffile
import torch

from degradations import Mosaic
from restoration.errors import ImageError
from restoration.pictures import images
from restoration.tasks import Task, pose

dng = pytest.importorskip("restoration.pictures.dng")
pytest.importorskip("rawpy")

BLACK, WHITE = 512, 16383
CFA, LINEAR = 32803, 34892
EVEN = ((1, 1), (1, 1), (1, 1))
RGGB = (0, 1, 1, 2)


def write(
    path: Path,
    mosaic: np.ndarray,
    pattern: tuple[int, ...] = RGGB,
    neutral: tuple[tuple[int, int], ...] = EVEN,
    photometric: int = CFA,
    **tags: Any,
) -> None:
    """The least that makes a DNG 1.4; tags of it by their number, as ``tag274=(3, 1, 6)``: type, count, value."""
    identity = [(int(i == k), 1) for i in range(3) for k in range(3)]
    known = {
        50706: (1, 4, (1, 4, 0, 0)),
        50708: (2, 0, "A camera of the tests"),
        33421: (3, 2, (2, 2)),
        33422: (1, len(pattern), pattern),
        50710: (1, 3, (0, 1, 2)),
        50711: (3, 1, 1),
        50714: (4, 1, BLACK),
        50717: (4, 1, WHITE),
        50721: (10, 9, tuple(number for ratio in identity for number in ratio)),
        50778: (3, 1, 21),
        50728: (5, 3, tuple(number for ratio in neutral for number in ratio)),
        **{int(name.removeprefix("tag")): value for name, value in tags.items()},
    }
    extra = [(code, *value, True) for code, value in known.items()]
    tifffile.imwrite(path, mosaic.astype(np.uint16), photometric=photometric, extratags=extra, metadata=None)


def curve(linear: torch.Tensor) -> torch.Tensor:
    """sRGB's, of IEC 61966-2-1."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


def sensor(height: int = 48, width: int = 64) -> torch.Tensor:
    """(H, W) of whole numbers from black to white."""
    return torch.randint(BLACK, WHITE + 1, (height, width), generator=torch.Generator().manual_seed(0))


def test_levels_become_0_and_1_and_values_get_the_curve_of_pictures(tmp_path: Path) -> None:
    numbers = sensor()
    numbers[0, :2] = torch.tensor([BLACK, WHITE])
    write(tmp_path / "a.dng", numbers.numpy())
    picture, layout = dng.read(tmp_path / "a.dng")
    assert layout.pattern == "RGGB"
    assert picture.pixels.shape == (1, 48, 64)
    assert picture.pixels[0, 0, :2].tolist() == [0, pytest.approx(1, abs=1e-6)]
    wanted = curve((numbers - BLACK) / (WHITE - BLACK))
    # float32, and a power
    torch.testing.assert_close(picture.pixels[0], wanted, atol=1e-5, rtol=0)


def test_colours_are_balanced_pixel_by_pixel(tmp_path: Path) -> None:
    write(tmp_path / "a.dng", np.full((32, 32), BLACK + 1600), neutral=((1, 2), (1, 1), (2, 3)))
    picture, _ = dng.read(tmp_path / "a.dng")
    linear = 1600 / (WHITE - BLACK)
    for (row, column), gain in {(0, 0): 2.0, (0, 1): 1.0, (1, 0): 1.0, (1, 1): 1.5}.items():
        found = picture.pixels[0, row::2, column::2]
        torch.testing.assert_close(found, curve(torch.full_like(found, gain * linear)), atol=1e-5, rtol=0)


def test_the_pattern_is_that_of_the_active_area(tmp_path: Path) -> None:
    numbers = sensor()
    write(tmp_path / "a.dng", numbers.numpy(), tag50829=(4, 4, (3, 4, 47, 62)))  # top, left, bottom, right
    picture, layout = dng.read(tmp_path / "a.dng")
    # LibRaw begins at an even row: one down from the active area's corner, which is where RGGB is told of
    wanted = curve((numbers[4:47, 4:62] - BLACK) / (WHITE - BLACK))
    torch.testing.assert_close(picture.pixels[0], wanted, atol=1e-5, rtol=0)
    assert layout.pattern == "GBRG"


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_result_comes_out_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    clean = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    mosaic = Mosaic(clean.shape, "GRBG")(clean[None])[0, 0]
    numbers = (mosaic * (WHITE - BLACK)).round() + BLACK
    write(tmp_path / "a.dng", numbers.numpy(), pattern=(1, 0, 2, 1), tag274=(3, 1, orientation))
    task, picture = Task("demosaic", pattern="dng").opened(tmp_path / "a.dng")
    problem = pose(task, picture, (3, 16, 16))
    turned = torch.rot90(clean, turns, (1, 2))
    assert problem.finished(clean[None])[0].equal(turned)
    # the operator measures of the scene what the file holds
    torch.testing.assert_close(
        problem.measurement.operator(curve(clean)[None])[0], problem.measurement.y[0], atol=1e-3, rtol=0
    )


def restore(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    quick = ("--prior", "prior", "--allocation", "1,1", "--device", "cpu", "--seed", "1", "-o", "out.png")
    return running.restore(*arguments, *quick, capsys=capsys)


@pytest.fixture
def folder(tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny prior and files that are DNGs, or called so."""
    monkeypatch.chdir(tmp_path)
    Path("prior").symlink_to(tiny_prior)
    numbers = sensor(32, 40).numpy()
    write(Path("a.dng"), numbers, tag274=(3, 1, 6))
    write(Path("rgb.dng"), np.zeros((16, 16, 3)), photometric=LINEAR)
    write(Path("steps.dng"), numbers, tag50715=(10, 40, (1, 1) * 40))
    write(Path("white.dng"), numbers, tag50717=(4, 1, BLACK))
    Path("cut.dng").write_bytes(Path("a.dng").read_bytes()[:500])
    images.save(Path("grey.png"), torch.rand(1, 16, 16), {})
    Path("png.dng").write_bytes(Path("grey.png").read_bytes())
    return tmp_path


def test_the_command_restores_a_dng_and_finds_its_result_again(folder: Path, capsys) -> None:
    code, out, _ = restore("a.dng", "--task", "demosaic", "--pattern", "dng", "--json", capsys=capsys)
    assert code == 0
    assert any("DNG, RGGB, balanced" in json.loads(line).get("message", "") for line in out.splitlines())
    assert images.load(Path("out.png")).shape == (3, 40, 32)
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert record["pattern"] == "dng"
    code, _, err = restore("a.dng", "--task", "demosaic", "--pattern", "dng", capsys=capsys)
    assert (code, "is done" in err) == (0, True)


def test_a_folder_s_dngs_are_restored(folder: Path, capsys) -> None:
    Path("in").mkdir()
    for name in ("a.dng", "grey.png"):
        Path(name).rename(Path("in") / name)
    given = ("--task", "demosaic", "--pattern", "dng", "--prior", "prior", "--allocation", "1", "--device", "cpu")
    code, _, err = running.restore("in", *given, "-o", "out/", capsys=capsys)
    assert code == 0
    assert "grey.png is left out: it is a picture, and this task reads .dng" in err
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


BAD = {
    "missing.dng": "missing.dng",
    "cut.dng": "cut.dng: is no DNG, or damaged",
    "png.dng": "png.dng: is no DNG, or damaged",
    "grey.png": "grey.png: is no DNG",
    "rgb.dng": "rgb.dng: holds no Bayer mosaic",
    "steps.dng": "steps.dng: has black levels that change across the sensor",
    "white.dng": "white.dng: has black levels",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_one_line(folder: Path, capsys, name: str) -> None:
    code, out, err = restore(name, "--task", "demosaic", "--pattern", "dng", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert BAD[name] in err
    assert not Path("out.png").exists()


@pytest.mark.parametrize("arguments", [("denoise", "--sigma", "0.1"), ("demosaic", "--pattern", "RGGB")])
def test_a_dng_is_no_picture_for_anything_else(folder: Path, capsys, arguments: tuple[str, ...]) -> None:
    code, _, err = restore("a.dng", "--task", *arguments, capsys=capsys)
    assert (code, err.count("\n")) == (2, 1), err
    assert "a.dng: " in err


def test_a_simulated_mosaic_is_of_no_file(folder: Path, capsys) -> None:
    code, _, err = restore("grey.png", "--task", "demosaic", "--pattern", "dng", "--simulate", capsys=capsys)
    assert (code, err.count("\n"), "tell one" in err) == (2, 1, True)


def test_without_rawpy_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match=r"nested-restoration\[raw\]"):
        dng.read(Path("a.dng"))
