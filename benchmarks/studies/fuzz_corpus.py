"""Sound files of every kind that we read, and what a command does with each: the corpus of the fuzz study."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from diffusers import UNet2DModel
from imagecodecs import png_encode
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from benchmarks.engine.chunk import ORIGINAL, Chunk
from benchmarks.engine.results import Results
from benchmarks.engine.trials import Look
from benchmarks.studies import fuzz_scans, kspace_files
from nested import NestedState
from restoration.commands.settings import EffortSettings
from restoration.pictures import images
from restoration.pictures.picture import Picture
from restoration.priors import DiffusionPrior, load_prior
from restoration.priors.calibration import Calibration
from restoration.priors.formats.convert import save_folder
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.layout import Layout, build
from restoration.priors.formats.renaming import sources
from restoration.recipe import Recipe
from restoration.session import Session
from restoration.tasks import Task, known_pixels, mask_of
from solvers import NoiseSchedule

SIZE = 16
Act = Callable[[Path], object]


def _noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_pictures(folder: Path) -> None:
    """A picture of every format, depth and kind that is read, with everything beside its pixels."""
    colour = np.kron(_noise(4, 5, 3), np.ones((6, 6, 1), np.uint8))
    rgba = np.dstack([colour, _noise(24, 30)])
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112], exif[0x010E], exif[0x010F] = 6, "A caption", "Nikon"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    info.add_text("Author", "Zoë")
    info.add_text("long", "x" * 5000, zip=True)
    told: dict[str, Any] = {"exif": exif, "dpi": (300, 300)}
    image = Image.fromarray(colour)
    image.save(folder / "a.png", pnginfo=info, **told)
    Image.fromarray(rgba).save(folder / "rgba.png")
    image.convert("P").save(folder / "palette.png", transparency=3)
    image.convert("1").save(folder / "one.png")
    image.save(folder / "a.jpg", xmp=b"<x tiff:Orientation='6'/>", **told)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "a.webp", lossless=True, exif=exif)
    Image.fromarray(rgba).save(folder / "rgba.webp", lossless=True)
    for name, form in (
        ("a.bmp", "BMP"),
        ("a.gif", "GIF"),
        ("a.jp2", "JPEG2000"),
        ("a.avif", "AVIF"),
        ("a.ppm", "PPM"),
    ):
        image.save(folder / name, form)
    for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
        image.save(folder / f"{compression}.tif", compression=compression, exif=exif)
    (folder / "deep.png").write_bytes(png_encode(_noise(24, 30, 3, dtype=np.uint16)))
    (folder / "deep-grey.png").write_bytes(png_encode(_noise(24, 30, dtype=np.uint16)))
    tifffile.imwrite(
        folder / "float.tif", colour / np.float32(255), photometric="rgb", compression="zlib", rowsperstrip=5
    )
    tifffile.imwrite(folder / "tiles.tif", _noise(40, 33, 3, dtype=np.uint16), photometric="rgb", tile=(16, 16),
                     compression="lzw", bigtiff=True)  # fmt: skip
    tifffile.imwrite(folder / "alpha.tif", _noise(24, 30, 4), photometric="rgb", extrasamples=["assocalpha"])
    images.write(folder / "ours.png", Picture(torch.rand(3, 8, 8)), {"seeds": [1]})
    images.write(folder / "ours.jpg", Picture(torch.rand(3, 8, 8)), {"seeds": [1]})


def read_picture(path: Path) -> None:
    """As ``restore`` reads one and writes another like it."""
    images.read_record(path)
    picture = images.read(path)
    result = picture.like(picture.pixels.clamp(0, 1))
    for suffix in (".png", ".tif", ".jpg", ".webp"):
        images.write(path.parent / f"result{suffix}", result, {"seeds": [1]})


def write_masks(folder: Path) -> None:
    """Masks as they are drawn: white on black, one brush on a transparent ground, labels."""
    hole = np.zeros((24, 24), np.uint8)
    hole[6:12, 5:20] = 255
    Image.fromarray(hole).save(folder / "white.png")
    Image.fromarray(hole).save(folder / "white.jpg")
    Image.fromarray(hole // 255).save(folder / "labels.png")
    Image.fromarray(np.dstack([hole, hole, hole, hole])).save(folder / "brush.png")
    Image.fromarray(hole).save(folder / "white.bmp")


def read_mask(path: Path) -> None:
    """As ``restore --mask`` reads one."""
    mask, _ = mask_of(images.read(path), str(path), grow=2, size=(32, 32))
    known_pixels(mask, str(path))


def tiny() -> UNet2DModel:
    """A network that answers in a millisecond, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DModel(
            sample_size=SIZE,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        ).eval()


def tiny_prior() -> DiffusionPrior:
    """Of that network."""
    return DiffusionPrior(tiny(), NoiseSchedule.linear(), "v_prediction", "tiny", "0" * 64)


def write_priors(folder: Path) -> None:
    """A folder in diffusers format, with a calibration and the facts of its training."""
    save_folder(tiny_prior(), folder / "prior")
    write_calibrations(folder / "prior")
    facts = {"crop": True, "by_level": {"1": [0.1, 0.01], "500": [0.5, 0.2]}, "finished": True, "steps": 3}
    (folder / "prior" / "training.json").write_text(json.dumps(facts))


def read_prior(path: Path) -> None:
    """As ``restore --prior FOLDER`` does."""
    prior = load_prior(path, "cpu")
    if prior.image_shape[1] * prior.image_shape[2] <= 256**2:
        prior.denoise(torch.zeros(1, *prior.image_shape), prior.schedule.K // 2 or 1)
    prior.rmse(1)


def write_checkpoints(folder: Path) -> None:
    """A checkpoint in DDPM's format, as a zip of pickles and as safetensors, each with its sidecar."""
    layout = Layout(3, 3, 32, (32, 32), 1, (False, True), "conv", False, None)
    generator = torch.Generator().manual_seed(0)
    listing = sources(DDPM, layout, build(layout, DDPM))
    tensors = {n: torch.randn(s.shape, generator=generator) / len(s.shape) ** 4 for n, s in listing.items()}
    for name in ("a", "b"):
        (folder / name).mkdir()
    torch.save(tensors, folder / "a" / "checkpoint")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "b" / "checkpoint")
    for name in ("a", "b"):
        (folder / name / "checkpoint.json").write_text(json.dumps({"image_size": 32, "noise_schedule": "linear"}))


def read_checkpoint(path: Path) -> None:
    """As ``restore --prior FILE`` does."""
    load_prior(path / "checkpoint", "cpu")


def _session(state: NestedState | None = None) -> Session:
    picture = Picture(torch.full((3, 4, 4), 0.5))
    recipe = Recipe(Task("sr4"), tiny_prior(), effort=EffortSettings((2, 2), seed=1))
    return Session(recipe, "a.png", picture, "0" * 64, state, "state")


def write_states(folder: Path) -> None:
    """States within and between inner runs."""
    kept: list[NestedState] = []
    _session().run(lambda event: kept.append(event.state) if hasattr(event, "state") else None)
    for i, state in enumerate(kept):
        state.save(folder / f"{i}.state")


def read_state(path: Path) -> None:
    """As ``restore --state`` does: go on from it to the end."""
    _session(NestedState.load(path)).run(lambda event: None)


def write_calibrations(folder: Path) -> None:
    """A calibration of two tasks."""
    change = {"complete": [[0.5, 0.1], [1.0, 0.0]], "running": [[0.1, 0.3], [1, 0.1]], "sigma": 0.0}
    tasks = {"sr4": change, "denoise": {**change, "sigma": 0.5}}
    told = {"prior fingerprint": "0" * 64, "samplers": [{"sampler": {"sampler": "fire"}, "tasks": tasks}]}
    folder.mkdir(exist_ok=True)
    (folder / "calibration.json").write_text(json.dumps(told))


def read_calibration(path: Path) -> None:
    """As every preview asks it."""
    calibration = Calibration.load(path)
    for tasks in calibration.samplers.values() if calibration else ():
        for change in tasks.values():
            change.at(3, 30, 10, False)
            change.at(10, 30, 10, True)


def write_results(folder: Path) -> None:
    """A results folder of two tasks, as ``restore-bench table2`` leaves one."""
    looks = [
        Look("plain 30", "returned", 30),
        Look("nested 3x10", "returned", 10),
        Look("nested 3x10", "returned", 30),
    ]
    config = {
        "command": "table2",
        "prior": "tiny",
        "features": {"name": "numbers", "dim": 3, "detail": ""},
        "tasks": ["denoise", "sr4"],
        "batch": 2,
    }
    results = Results(folder / "results", config)
    results.ask(2, ["restore-bench", "table2"])
    for task in ("denoise", "sr4"):
        for index in range(2):
            names = [f"{index}-{i}.png" for i in range(2)]
            rows = [
                {"image": name, "task": task, **asdict(look), "psnr": 20.0 + i, "ssim": 0.5}
                for look in looks
                for i, name in enumerate(names)
            ]
            keys = [ORIGINAL, *(look.key for look in looks)]
            features = {key: torch.rand(2, 3) for key in keys}
            shown = {key: torch.zeros(2, 3, 8, 8, dtype=torch.uint8) for key in [*keys, "degraded"]}
            seeds = dict.fromkeys(names, 1)
            results.write(task, index, Chunk(names, rows, {}, features, shown, {"plain 30": 0.1}, "here", seeds))


def read_results(path: Path) -> None:
    """As ``restore-bench report`` does."""
    from benchmarks.report import page

    page.write(path)


def _trainer(place: Path) -> Any:
    from accelerate import Accelerator

    from restoration.training.checkpoint import Checkpoints
    from restoration.training.objective import Objective
    from restoration.training.recipe import Recipe as Training
    from restoration.training.trainer import Trainer

    accelerator = Accelerator(cpu=True)
    checkpoints = Checkpoints(place, accelerator, {"--size": SIZE})
    objective = Objective(NoiseSchedule.linear(), 5.0, accelerator.device)
    nothing: Callable[[], Any] = lambda: None  # noqa: E731
    return Trainer(
        accelerator,
        tiny(),
        objective,
        Training(1.0, 1, 1, 1e-4),
        checkpoints,
        stop=nothing,
        watch=nothing,
        kept=nothing,
    )


def write_training(folder: Path) -> None:
    """The folder of a run's checkpoints."""
    from accelerate.state import AcceleratorState

    trainer = _trainer(folder / "training")
    trainer.progress.losses = [0.5]
    trainer.checkpoints.save(3, trainer._write)
    AcceleratorState._reset_state(True)  # one a process, and children have their own


def read_training(path: Path) -> None:
    """As ``restore-train`` does where it goes on."""
    _trainer(path)


KINDS: dict[str, tuple[Callable[[Path], None], Act, int]] = {
    "picture": (write_pictures, read_picture, 1300),
    "mask": (write_masks, read_mask, 300),
    "prior": (write_priors, read_prior, 400),
    "checkpoint": (write_checkpoints, read_checkpoint, 250),
    "state": (write_states, read_state, 250),
    "calibration": (lambda folder: write_calibrations(folder / "prior"), read_calibration, 150),
    "results": (write_results, read_results, 250),
    "training": (write_training, read_training, 100),
    "dicom": (fuzz_scans.write_dicom, fuzz_scans.read_scan, 250),
    "nifti": (fuzz_scans.write_nifti, fuzz_scans.read_scan, 150),
    "hdf5": (kspace_files.write_corpus, kspace_files.read_scan, 200),
}
"""What writes sound files, what reads one, and how many of all cases; another kind of file is one more line."""


def sound_files(folder: Path, kinds: Sequence[str]) -> None:
    """Write the corpus: a folder a kind."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        KINDS[kind][0](folder / kind)
