"""``--task jpeg``: the numbers in JPEG files, and results that they may have been made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from degradations import JPEG
from degradations.blocks import SUBSAMPLINGS, level
from restoration.errors import ImageError
from restoration.pictures import images, jpeg
from restoration.tasks import Task, pose

PRIOR = (3, 32, 32)


def drawn(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture with slopes, edges and texture."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 12, (height, width))
    planes = [60 + 1.5 * rows + noise, 200 - columns + noise, 90 + 40 * np.sin(rows / 5 + columns / 9)]
    picture = Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, width // 2, height // 2), fill=(230, 40, 90))
    return picture.convert(mode)


def predicted(picture: Image.Image, file: jpeg.JPEGFile) -> torch.Tensor:
    """The coefficients that the operator, rounded, makes of the picture that a file was written from."""
    pixels = torch.from_numpy(np.atleast_3d(np.asarray(picture)) / 255).permute(2, 0, 1)
    around = (0, file.columns - picture.width, 0, file.rows - picture.height)
    padded = torch.nn.functional.pad(pixels[None], around, mode="replicate")
    operator = JPEG(padded.shape[1:], file.tables, file.subsampling).double()
    planes, rows, columns = operator.measurement_shape
    return (operator(padded)[0] - level(file.tables, planes).repeat(1, rows // 8, columns // 8)).round()


@pytest.mark.parametrize("size", [(64, 48), (61, 43)])
@pytest.mark.parametrize("kind", ["4:4:4", "4:2:2", "4:2:0", "grey", "progressive"])
@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_the_operator_predicts_what_a_file_holds(
    size: tuple[int, int], kind: str, quality: int, tmp_path: Path
) -> None:
    picture = drawn(*size, "L" if kind == "grey" else "RGB")
    options = {"subsampling": kind} if kind in SUBSAMPLINGS else {"progressive": kind == "progressive"}
    picture.save(tmp_path / "a.jpg", quality=quality, **options)
    file = jpeg.read(tmp_path / "a.jpg")
    assert (file.width, file.height) == size
    assert file.subsampling == (kind if kind in SUBSAMPLINGS else "4:4:4" if kind == "grey" else "4:2:0")
    # Blocks beyond the picture aside, which encoders fill as they like; whole samples are rounded before the
    # transform, which decides coefficients that are near a half: the finer the steps, the more.
    down, across = (side // 8 for side in file.block)
    rows, columns = size[1] // (8 * down) * 8, size[0] // (8 * across) * 8
    ours, theirs = (part[:, :rows, :columns] for part in (predicted(picture, file), file.coefficients))
    apart = (ours - theirs).abs()
    assert float(apart.max()) <= (1 if quality < 90 else 3)
    assert float((apart > 0).double().mean()) < {5: 0.004, 30: 0.02, 75: 0.05, 95: 0.25}[quality]


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_decoded_pixels_are_the_inverse_of_the_numbers(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    options = {} if kind == "grey" else {"subsampling": kind}
    drawn(61, 43, "L" if kind == "grey" else "RGB").save(path, quality=80, **options)
    problem = pose(*Task("jpeg").opened(path), PRIOR)
    assert problem.degraded.shape == (1 if kind == "grey" else 3, 43, 61)
    # Decoders interpolate chroma between its samples and cut colours at 0 and 255; a mean is not moved by that.
    apart = (problem.degraded - images.load(path)).abs().mean()
    assert float(apart) < (0.002 if kind in ("4:4:4", "grey") else 0.02)


@pytest.mark.parametrize("quality", [10, 50, 75, 90])
def test_the_error_of_rounding_is_known_from_the_file_alone(quality: int) -> None:
    clean = images.decode(_png(drawn(320, 240)), "drawn")
    problem = pose(Task("jpeg", simulate=True, quality=quality), clean, PRIOR)
    truth = problem.measurement.operator(problem.frame.pad(clean)[None]) - problem.measurement.y
    # The Laplacian is a model, and this picture's texture is Gaussian; measured: 0.99 to 1.15 times.
    assert problem.measurement.sigma == pytest.approx(float(truth.square().mean().sqrt()), rel=0.2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_restored_as_stored_and_come_out_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn(40, 56).save(tmp_path / "a.jpg", quality=90, exif=exif, subsampling="4:4:4")
    task, picture = Task("jpeg").opened(tmp_path / "a.jpg")
    assert picture.shape == (3, 56, 40)
    problem, upright = pose(task, picture, PRIOR), images.load(tmp_path / "a.jpg")
    assert problem.degraded.shape == upright.shape
    assert float((problem.degraded - upright).abs().mean()) < 0.002
    assert problem.task.kind.facts(upright)["reencoded"] > 0.99


@pytest.mark.parametrize("size", [(24, 20), (70, 33), (16, 16), (2, 90)])
def test_files_of_all_sizes_keep_their_blocks_in_the_frame(size: tuple[int, int], tmp_path: Path) -> None:
    drawn(*size).save(tmp_path / "a.jpg", quality=60)
    task, picture = Task("jpeg").opened(tmp_path / "a.jpg")
    problem = pose(task, picture, PRIOR)
    file, (top, left) = task.kind.file, (problem.frame.top, problem.frame.left)
    y = problem.measurement.y[0]
    shift = level(file.tables, len(y)).repeat(1, y.shape[1] // 8, y.shape[2] // 8)
    _, rows, columns = file.coefficients.shape
    inside = (y - shift)[:, top // 2 : top // 2 + rows, left // 2 : left // 2 + columns]
    # float32 transforms of values up to some hundred
    torch.testing.assert_close(inside.float(), file.coefficients, atol=1e-3, rtol=0)
    assert problem.measurement.sigma == file.rounding()


def test_a_settled_result_re_encodes_to_the_file(tmp_path: Path) -> None:
    drawn(48, 40).save(tmp_path / "a.jpg", quality=20)
    task, picture = Task("jpeg").opened(tmp_path / "a.jpg")
    problem = pose(task, picture, PRIOR)
    wrong = torch.rand(1, *problem.measurement.operator.image_shape, generator=torch.Generator().manual_seed(0))
    guess = 0.2 * wrong + 0.4  # nothing of the picture in it
    assert task.kind.facts(problem.crop(guess)[0])["reencoded"] < 0.95
    result = problem.finished(guess)[0]
    told = task.kind.facts(result)["reencoded"]
    assert told > 0.99
    again = jpeg.encoded(result, 20)  # Pillow's own word
    same = float((again.coefficients == task.kind.file.coefficients).float().mean())
    assert same == pytest.approx(told, abs=0.005)


def test_simulated_files_are_pillows(tmp_path: Path) -> None:
    clean = images.decode(_png(drawn(40, 40)), "drawn")
    problem = pose(Task("jpeg", simulate=True, quality=10), clean, PRIOR)
    drawn(40, 40).save(tmp_path / "a.jpg", quality=10)
    assert problem.task.kind.file.coefficients.equal(jpeg.read(tmp_path / "a.jpg").coefficients)
    assert problem.original is not None
    assert problem.original.equal(clean)
    assert problem.notes[-1].startswith("JPEG, 4:2:0, luma in steps from 50 to 255 of 255; rounding is taken as")
    by_name = pose(Task("jpeg10", simulate=True), clean, PRIOR).measurement
    assert by_name.y.equal(problem.measurement.y)


def test_grey_files_serve_colour_priors_and_colour_files_grey_ones(tmp_path: Path) -> None:
    drawn(40, 40, "L").save(tmp_path / "grey.jpg", quality=50)
    drawn(40, 40).save(tmp_path / "colour.jpg", quality=50)
    grey = pose(*Task("jpeg").opened(tmp_path / "grey.jpg"), PRIOR)
    assert grey.measurement.operator.image_shape == (3, 40, 40)
    assert grey.degraded.shape == (1, 40, 40)
    task, picture = Task("jpeg").opened(tmp_path / "colour.jpg")
    luma = pose(task, picture, (1, 32, 32))
    assert luma.measurement.operator.measurement_shape == (1, 48, 48)
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    assert float((luma.degraded - (weights * picture).sum(0)).abs().mean()) < 0.005
    assert task.kind.facts(luma.degraded)["reencoded"] > 0.99


def test_other_files_are_refused(tmp_path: Path) -> None:
    drawn(20, 20).save(tmp_path / "a.png")
    drawn(20, 20).convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    drawn(64, 64).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    for name, message in {
        "a.png": "is PNG: the task jpeg reads the numbers in a JPEG file",
        "cmyk.jpg": "has CMYK colours",
        "text.jpg": "is not a PNG, JPEG",
        "cut.jpg": "damaged or incomplete",
        "none.jpg": "No such file",
    }.items():
        with pytest.raises(ImageError, match=message) as told:
            Task("jpeg").opened(tmp_path / name)
        assert "\n" not in str(told.value)


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    drawn(48, 40).save(tmp_path / "whole.jpg", quality=50, progressive=True)
    whole, draw = (tmp_path / "whole.jpg").read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in draw.integers(2, len(data), 3):
            data[place] = draw.integers(256)
        (tmp_path / "a.jpg").write_bytes(data)
        try:
            file = jpeg.read(tmp_path / "a.jpg")
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert file.coefficients.isfinite().all()
    assert 0 < refused < 60


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Task("jpeg", 0.1), "sigma must be left away for jpeg"),
        (lambda: Task("jpeg", simulate=True), "needs quality, 1 to 100"),
        (lambda: Task("jpeg", simulate=True, quality=0), "needs quality, 1 to 100 .*: got 0"),
        (lambda: Task("jpeg", simulate=True, quality=101), "needs quality, 1 to 100"),
        (lambda: Task("jpeg", quality=10), "quality is for simulate"),
        (lambda: Task("jpeg", fit=True), "fit would cut"),
        (lambda: Task("denoise", 0.1, quality=10), "quality is for jpeg, not for denoise"),
        (lambda: Task("jpeg0", simulate=True), "task must be one of"),
        (lambda: Task("jpeg101", simulate=True), "task must be one of"),
        (lambda: pose(Task("jpeg"), torch.rand(3, 32, 32), PRIOR), "jpeg needs the JPEG file"),
    ],
)
def test_wrong_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def _png(picture: Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
