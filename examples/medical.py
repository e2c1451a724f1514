"""Scans in their own units: a DICOM slice with a hole and a noisy NIfTI volume, restored, written as they came.

    python examples/medical.py --out medical/     # of small scans that pydicom and nibabel ship
    python examples/medical.py --slice ct.dcm --volume brain.nii.gz --window 40,400

Each step prints what it found; run it cell by cell in a notebook, or at once. What a prior fills in is plausible,
not what is there: not for diagnosis.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from degradations import Denoising, Inpainting, Measurement
from restoration import DiffusionPrior, Restorer, TiledPrior, load_prior
from restoration.medical import Volume, WindowChoice, load, save
from restoration.pictures.frame import Frame

# %% Scans that are at hand


def shipped() -> tuple[Path, Path]:
    """An MR slice of pydicom's and a piece of a brain of nibabel's."""
    import nibabel
    import pydicom

    slice_ = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"
    return slice_, Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"


# %% What is in a file


def told(name: str, scan: Volume) -> None:
    """Print size, units and window."""
    depth, height, width = scan.shape
    kind = f"{scan.stored.dtype}, {scan.unit or 'units'} {scan.units.min():g} to {scan.units.max():g}"
    print(f"{name}: {depth} × {height} × {width}, {kind}, window {scan.window}")


# %% Restoring slices of any size: padded by reflection to the prior's, larger ones in tiles


def restored(
    prior: DiffusionPrior, scan: Volume, known: Tensor | None, sigma: float, steps: Sequence[int]
) -> Volume:
    """The scan with its hole filled (``known`` is False there), or its noise of ``sigma`` removed."""
    _, height, width = prior.image_shape
    frame = Frame.around(scan.shape[1], scan.shape[2], (height, width), 1)
    y = frame.pad(scan.images).expand(-1, prior.image_shape[0], -1, -1)
    shape = (prior.image_shape[0], frame.rows, frame.columns)
    if known is None:
        measurement = Measurement(y, Denoising(shape), sigma)
    else:
        operator = Inpainting(shape, frame.pad(known))
        measurement = Measurement(operator(y), operator, sigma)
    fits = shape == tuple(prior.image_shape)
    restorer = Restorer(prior if fits else TiledPrior(prior, shape))
    images = restorer.restore(measurement, allocation=steps, seeds=[0] * len(scan)).image
    return scan.like(frame.crop(images).mean(dim=1, keepdim=True))


def picture(before: Volume, after: Volume, path: Path) -> None:
    """The middle slice before and after, side by side, as its window shows it."""
    middle = len(before) // 2
    pair = torch.cat([before.images[middle, 0], after.images[middle, 0]], dim=1).clamp(0, 1)
    Image.fromarray((pair * 255).round().byte().numpy()).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fill a hole in a DICOM slice, denoise a NIfTI volume.")
    parser.add_argument("--slice", type=Path, help="DICOM; by default one that pydicom ships")
    parser.add_argument("--volume", type=Path, help="NIfTI; by default one that nibabel ships")
    parser.add_argument("--window", help="as restore --window")
    parser.add_argument("--prior", default="brain-mri-128")
    parser.add_argument("--sigma", type=float, default=0.05, help="noise of the volume, in the window's width")
    parser.add_argument("--outer", type=int, default=3, help="outer steps")
    parser.add_argument("--inner", type=int, default=10, help="network evaluations per outer step")
    parser.add_argument("--out", type=Path, default=Path("medical"), help="folder for what is made")
    options = parser.parse_args(arguments)
    slice_path, volume_path = shipped()
    prior, steps = load_prior(options.prior), (options.inner,) * options.outer
    choice = WindowChoice.parse(options.window or "p0.5,p99.5")
    options.out.mkdir(parents=True, exist_ok=True)

    # a hole in a slice: what is known stays bit for bit, and the file says what was made of it
    slice_ = load(options.slice or slice_path).windowed(choice)
    told("slice", slice_)
    _, height, width = slice_.shape
    known = torch.ones(height, width, dtype=torch.bool)
    known[height // 3 : height // 2, width // 3 : width // 2] = False
    slice_ = slice_.forgetting((~known).float()[None, None])
    filled = restored(prior, slice_, known, 0.0, steps)
    record = {"task": "inpaint", "prior": prior.name, "window": [slice_.window.low, slice_.window.high]}
    suffix = ".dcm" if slice_.header is not None and slice_.axis is None else ".nii.gz"
    save(options.out / f"filled{suffix}", filled, record)
    picture(slice_, filled, options.out / "filled.png")
    kept = np.array_equal(filled.stored[0][known], slice_.stored[0][known])
    print(f"filled: {int((~known).sum())} pixels; all others as they were: {kept}")

    # a noisy volume: slices are a batch, and share their noise
    volume = load(options.volume or volume_path).windowed(choice).noisy(options.sigma)
    told("volume", volume)
    calm = restored(prior, volume, None, options.sigma, steps)
    save(options.out / "denoised.nii.gz", calm, {"task": "denoise", "prior": prior.name})
    picture(volume, calm, options.out / "denoised.png")
    again = load(options.out / "denoised.nii.gz")
    print(
        f"denoised: changed by {np.abs(again.units - volume.units).mean() / volume.window.width:.3f} of the window"
    )


if __name__ == "__main__":
    main()
