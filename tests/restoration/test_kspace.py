"""K-space of a single coil: files in, masks, and what is assumed of phase."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from running import restore
from torch import Tensor

from benchmarks.studies.kspace_files import fastmri, header, ismrmrd, kspace_of
from degradations import FourierSampling
from restoration.errors import ImageError
from restoration.pictures import images, kspace
from restoration.tasks import Task, calibration_key, pose
from restoration.tasks.kspace_masks import from_file, kept
from restoration.tasks.mri import DRAWN

SHAPE = (1, 32, 32)


def slices(count: int = 2, height: int = 32, width: int = 32) -> np.ndarray:
    """Magnitudes (count, H, W) with an ellipse in the middle and a bright spot in it."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    head = ((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1) * 0.5
    return np.stack([head + 0.5 * np.exp(-((x - 0.1 * i) ** 2 + y**2) / 0.02) for i in range(count)])


def unit(pictures: np.ndarray, i: int) -> Tensor:
    """(1, H, W), the brightest 1."""
    return torch.from_numpy(pictures[i] / pictures[i].max())[None].float()


def test_a_file_in_fastmri_s_layout_gives_back_its_magnitudes(tmp_path: Path) -> None:
    pictures = slices(3, 40, 32)
    path = fastmri(tmp_path / "a.h5", kspace_of(pictures, oversampled=2) * 3e-5, rows=40)
    shown = kspace.picture(path)
    assert shown.notes == ("slice 1 of 3, counted from 0", "its 80 rows are cut to the 40 of the reconstruction")
    torch.testing.assert_close(shown.pixels, unit(pictures, 1), atol=1e-5, rtol=0)  # complex64
    found = kspace.read(path, 2)
    assert found.white == pytest.approx(3e-5 * pictures[2].max(), rel=1e-4)
    assert found.imaginary == 0  # its constant phase is taken away
    assert bool(found.measured.all())


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 16, 32), "compression": "gzip", "shuffle": True}])
def test_lines_of_a_file_are_its_measurement_in_values_and_place(
    tmp_path: Path, options: dict[str, object]
) -> None:
    pictures = slices(1)
    mask = (np.arange(32) % 3 == 0) | (abs(np.arange(32) - 16) < 3)
    path = fastmri(tmp_path / "a.h5", kspace_of(pictures), 32, mask, **options)
    task, picture = Task("mri").opened(path)
    measurement = pose(task, picture, SHAPE).measurement
    operator = measurement.operator
    assert isinstance(operator, FourierSampling)
    assert torch.fft.fftshift(operator.kept[0], (-2, -1)).equal(torch.from_numpy(mask).float().expand(32, 32))
    exact = operator(unit(pictures, 0)[None])
    white = kspace.read(path).white / pictures[0].max()  # white is that of the aliased picture
    torch.testing.assert_close(measurement.y * white, exact, atol=2e-5, rtol=0)
    assert float(operator.zero_filled(measurement.y)[0].max()) == pytest.approx(1 / kspace.HEADROOM, abs=1e-5)
    assert measurement.sigma == 0


def test_dropping_lines_of_a_whole_file_is_what_simulating_from_its_magnitude_is(tmp_path: Path) -> None:
    pictures = slices(1)
    path = fastmri(tmp_path / "a.h5", kspace_of(pictures), 32)
    measured, picture = Task("mri", acceleration=4).opened(path)
    simulated, clean = Task("mri", acceleration=4, simulate=True).opened(path)
    one, other = (pose(*pair, SHAPE, seed=5) for pair in ((measured, picture), (simulated, clean)))
    assert one.measurement.operator.fingerprint() == other.measurement.operator.fingerprint()
    kept_ = torch.fft.fftshift(one.measurement.operator.kept, (-2, -1))
    torch.testing.assert_close(one.measurement.y, other.measurement.y * kept_, atol=2e-5, rtol=0)
    assert other.original is not None
    assert one.original is None
    with pytest.raises(ImageError, match=r"its k-space is whole: --acceleration 4"):
        Task("mri").opened(path)


def test_phase_that_varies_down_the_rows_is_taken_away_and_phase_within_them_is_told(tmp_path: Path) -> None:
    y = np.linspace(-1, 1, 32)
    turned = np.exp(1j * (0.8 * y**2 + y))  # numbers within the rows differ by nothing
    axes = (-2, -1)
    picture = slices(1) * turned[:, None]
    values = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(picture, axes), norm="ortho"), axes)
    mask = (np.arange(32) % 3 == 0) | (abs(np.arange(32) - 16) < 5)
    down = kspace.read(fastmri(tmp_path / "a.h5", values, 32, mask))
    real = kspace.read(fastmri(tmp_path / "b.h5", kspace_of(slices(1)), 32, mask))
    # it is averaged over 3 of 32 rows, which differ by up to 0.08 radians: 8 % are left
    assert float((down.y - real.y).norm() / real.y.norm()) < 0.1
    assert down.beyond < kspace.EXPLAINED
    path = fastmri(tmp_path / "c.h5", kspace_of(slices(1), phase=3.0), 32, mask)
    task, shown = Task("mri").opened(path)
    assert task.kind.kspace.beyond > kspace.EXPLAINED
    assert "of its energy is in phase that varies" in " ".join(pose(task, shown, SHAPE).notes)


def test_noise_is_estimated_from_values_that_should_be_conjugates(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pictures, sigma = slices(1), 0.03
    noise = generator.standard_normal((2, 1, 32, 32)) * sigma
    found = kspace.read(fastmri(tmp_path / "a.h5", kspace_of(pictures) + noise[0] + 1j * noise[1], 32))
    # 1,024 values, of which the median is taken: the std of the estimate is 3 %
    assert found.imaginary * found.white == pytest.approx(sigma, rel=0.1)


def test_ismrmrd_is_put_together_line_by_line(tmp_path: Path) -> None:
    pictures = slices(2)
    lines = [0, 3, 8, *range(13, 20), 29]
    found = kspace.read(ismrmrd(tmp_path / "a.h5", kspace_of(pictures, 2), 32, lines), 1)
    mask = np.isin(np.arange(32), lines)
    same = kspace.read(fastmri(tmp_path / "b.h5", kspace_of(pictures, 2), 32, mask), 1)
    assert found.measured.equal(same.measured)
    assert found.measured.shape == (32, 32)
    torch.testing.assert_close(found.y, same.y, atol=1e-6, rtol=0)
    with pytest.raises(ImageError, match="has 8 coils, and only one is restored: combine them first"):
        kspace.read(ismrmrd(tmp_path / "c.h5", kspace_of(pictures), 32, lines, coils=8))


def test_a_smaller_prior_takes_the_middle_of_k_space(tmp_path: Path) -> None:
    smooth = slices(1, 64, 64)
    path = fastmri(tmp_path / "a.h5", kspace_of(smooth), 64)
    task, picture = Task("mri", acceleration=2, fit=True).opened(path)
    posed = pose(task, picture, SHAPE)
    assert posed.measurement.y.shape == (1, 2, 32, 32)
    assert any("the middle 32×32 of its 64×64 k-space values" in note for note in posed.notes)
    with pytest.raises(ImageError, match="is smaller than the prior's pictures, 128×128"):
        pose(Task("mri", acceleration=2).opened(path)[0], picture, (1, 128, 128))


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("acceleration", [4, 8])
def test_masks_measure_what_was_asked_for_and_their_middle(kind: str, acceleration: int) -> None:
    centre = 0.32 / acceleration
    mask = kept(kind, 64, 96, acceleration, centre, seed=1)
    assert mask.equal(kept(kind, 64, 96, acceleration, centre, seed=1))
    others = [kept(kind, 64, 96, acceleration, centre, seed) for seed in (2, 3, 4)]  # equispaced: 4 or 11 offsets
    assert not all(mask.equal(other) for other in others)
    # lines are whole ones, of 24 or 12; disks come within 2 %
    assert float(mask.float().mean()) * acceleration == pytest.approx(
        1, abs=0.15 if kind == "equispaced" else 0.05
    )
    half = max(int(96 * centre) // 2 - 1, 0)
    assert bool(mask[:, 48 - half : 48 + half + 1].all() if kind != "poisson" else mask[32, 48])
    assert bool((mask == mask[:1]).all()) == (kind != "poisson")


def test_points_of_poisson_disks_lie_apart_and_denser_in_the_middle() -> None:
    mask = kept("poisson", 96, 96, 8, 0.04, seed=0)
    points = torch.nonzero(mask[:24]).float()  # far from the middle
    apart = torch.cdist(points, points) + 99 * torch.eye(len(points))
    assert float(apart.min()) >= 2
    assert float(mask[40:56, 40:56].float().mean()) > 2 * float(mask.float().mean())


def test_a_given_mask_is_a_picture_of_what_is_measured(tmp_path: Path) -> None:
    from restoration.pictures import images

    line = torch.zeros(1, 2, 32)
    line[:, :, 10:22] = 1
    images.save(tmp_path / "mask.png", line, {})
    mask = from_file(tmp_path / "mask.png", 32, 32)
    assert mask.equal((line[0, :1] > 0).expand(32, 32))
    task = Task("mri", mask_kind=str(tmp_path / "mask.png"), simulate=True)
    operator = pose(task, unit(slices(), 0), SHAPE).measurement.operator
    assert isinstance(operator, FourierSampling)
    assert float(operator.kept.sum()) == 12 * 32
    assert len(str(task.kind.record()["mask_kind_sha256"])) == 64
    with pytest.raises(ImageError, match=r"must have k-space's size, 30×30"):
        from_file(tmp_path / "mask.png", 30, 30)


def test_calibrations_are_told_apart_by_acceleration() -> None:
    for name in ("mri4", "mri8"):
        problem = pose(Task(name, simulate=True), torch.rand(1, 96, 96), (1, 96, 96))
        assert calibration_key(problem.measurement) == name
    problem = pose(Task("mri2", simulate=True), torch.rand(1, 96, 96), (1, 96, 96))
    assert calibration_key(problem.measurement) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acceleration": 1.0}, "acceleration must be above 1"),
        ({"acceleration": float("nan")}, "acceleration must be above 1"),
        ({"center_fraction": 0.5}, "must leave lines to be dropped: got 0.5 at acceleration 4"),
        ({"center_fraction": 2.0}, "center_fraction must be between 0 and 1"),
        ({"mask_kind": "spiral"}, "equispaced, random, poisson or a picture's file: got 'spiral'"),
        ({"slice": -1}, "slice must be at least 0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task("mri", simulate=True, **options)  # type: ignore[arg-type]


def _virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((1, 32, 32), np.complex64)
    layout[:] = h5py.VirtualSource("/etc/hostname", "kspace", (1, 32, 32))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("kspace", layout)


def _made(path: Path, **content: object) -> None:
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value


def _huge(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (10**6, 10**6, 10**6), np.complex64, chunks=(1, 64, 64))


def _bomb(path: Path) -> None:
    import zlib

    with h5py.File(path, "w") as file:
        found = file.create_dataset("kspace", (1, 32, 32), np.complex64, chunks=(1, 32, 32), compression="gzip")
        found.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(10**6)))


def _missing_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", (1, 32, 32), np.complex64, chunks=(1, 16, 16))


def _cut(path: Path) -> None:
    path.write_bytes(fastmri(path, kspace_of(slices()), 32).read_bytes()[:9000])


def _entity(path: Path) -> None:
    fastmri(path, kspace_of(slices()), 32)
    with h5py.File(path, "r+") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'


VALUES = np.ones((2, 32, 32), np.complex64)
HOSTILE = {
    "not HDF5": (lambda path: path.write_bytes(b"hello"), "is no HDF5 file, or is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is no HDF5 file, or is damaged"),
    "cut": (_cut, "damaged or incomplete"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "nothing known": (lambda path: _made(path, other=VALUES), "neither fastMRI's kspace nor ISMRMRD's"),
    "reals": (lambda path: _made(path, kspace=VALUES.real), "must be complex numbers"),
    "texts": (lambda path: _made(path, kspace="k"), "must be complex numbers"),
    "NaN": (lambda path: _made(path, kspace=VALUES * np.nan), "NaN or infinite"),
    "zeros": (lambda path: _made(path, kspace=VALUES * 0), "is 0 everywhere"),
    "coils": (lambda path: _made(path, kspace=np.ones((2, 15, 8, 8), np.complex64)), "has 15 coils.*combine"),
    "one dimension": (lambda path: _made(path, kspace=VALUES[0, 0]), r"must be \(slices, H, W\)"),
    "a soft link": (lambda path: _made(path, real=VALUES, kspace=h5py.SoftLink("/real")), "is a link"),
    "a link out": (lambda path: _made(path, kspace=h5py.ExternalLink("/etc/passwd", "/k")), "is a link"),
    "values elsewhere": (_virtual, "lie in other files"),
    "huge": (_huge, "sides must be from 2 to 4096"),
    "a bomb": (_bomb, "inflates beyond the size it declares"),
    "no chunk": (_missing_chunk, "chunks of values are missing"),
    "an entity": (_entity, "document type"),
    "no acquisitions": (lambda path: _made(path, **{"dataset/data": VALUES[0, 0]}), "not a list of ISMRMRD"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    path = tmp_path / "a.h5"
    make(path)
    with pytest.raises(ImageError, match=message) as caught:
        kspace.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_slice_beyond_the_last_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has 2 slices, counted from 0: got --slice 2"):
        kspace.read(fastmri(tmp_path / "a.h5", kspace_of(slices()), 32), 2)
    assert "trajectory" in header(32, 32, 32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_prior: Path) -> Path:
    """Three files of k-space, of which one is damaged and one in a folder below, and a picture, in ``in``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "more").mkdir(parents=True)
    fastmri(tmp_path / "in" / "a.h5", kspace_of(slices(2, 16, 16)), 16)
    fastmri(tmp_path / "in" / "more" / "c.HDF5", kspace_of(slices(1, 16, 16)), 16)
    (tmp_path / "in" / "b.h5").write_bytes(b"hello")
    images.save(tmp_path / "in" / "d.png", unit(slices(1, 16, 16), 0), {})
    shutil.copytree(tiny_prior, tmp_path / "prior")
    return tmp_path


QUICK = ("--prior", "prior", "--outer", "1", "--inner", "2", "--seed", "1", "--device", "cpu")


def test_a_folder_s_k_space_is_restored_and_its_pictures_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--task", "mri", "--acceleration", "2", *QUICK)
    code, _, err = restore("in", *given, "-o", "out/", "--recursive", capsys=capsys)
    assert code == 1
    assert "d.png is left out: it is a picture, and this task reads .h5, .hdf5, .mrd" in err
    assert "b.h5: is no HDF5 file" in err
    assert "1 of 3 inputs failed" in err
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == ["out/a.png", "out/more/c.png"]
    assert restore("in/a.h5", *given, "-o", "alone.png")[0] == 0
    assert images.load(folder / "alone.png").equal(images.load(folder / "out" / "a.png"))
    assert "skipped" in restore("in", *given, "-o", "out/", capsys=capsys)[2]


def test_clean_pictures_of_a_folder_are_restored_with_simulate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in/b.h5").unlink()
    assert restore("in", "--task", "mri2", "--simulate", *QUICK, "-o", "out/")[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "d.png"]
    code, _, err = restore("in", "--task", "sr4", *QUICK, "-o", "other/", capsys=capsys)
    assert code == 0
    assert "a.h5 is left out: it is no kind of picture that is read" in err
    Path("in/a.h5").unlink()
    code, _, err = restore("in", "--task", "mri2", *QUICK, "-o", "none/", capsys=capsys)
    assert code == 2
    assert "no pictures in this folder (.h5, .hdf5, .mrd)" in err
    assert "--simulate" in err
    assert len(err.splitlines()) == 1
