"""Image files: what `load` reads exactly, what it refuses in one line, and what `save` leaves behind."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from imagecodecs import png_encode
from PIL import Image, ImageOps

from nested.files import atomic_write
from restoration.errors import ImageError, OutputError, RestorationError
from restoration.pictures import images, writing

LOSSLESS = (".png", ".webp", ".tif")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".tif": "TIFF"}
RECORD = {"seed": 3, "prior": "Tête à claques\n\0", "allocation": [10, 10, 10], "sigma": 0.05, "mask": None}


def _noise(*shape: int, dtype: Any = np.uint8) -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def _write(path: Path, pixels: npt.NDArray[Any] | Image.Image, **options: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if path.suffix == ".webp":
        options.setdefault("lossless", True)
    image.save(path, FORMATS[path.suffix], **options)
    return path


def _levels(path: Path, white: int = 255) -> npt.NDArray[Any]:
    """What `load` returns, as integers, (H,W) or (H,W,3)."""
    loaded = images.load(path)
    assert loaded.dtype == torch.float32
    assert loaded.ndim == 3
    assert loaded.is_contiguous()
    levels = loaded.double().numpy() * white
    assert np.abs(levels - levels.round()).max() < 0.01  # float32 of a level; 16 bits leave an error of 0.004
    levels = levels.round().astype(np.int64)
    return levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, 2)


def _refusal(path: Path) -> str:
    """The one line with which `load` refuses a file, without the name it begins with."""
    with pytest.raises(ImageError) as caught:
        images.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def _png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *more, (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# what is read


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_eight_bit_colour_is_read_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = _noise(7, 5, 3)
    assert np.array_equal(_levels(_write(tmp_path / f"a{suffix}", pixels)), pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_has_one_channel(tmp_path: Path, suffix: str) -> None:
    pixels = _noise(7, 5)
    assert np.array_equal(_levels(_write(tmp_path / f"a{suffix}", pixels)), pixels)


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jpg", _noise(16, 24, 3))
    assert np.array_equal(_levels(path), np.asarray(Image.open(path)))
    assert images.load(_write(tmp_path / "grey.jpg", _noise(16, 24))).shape == (1, 16, 24)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_every_bit(tmp_path: Path, suffix: str) -> None:
    pixels = _noise(7, 5, dtype=np.uint16)
    assert np.array_equal(_levels(_write(tmp_path / f"a{suffix}", pixels), 65535), pixels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiff_keeps_every_bit(
    tmp_path: Path, byteorder: Any, options: dict[str, Any], planar: str
) -> None:
    pixels, path = _noise(40, 33, 3, dtype=np.uint16), tmp_path / "a.tif"
    stored = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
    options |= {"rowsperstrip": 7, "photometric": "rgb", "planarconfig": planar}
    tifffile.imwrite(path, stored, byteorder=byteorder, **options)
    assert np.array_equal(_levels(path, 65535), pixels)


@pytest.mark.parametrize("shape", [(9, 6), (9, 6, 3), (3, 9, 6)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_tiff_returns_the_numbers_it_holds(tmp_path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    values = np.random.default_rng(1).normal(0.5, 1, shape).astype(dtype)  # noisy: well outside [0, 1]
    planar = {"planarconfig": "separate"} if shape[0] == 3 else {}
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, tile=(16, 16), **planar)
    channels_first = values[None] if len(shape) == 2 else values if shape[0] == 3 else np.moveaxis(values, 2, 0)
    assert np.array_equal(images.load(tmp_path / "a.tif").numpy(), channels_first.astype(np.float32))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"])
@pytest.mark.parametrize("kind", ["L", "RGB", "I;16", "F", "1", "P"])
def test_every_common_tiff_compression_is_read(tmp_path: Path, compression: str, kind: str) -> None:
    if kind == "F":
        image = Image.fromarray(_noise(9, 11).astype(np.float32) / 255)
    elif kind == "I;16":
        image = Image.fromarray(_noise(9, 11, dtype=np.uint16))
    else:
        image = Image.fromarray(_noise(9, 11, 3)).convert(kind)
    path = _write(tmp_path / "a.tif", image, compression=compression)
    expected = image.convert({"1": "L", "P": "RGB"}.get(kind, kind))
    white = {"I;16": 65535, "F": 1}.get(kind, 255)
    channels = np.atleast_3d(np.asarray(expected, np.float64) / white)
    np.testing.assert_allclose(images.load(path).permute(1, 2, 0).numpy(), channels, atol=1e-6)  # float32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_tiff_is_inverted(tmp_path: Path, dtype: Any, compression: str | None) -> None:
    pixels, white = _noise(7, 5, dtype=dtype), int(np.iinfo(dtype).max)
    tifffile.imwrite(tmp_path / "a.tif", white - pixels, photometric="miniswhite", compression=compression)
    assert np.array_equal(_levels(tmp_path / "a.tif", white), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_inverted_too_where_pillow_decodes(tmp_path: Path, dtype: Any) -> None:
    pixels, white = _noise(7, 5, dtype=dtype), int(np.iinfo(dtype).max)
    path = _write(tmp_path / "a.tif", white - pixels, compression="tiff_lzw")
    data = path.read_bytes()
    black_is_zero = struct.pack("<HHII", 262, 3, 1, 1)
    assert data.count(black_is_zero) == 1
    path.write_bytes(data.replace(black_is_zero, struct.pack("<HHII", 262, 3, 1, 0)))
    assert np.array_equal(_levels(path, white), pixels)


@pytest.mark.parametrize(("mode", "suffix"), [("1", ".png"), ("P", ".png"), ("CMYK", ".jpg"), ("CMYK", ".tif")])
def test_other_modes_become_grey_or_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = _write(tmp_path / f"a{suffix}", Image.fromarray(_noise(16, 16, 3)).convert(mode))
    with Image.open(path) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("L" if mode == "1" else "RGB"))
    assert np.array_equal(_levels(path), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", "-lzw.tif"])
def test_orientation_tag_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_lzw"} if "lzw" in suffix else {}
    path = _write(tmp_path / f"a{suffix}", _noise(16, 24, 3), exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(_levels(path), expected)


def test_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    pixels = _noise(7, 5, 3)
    path = _write(tmp_path / "a.png", pixels).rename(tmp_path / "a.tif")
    assert np.array_equal(_levels(path), pixels)


def test_photograph_with_previews_behind_it_is_read(tmp_path: Path) -> None:
    photograph, preview = Image.fromarray(_noise(16, 24, 3)), Image.fromarray(_noise(8, 8, 3))
    path = tmp_path / "a.jpg"
    photograph.save(path, "MPO", save_all=True, append_images=[preview])
    assert images.load(path).shape == (3, 16, 24)


# what is refused


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_pixels_alone_of_a_transparent_picture_are_refused_with_advice(
    tmp_path: Path, suffix: str, mode: str
) -> None:
    image = Image.fromarray(_noise(8, 8, 4)).convert(mode)
    if (mode, suffix) == ("PA", ".png"):
        image = image.convert("RGBA")  # PNG has no palette with an alpha channel
    assert "flatten" in _refusal(_write(tmp_path / f"a{suffix}", image))


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_several_frames_are_refused_with_their_number(tmp_path: Path, suffix: str) -> None:
    first, *more = (Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 99, 200))
    path = _write(tmp_path / f"a{suffix}", first, save_all=True, append_images=more)
    assert "has 3 " in _refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(tmp_path: Path, bad: float) -> None:
    values = np.full((8, 8), 0.5, np.float32)
    values[3, 4] = bad
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert "NaN" in _refusal(tmp_path / "a.tif")


def test_floats_of_another_scale_are_refused_with_advice(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _noise(8, 8).astype(np.float32))
    assert "divide" in _refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32, np.complex64])
def test_numbers_of_unknown_white_are_refused(tmp_path: Path, dtype: Any, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((8, 8), dtype), compression=compression)
    assert "white is unknown" in _refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("side", [100_000, 9_000])  # beyond Pillow's own limit and between the two limits
def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_png(side, side, (b"IDAT", zlib.compress(b"\0" * 100))))
    assert "declares more than" in _refusal(path)


def _forged_tiff(path: Path, *tags: tuple[int, int, int]) -> Path:
    """An 8x8 TIFF whose header is made to say (code, count, value) for tags that held one number."""
    tifffile.imwrite(path, _noise(8, 8), rowsperstrip=8)
    data = path.read_bytes()
    for code, count, value in tags:
        (kind,) = (kind for kind in (3, 4) if struct.pack("<HHII", code, kind, 1, 8) in data)
        old = struct.pack("<HHII", code, kind, 1, 8)
        assert data.count(old) == 1
        data = data.replace(old, struct.pack("<HHII", code, 4, count, value))
    path.write_bytes(data)
    return path


def test_tiff_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = _forged_tiff(tmp_path / "a.tif", (256, 1, 100_000), (257, 1, 100_000))
    assert "declares more than" in _refusal(path)


def test_tiff_that_lists_widths_does_not_fill_memory(tmp_path: Path) -> None:
    # found by fuzzing: Python multiplies a list by a number by repeating it, here into 16 GB
    path = _forged_tiff(tmp_path / "a.tif", (256, 20, 8), (257, 1, 100_000_000))
    assert "several numbers" in _refusal(path)


def test_tiff_we_cannot_read_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3), np.float32), photometric="rgb")
    stored, lerc = struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 34887)
    path.write_bytes(path.read_bytes().replace(stored, lerc))
    assert "RGB, LERC" in _refusal(path)
    assert "uncompressed" in _refusal(path)


def test_strip_that_inflates_beyond_its_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2000, 100), np.uint8), compression="zlib", rowsperstrip=2000)
    data = path.read_bytes()
    tags = struct.pack("<HHI", 257, 4, 1), struct.pack("<HHI", 278, 4, 1)  # now says 4 rows, and holds 2000
    for tag in tags:
        short = tag[:2] + struct.pack("<HI", 3, 1)
        found = tag if tag in data else short
        assert data.count(found) == 1
        data = data.replace(found + struct.pack("<I", 2000), found + struct.pack("<I", 4))
    path.write_bytes(data)
    assert "inflates" in _refusal(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("suffix", FORMATS)
def test_sides_under_two_pixels_are_refused(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    assert "at least 2" in _refusal(_write(tmp_path / f"a{suffix}", Image.new("RGB", size)))


def test_what_is_no_image_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in _refusal(tmp_path / "absent.png")
    assert "folder" in _refusal(tmp_path)
    for name, content, why in (("empty", b"", "empty"), ("text", b"hello\n" * 99, "not a PNG")):
        (tmp_path / name).write_bytes(content)
        assert why in _refusal(tmp_path / name)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", "TGA")
    assert "not a PNG" in _refusal(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "regular" in _refusal(tmp_path / "pipe.png")
    assert images.load.__doc__
    assert issubclass(ImageError, RestorationError)


# whatever the bytes


def _samples(folder: Path) -> list[Path]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, json.dumps(RECORD)
    colour = np.kron(_noise(4, 5, 3), np.ones((6, 6, 1), np.uint8))
    files = [_write(folder / f"a{suffix}", colour, exif=exif) for suffix in FORMATS]
    files.append(_write(folder / "palette.png", Image.fromarray(colour).convert("P")))
    files.append(_write(folder / "deep.png", _noise(20, 20, dtype=np.uint16)))
    files.append(_write(folder / "deflate.tif", colour, compression="tiff_adobe_deflate", exif=exif))
    files.append(_write(folder / "packbits.tif", colour, compression="packbits"))
    files.append(_write(folder / "lzw.tif", colour, compression="tiff_lzw"))
    tifffile.imwrite(
        folder / "deep-lzw.tif", _noise(20, 20, 3, dtype=np.uint16), compression="lzw", rowsperstrip=6
    )
    (folder / "deep-colour.png").write_bytes(png_encode(_noise(20, 20, 3, dtype=np.uint16)))
    options: dict[str, Any] = {"compression": "zlib", "rowsperstrip": 5, "photometric": "rgb"}
    tifffile.imwrite(folder / "float.tif", colour / np.float32(255), **options)
    tifffile.imwrite(folder / "tiles.tif", colour, tile=(16, 16), bigtiff=True, photometric="rgb")
    made = ("float.tif", "tiles.tif", "deep-lzw.tif", "deep-colour.png")
    return [*files, *(folder / name for name in made)]


def _outcome(path: Path) -> torch.Tensor | None:
    """An image, or None where the file was refused in one line; anything else fails the test that asks."""
    try:
        return images.load(path)
    except ImageError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
        return None


def test_truncated_file_is_refused_or_lost_no_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for sample in _samples(tmp_path):
        data, whole, path = sample.read_bytes(), images.load(sample), tmp_path / "cut"
        for length in (*range(0, 40, 3), *rng.integers(40, len(data), 25), len(data) - 1):
            path.write_bytes(data[:length])
            loaded = _outcome(path)
            assert loaded is None or torch.equal(loaded, whole), f"{sample.name} cut to {length}"
            images.read_record(path)


def test_corrupted_file_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    rng, refused = np.random.default_rng(3), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sample in _samples(tmp_path):
            data, path = sample.read_bytes(), tmp_path / "flipped"
            for trial in range(60):
                flipped = bytearray(data)
                for at in rng.integers(0, len(data) if trial % 2 else min(len(data), 300), 1 + trial % 4):
                    flipped[at] = rng.integers(256)
                path.write_bytes(flipped)
                refused += _outcome(path) is None
                images.read_record(path)
    assert refused > 100  # the flips do reach the decoders


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0"])
def test_noise_behind_a_true_beginning_is_refused(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "a").write_bytes(magic + _noise(500).tobytes())
    assert _refusal(tmp_path / "a")


@pytest.mark.parametrize("at", range(60, 140, 7))
def test_every_byte_of_a_png_is_covered_by_its_checksums(tmp_path: Path, at: int) -> None:
    path = _write(tmp_path / "a.png", _noise(9, 9, 3))
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    assert _refusal(path)


@pytest.mark.parametrize("error", [MemoryError(), SyntaxError("a\nb"), struct.error("short"), RecursionError()])
def test_any_exception_of_a_decoder_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    path = _write(tmp_path / "a.png", _noise(8, 8))
    monkeypatch.setattr(Image, "open", fail)
    assert "damaged" in _refusal(path)
    assert images.read_record(path) is None


# what is written


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", writing.FORMATS)
def test_saved_image_comes_back_with_its_record(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"out{suffix.upper()}"
    image = torch.linspace(0, 1, channels * 30 * 20).reshape(channels, 30, 20)
    images.save(path, image, RECORD)
    loaded = images.load(path)
    assert loaded.shape == ((3, 30, 20) if suffix == ".webp" else image.shape)  # WebP knows no grey
    # half a level of 8 bits, or what JPEG at quality 95 may lose of a smooth image
    assert (loaded - image).abs().max() <= (0.02 if "jp" in suffix else 0.5 / 255 + 1e-6)
    assert images.read_record(path) == RECORD
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_pixels_are_clamped_and_rounded(tmp_path: Path) -> None:
    image = torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.5], dtype=torch.float64).reshape(1, 2, 3)
    images.save(tmp_path / "a.png", image.requires_grad_(), {})
    assert _levels(tmp_path / "a.png").ravel().tolist() == [0, 0, 0, 1, 255, 255]


def test_png_names_the_software_and_holds_plain_json(tmp_path: Path) -> None:
    images.save(tmp_path / "a.png", torch.zeros(3, 4, 4), RECORD)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Software"] == "nested-restoration"
        assert json.loads(image.info["nested-restoration"]) == RECORD


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_other_formats_hold_the_json_in_an_exif_tag_and_leave_the_description_alone(
    tmp_path: Path, suffix: str
) -> None:
    images.save(tmp_path / f"a{suffix}", torch.zeros(3, 4, 4), RECORD)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert json.loads(image.getexif()[65042]) == RECORD
        assert 0x010E not in image.getexif()


def test_files_of_others_hold_no_record(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _noise(8, 8))  # writes JSON of its own as the description
    (tmp_path / "a.txt").write_text("{}")
    for path in (tmp_path / "a.tif", _write(tmp_path / "b.png", _noise(8, 8)), tmp_path / "a.txt"):
        assert images.read_record(path) is None
    with pytest.raises(ImageError, match="No such file"):
        images.read_record(tmp_path / "absent.png")


def test_record_too_long_for_jpeg_is_an_output_error(tmp_path: Path) -> None:
    record = {"mask": "x" * 70_000}
    with pytest.raises(OutputError, match=r"save as \.png"):
        images.save(tmp_path / "a.jpg", torch.zeros(3, 4, 4), record)
    for suffix in LOSSLESS:
        images.save(tmp_path / f"a{suffix}", torch.zeros(3, 4, 4), record)
        assert images.read_record(tmp_path / f"a{suffix}") == record


@pytest.mark.parametrize("name", ["a.gif", "a", ".png", "absent/a.png", "file/a.png", "folder.png", "wide.webp"])
def test_output_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    image = torch.zeros(1, 2, 20_000 if name == "wide.webp" else 2)
    with pytest.raises(OutputError) as caught:
        images.save(tmp_path / name, image, {})
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert {item.name for item in tmp_path.iterdir()} == {"file", "folder.png"}


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (torch.zeros(3, 4), ValueError),
        (torch.zeros(4, 4, 4), ValueError),
        (torch.zeros(3, 0, 4), ValueError),
        (torch.full((1, 4, 4), torch.nan), ValueError),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError),
        (np.zeros((3, 4, 4), np.float32), TypeError),
    ],
)
def test_wrong_image_is_the_callers_error(tmp_path: Path, image: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="image must"):
        images.save(tmp_path / "a.png", image, {})


def test_failing_save_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    images.save(path, torch.zeros(3, 4, 4), {"run": 1})
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        images.save(path, torch.ones(3, 4, 4), {"run": 2})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_keeps_the_old_file_when_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        (part,) = (item.name for item in tmp_path.iterdir() if item != path)
        assert part.startswith(".")
        assert part.endswith(".part")
        raise error

    with pytest.raises(error):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_follows_the_umask(tmp_path: Path) -> None:
    write: Callable[[BinaryIO], object] = lambda file: file.write(b"new")  # noqa: E731
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "state", write)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o640


def test_find_lists_images_of_one_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.tiff", ".hidden.png", "notes.txt", "d.webp", "e.bmp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "deep.png").touch()
    assert [path.name for path in images.find(tmp_path)] == ["a.jpeg", "b.PNG", "c.tiff", "d.webp", "e.bmp"]
    with pytest.raises(ImageError, match="absent"):
        images.find(tmp_path / "absent")


def test_reading_a_record_decodes_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    text = b"nested-restoration\0" + json.dumps(RECORD).encode()
    path.write_bytes(_png(10_000, 10_000, (b"tEXt", text), (b"IDAT", io.BytesIO(b"broken").getvalue())))
    assert images.read_record(path) == RECORD
