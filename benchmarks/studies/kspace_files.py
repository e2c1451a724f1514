"""Files of k-space in the published layouts of fastMRI and ISMRMRD, made of magnitude pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <encoding>
  <encodedSpace><matrixSize><x>{samples}</x><y>{lines}</y><z>1</z></matrixSize></encodedSpace>
  <reconSpace><matrixSize><x>{rows}</x><y>{lines}</y><z>1</z></matrixSize></reconSpace>
  <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
  </kspace_encoding_step_1></encodingLimits>
  <trajectory>{trajectory}</trajectory>
 </encoding>
</ismrmrdHeader>"""


def kspace_of(pictures: Array, oversampled: int = 1, phase: float = 0.0) -> Array:
    """Centred orthonormal k-space (slices, H · oversampled, W) complex64 of magnitudes (slices, H, W).

    Args:
        phase: radians by which the picture's phase varies smoothly from its middle to its corners.
    """
    slices, height, width = pictures.shape
    wide = np.zeros((slices, height * oversampled, width), np.complex128)
    top = height * oversampled // 2 - height // 2
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    wide[:, top : top + height] = pictures * np.exp(1j * (0.4 + phase * (x**2 + 0.5 * y)))
    axes = (-2, -1)
    values = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(wide, axes), norm="ortho"), axes)
    result: Array = values.astype(np.complex64)
    return result


def header(samples: int, lines: int, rows: int, trajectory: str = "cartesian") -> str:
    """ISMRMRD's XML."""
    return HEADER.format(
        samples=samples, lines=lines, rows=rows, last=lines - 1, centre=lines // 2, trajectory=trajectory
    )


def fastmri(path: Path, kspace: Array, rows: int, mask: Array | None = None, **options: Any) -> Path:
    """A single-coil file as fastMRI's knee data are: kspace, header, reconstruction_esc, attributes.

    Args:
        kspace: (slices, H, W) in the scanner's units.
        rows: of the reconstruction, cut from the middle of H.
        mask: (W,), lines that were measured, as in its test data.
        options: of the data set, e.g. chunks and compression.
    """
    measured = kspace if mask is None else kspace * mask
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=measured.astype(np.complex64), **options)
        file["ismrmrd_header"] = header(kspace.shape[-2], kspace.shape[-1], rows)
        axes = (-2, -1)
        picture = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho"), axes)
        top, left = kspace.shape[-2] // 2 - rows // 2, kspace.shape[-1] // 2 - rows // 2
        if mask is None:
            shown = np.abs(picture)[..., top : top + rows, max(left, 0) : max(left, 0) + rows]
            file["reconstruction_esc"] = shown.astype(np.float32)
            file.attrs["max"] = float(shown.max())
        else:
            file["mask"] = mask
        file.attrs["acquisition"], file.attrs["patient_id"] = "AXT1", "0" * 64
    return path


ENCODING = [
    (name, "<u2")
    for name in (
        "kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition",
        "set", "segment",
    )
]  # fmt: skip
HEAD = np.dtype(
    [
        ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2"),
        ("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"), ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"), ("sample_time_us", "<f4"), ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)), ("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)), ("idx", [*ENCODING, ("user", "<u2", (8,))]),
        ("user_int", "<i4", (8,)), ("user_float", "<f4", (8,)),
    ]
)  # fmt: skip


def ismrmrd(path: Path, kspace: Array, rows: int, lines: list[int], coils: int = 1) -> Path:
    """An ISMRMRD file of chosen lines of k-space (slices, H, W), with a noise measurement before them."""
    of = np.dtype([("head", HEAD), ("traj", h5py.vlen_dtype(np.float32)), ("data", h5py.vlen_dtype(np.float32))])
    samples = kspace.shape[1]
    entries = np.zeros(1 + len(kspace) * len(lines), of)
    places = [(at, line) for at in range(len(kspace)) for line in lines]
    for i, entry in enumerate(entries):
        at, line = (0, 0) if i == 0 else places[i - 1]
        entry["head"]["active_channels"] = coils
        entry["head"]["number_of_samples"] = samples
        entry["head"]["idx"]["kspace_encode_step_1"], entry["head"]["idx"]["slice"] = line, at
        entry["head"]["flags"] = 1 << 18 if i == 0 else 0
        entry["traj"] = np.zeros(0, np.float32)
        values = np.ones(samples, np.complex64) if i == 0 else np.ascontiguousarray(kspace[at, :, line])
        entry["data"] = np.tile(values, coils).astype(np.complex64).view(np.float32)
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset(
            "xml", data=np.array([header(samples, kspace.shape[2], rows)], dtype=object), dtype=h5py.string_dtype()
        )
        group.create_dataset("data", data=entries)
    return path


def write_corpus(folder: Path) -> None:
    """A sound file of every layout and storage that is read, for the fuzz study."""
    y, x = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16), indexing="ij")
    pictures = np.stack([np.exp(-((x - shift) ** 2 + y**2) * 4) for shift in (0.0, 0.2)])
    mask = np.arange(16) % 3 == 2
    fastmri(folder / "whole.h5", kspace_of(pictures, 2), 16)
    fastmri(folder / "lines.h5", kspace_of(pictures, 2), 16, mask)
    fastmri(
        folder / "gzip.h5",
        kspace_of(pictures),
        16,
        chunks=(1, 8, 16),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
    )
    ismrmrd(folder / "readouts.h5", kspace_of(pictures, 2), 16, [0, 3, *range(6, 11), 14])


def read_scan(path: Path) -> None:
    """What ``restore --task mri`` does with such a file before the prior is asked."""
    from restoration.tasks import Task, pose

    task = Task("mri", acceleration=2)
    opened, picture = task.opened(path)
    pose(opened, picture, (1, 16, 16))
