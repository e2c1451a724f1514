"""What a file says beside its pixels is read, travels with the picture, and is written again."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from imagecodecs import png_decode, png_encode
from PIL import Image, ImageCms, PngImagePlugin

from restoration.errors import ImageError
from restoration.pictures import colour, header, images, png, writing
from restoration.pictures.picture import Depth, Picture

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def camera() -> Image.Exif:
    """What a camera writes, and a photographer after it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x010E] = 6, "Nikon", "A caption"
    exif[0x8298] = "© Zoë".encode()
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x927C], details[0xA002], details[0xA003] = "2020:01:01 00:00:00", b"maker", 24, 16
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def wide() -> bytes:
    """A profile of another space than sRGB: its primaries changed places."""
    data = bytearray(SRGB)
    red, green = data.index(b"rXYZ", 128), data.index(b"gXYZ", 128)
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def grey_profile() -> bytes:
    """Gamma 1 grey, as ICC.1 lays it out: three tags, no more."""
    curve, white = b"curv" + bytes(8), b"XYZ " + bytes(4) + bytes.fromhex("0000f6d6000100000000d32d")
    text = b"desc" + bytes(4) + (2).to_bytes(4, "big") + b"g\0" + bytes(78)
    at, table, body = 128 + 4 + 3 * 12, b"", b""
    for name, tag in ((b"kTRC", curve), (b"wtpt", white), (b"desc", text)):
        padded = tag + bytes(-len(tag) % 4)
        table += name + (at + len(body)).to_bytes(4, "big") + len(padded).to_bytes(4, "big")
        body += padded
    size = at + len(body)
    head = size.to_bytes(4, "big") + bytes(4) + bytes.fromhex("02100000") + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    head += bytes(28) + bytes.fromhex("0000f6d6000100000000d32d") + bytes(48)
    return head + (3).to_bytes(4, "big") + table + body


def written(tmp_path: Path, picture: Picture, suffix: str = ".png", **options: Any) -> Picture:
    images.write(tmp_path / f"out{suffix}", picture, {"seed": 1}, **options)
    assert images.read_record(tmp_path / f"out{suffix}") == {"seed": 1}
    return images.read(tmp_path / f"out{suffix}")


# depth


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_read_and_written_exactly(tmp_path: Path, suffix: str, channels: int) -> None:
    samples = noise(9, 7, channels, dtype=np.uint16)
    path = tmp_path / f"in{suffix}"
    if suffix == ".png":
        path.write_bytes(png_encode(samples if channels > 1 else samples[..., 0]))
    else:
        extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
        kind = "rgb" if channels > 2 else "minisblack"
        stored = samples if channels > 1 else samples[..., 0]
        tifffile.imwrite(path, stored, photometric=kind, planarconfig="contig", compression="lzw", **extra)
    picture = images.read(path)
    assert picture.depth is Depth.SIXTEEN
    again = written(tmp_path, picture, suffix)
    assert again.pixels.equal(picture.pixels)
    assert (again.alpha is None) == (channels in (1, 3))
    assert again.alpha is None or (picture.alpha is not None and again.alpha.equal(picture.alpha))
    levels = (picture.pixels.double() * 65535).round().numpy()
    assert np.array_equal(np.moveaxis(levels, 0, 2), samples[..., : 3 if channels > 2 else 1])
    if suffix == ".png":
        assert png_decode((tmp_path / "out.png").read_bytes()).dtype == np.uint16


def test_transparent_colour_of_sixteen_bits_becomes_alpha(tmp_path: Path) -> None:
    samples = noise(6, 5, 3, dtype=np.uint16)
    data = png_encode(samples)
    key = samples[2, 3].astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(data[:33] + png.chunk(b"tRNS", key) + data[33:])
    alpha = images.read(tmp_path / "a.png").alpha
    assert alpha is not None
    assert np.argwhere(alpha[0].numpy() == 0).tolist() == [[2, 3]]


def test_floats_stay_floats_in_tiff(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((9, 6, 3), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    picture = images.read(tmp_path / "a.tif")
    assert written(tmp_path, picture, ".tif").pixels.equal(picture.pixels)
    assert float((written(tmp_path, picture, ".png").pixels - picture.pixels).abs().max()) < 0.51 / 65535


@pytest.mark.parametrize(
    ("suffix", "said"),
    [(".png", "PNG holds 16"), (".tif", ""), (".jpg", "JPEG holds 8"), (".webp", "WEBP holds 8")],
)
def test_a_format_says_what_it_loses(suffix: str, said: str) -> None:
    told = writing.losses(Picture(torch.zeros(3, 4, 4), depth=Depth.FLOAT), suffix)
    assert "".join(told).startswith(said)
    assert bool(told) == bool(said)
    assert writing.losses(Picture(torch.zeros(3, 4, 4)), suffix) == ()


# colour


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("given", [".png", ".jpg", ".tif"])
def test_a_colour_profile_is_carried(tmp_path: Path, given: str, suffix: str) -> None:
    path = tmp_path / f"in{given}"
    Image.fromarray(np.full((8, 8, 3), (28, 200, 60), np.uint8)).save(path, icc_profile=wide())
    picture = images.read(path)
    again = written(tmp_path, picture, suffix)
    assert picture.profile == again.profile == wide()
    with Image.open(path) as before, Image.open(tmp_path / f"out{suffix}") as after:
        shown = [
            np.asarray(ImageCms.profileToProfile(
                image.convert("RGB"), io.BytesIO(image.info["icc_profile"]), io.BytesIO(SRGB)
            ), int)
            for image in (before, after)
        ]  # fmt: skip
    assert np.abs(shown[0] - shown[1]).max() <= (8 if ".jpg" in (given, suffix) else 0)  # JPEG's rounding


def test_a_damaged_or_foreign_profile_is_left_out_with_a_word(tmp_path: Path) -> None:
    image = Image.fromarray(noise(8, 8, 3))
    for profile, said in ((b"no profile", "damaged"), (grey_profile(), "is of GRAY, not of RGB")):
        image.save(tmp_path / "a.png", icc_profile=profile)
        picture = images.read(tmp_path / "a.png")
        assert picture.profile is None
        assert said in picture.notes[0]


def test_cmyk_becomes_srgb_with_a_word(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8, 3)).convert("CMYK").save(tmp_path / "a.jpg")
    picture = images.read(tmp_path / "a.jpg")
    assert picture.notes == ("is CMYK; converted to sRGB",)
    assert picture.pixels.shape == (3, 8, 8)


def test_grey_of_a_profile_becomes_srgbs_grey_where_colour_is_added() -> None:
    linear = torch.linspace(0.03, 1, 100).reshape(1, 10, 10)
    shown = colour.grey_in_srgb(linear, grey_profile())
    exact = torch.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    torch.testing.assert_close(shown, exact, atol=0.02, rtol=0)  # 256 levels of 8 bits, steep in the dark


def test_a_pngs_gamma_and_primaries_are_carried_to_png(tmp_path: Path) -> None:
    data = png_encode(noise(8, 8, 3))
    gamma = png.chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    (tmp_path / "a.png").write_bytes(data[:33] + gamma + data[33:])
    picture = images.read(tmp_path / "a.png")
    written(tmp_path, picture)
    assert gamma in (tmp_path / "out.png").read_bytes()
    assert "gamma" in writing.losses(picture, ".tif")[0]


# what a photographer wrote


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("given", [".png", ".jpg", ".webp", ".tif", "16.tif"])
def test_exif_xmp_and_resolution_are_kept_and_the_orientation_is_reset(
    tmp_path: Path, given: str, suffix: str
) -> None:
    path = tmp_path / f"in{given}"
    exif = camera()
    exif[282], exif[283], exif[296] = 300.0, 300.0, 2
    if given == "16.tif":
        texts = {0x010E: b"A caption", 0x010F: b"Nikon", 0x8298: "© Zoë".encode()}
        tifffile.imwrite(
            path, noise(16, 24, 3, dtype=np.uint16), photometric="rgb", resolution=(300, 300), metadata=None,
            resolutionunit="INCH", description=texts[0x010E],
            extratags=[(274, 3, 1, 6, True), (700, 1, len(XMP), XMP, True),
                       *((tag, 2, 0, texts[tag], True) for tag in (0x010F, 0x8298))],
        )  # fmt: skip
    else:
        options: dict[str, Any] = {"exif": exif, "dpi": (300, 300)}
        if given == ".png":
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        elif given == ".tif":
            tags = exif
            tags[700] = XMP
        else:
            options["xmp"] = XMP
        Image.fromarray(noise(16, 24, 3)).save(path, **options)
    if given.endswith(".tif"):  # Pillow leaves a camera's and a place's directory out of a TIFF
        directories = header.sub_directories(camera())
        path.write_bytes(writing._with_directories(path.read_bytes(), directories))
    picture = images.read(path)
    assert picture.pixels.shape == (3, 24, 16)
    again = written(tmp_path, picture, suffix)
    assert again.pixels.shape == (3, 24, 16)  # it is not turned twice
    assert again.header.resolution == (300, 300)
    assert again.header.xmp == XMP.replace(b'"6"', b'"1"')
    with Image.open(tmp_path / f"out{suffix}") as image:
        found = image.getexif()
        details, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    assert found.get(0x0112, 1) == 1
    assert (found[0x010F], found[0x010E]) == ("Nikon", "A caption")
    assert found[0x8298].encode("latin-1").rstrip(b"\0") == "© Zoë".encode()
    assert (details[0x9003], details[0x927C], place[1]) == ("2020:01:01 00:00:00", b"maker", "N")
    assert (details[0xA002], details[0xA003]) == (16, 24)  # of the picture that was written


def test_stripped_pictures_keep_colours_and_resolution_only(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8, 3)).save(
        tmp_path / "a.jpg", exif=camera(), xmp=XMP, dpi=(300, 300), icc_profile=wide()
    )
    again = written(tmp_path, images.read(tmp_path / "a.jpg").stripped(), ".jpg")
    assert (again.header.resolution, again.profile) == ((300, 300), wide())
    data = (tmp_path / "out.jpg").read_bytes()
    assert b"Nikon" not in data
    assert b"xmpmeta" not in data


def test_a_pngs_texts_are_carried_as_they_were(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Zoë")
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "a.png", pnginfo=info)
    picture = images.read(tmp_path / "a.png")
    assert picture.notes == ()
    again = written(tmp_path, picture)
    assert again.header.chunks == picture.header.chunks
    assert len(picture.header.chunks) == 2


# alpha


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_carried(tmp_path: Path, suffix: str, mode: str) -> None:
    samples = noise(8, 9, len(mode))
    Image.fromarray(samples).save(tmp_path / "a.png")
    picture = images.read(tmp_path / "a.png")
    again = written(tmp_path, picture, suffix)
    assert again.alpha is not None
    assert np.array_equal((again.alpha[0] * 255).round().numpy(), samples[..., -1])
    assert np.array_equal((again.pixels[0] * 255).round().numpy(), samples[..., 0])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "p.png"])
def test_opaque_alpha_is_dropped(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(noise(8, 8, 3)).convert("RGBA")
    if name == "p.png":
        image = image.convert("RGB").convert("P")
        image.info["transparency"] = b"\xff" * 256
    image.save(tmp_path / name, **({"lossless": True} if "webp" in name else {}))
    assert images.read(tmp_path / name).alpha is None
    assert images.load(tmp_path / name).shape == (3, 8, 8)


def test_multiplied_colours_are_divided_by_their_alpha(tmp_path: Path) -> None:
    samples = np.array([[[100, 50, 0, 128], [10, 20, 30, 255]], [[0, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["assocalpha"])
    picture = images.read(tmp_path / "a.tif")
    assert (picture.pixels[:, 0, 0] * 255).round().tolist() == [199, 100, 0]  # 100 · 255/128
    assert (picture.pixels[:, 0, 1] * 255).round().tolist() == [10, 20, 30]
    assert "alpha" in picture.notes[0]


def test_a_transparent_picture_is_shown_on_white_in_jpeg(tmp_path: Path) -> None:
    picture = Picture(torch.zeros(3, 8, 8), torch.zeros(1, 8, 8))
    assert "white" in writing.losses(picture, ".jpg")[0]
    assert float(written(tmp_path, picture, ".jpg").pixels.min()) == 1


def test_alpha_is_enlarged_with_the_picture() -> None:
    alpha = torch.linspace(0, 1, 8).expand(1, 8, 8)
    large = Picture(torch.zeros(3, 8, 8), alpha).like(torch.zeros(3, 32, 32)).alpha
    assert large is not None
    assert large.shape == (1, 32, 32)
    torch.testing.assert_close(large[0, :, 2:30].diff(dim=1).mean(), torch.tensor(1 / 28), atol=1e-3, rtol=0)


# damage beside the pixels


def test_a_wrong_checksum_beside_the_pixels_costs_no_pixel(tmp_path: Path) -> None:
    samples = noise(8, 8, 3)
    data = png_encode(samples)
    bad = bytearray(png.chunk(b"tIME", bytes(7)))
    bad[-1] ^= 1
    (tmp_path / "a.png").write_bytes(data[:33] + bytes(bad) + data[33:])
    picture = images.read(tmp_path / "a.png")
    assert np.array_equal((picture.pixels.permute(1, 2, 0) * 255).round().numpy(), samples)
    assert picture.notes == ("its tIME chunk has a wrong checksum and is left out",)


def test_a_text_bomb_is_carried_unopened(tmp_path: Path) -> None:
    data = png_encode(noise(8, 8, 3))
    bomb = png.chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(50_000_000)))
    (tmp_path / "a.png").write_bytes(data[:33] + bomb + data[33:])
    assert images.read(tmp_path / "a.png").notes == ()


def test_an_orientation_in_an_old_text_is_applied_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    blob = exif.tobytes()
    text = f"\nexif\n{len(blob):8}\n{blob.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text)
    Image.fromarray(noise(16, 24, 3)).save(tmp_path / "a.png", pnginfo=info)
    picture = images.read(tmp_path / "a.png")
    assert picture.pixels.shape == (3, 24, 16)
    assert written(tmp_path, picture).pixels.equal(picture.pixels)


@pytest.mark.parametrize(("name", "form"), [("a.bmp", "BMP"), ("a.gif", "GIF"), ("a.jp2", "JPEG2000"),
                                             ("a.avif", "AVIF"), ("a.ppm", "PPM")])  # fmt: skip
def test_what_pillow_reads_safely_is_read(tmp_path: Path, name: str, form: str) -> None:
    samples = np.kron(noise(2, 2, 3), np.ones((8, 8, 1), np.uint8))
    Image.fromarray(samples).save(tmp_path / name, form)
    loaded = images.load(tmp_path / name).permute(1, 2, 0).numpy() * 255
    assert np.abs(loaded - samples).mean() < 8  # AVIF is lossy, and GIF has 256 colours


def test_a_moving_gif_is_refused(tmp_path: Path) -> None:
    first, second = (Image.new("L", (8, 8), level) for level in (0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    with pytest.raises(ImageError, match="2 frames"):
        images.read(tmp_path / "a.gif")


LOAD = """
import resource, sys
from pathlib import Path
from restoration.pictures import images
import torch, imagecodecs, tifffile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = images.read(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_picture_is_in_memory_about_once(tmp_path: Path) -> None:
    """Of 16 million pixels: 192 MB as floats, and what the decoder holds beside them, 7 bytes a pixel."""
    Image.new("RGB", (4000, 4000), (9, 99, 199)).save(tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) / 1024 < (12 + 7) * 16 * 1.15
