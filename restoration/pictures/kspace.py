"""Raw k-space of a single coil: fastMRI's and ISMRMRD's HDF5 files, a slice at a time.

fastMRI (Zbontar et al., 2018): ``kspace`` (slices, H, W) complex, ``ismrmrd_header``, ``reconstruction_esc``.
ISMRMRD (Inati et al., 2017): ``dataset/xml`` and ``dataset/data``, one entry a read-out. In both, rows are read
out and columns phase encoded, frequency 0 lies at (H // 2, W // 2), and the transform is orthonormal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restoration.errors import ImageError
from restoration.pictures import hdf5
from restoration.pictures.picture import Depth, Picture

if TYPE_CHECKING:
    import h5py

AXES = (-2, -1)
MOST_SIDE = 4096
MOST_READOUTS = 200_000
NOT_IMAGING = (19, 20, 23, 24, 26, 27, 28)
"""Bits, from 1, of ISMRMRD's flags: noise, calibration alone, navigation, phase correction, feedback, dummies."""
REVERSED = 22
HEADROOM = 1.25
"""How much brighter a picture may be than the zero-filled one by whose brightest pixel it is scaled."""
SMOOTH = 3.0
"""Rows over which the phase of rows is averaged."""
ROUNDING = 1e-5
"""Of single precision, in units of the brightest pixel: a smaller imaginary part is none."""
EXPLAINED = 0.01
"""Share of the energy outside of a real image that goes without a warning."""
COILS = (
    "has {} coils, and only one is restored: combine them first, e.g. SENSE or root-sum-of-squares of the coils' "
    "images (fastMRI's emulated single coil), and save that coil's k-space as kspace (slices, H, W)"
)


@dataclass(frozen=True, eq=False)
class KSpace:
    """A slice's k-space, ready to be a measurement.

    Args:
        y: (2, H, W) float32, real and imaginary part, turned so that its picture is as real as can be, in units in
            which the brightest magnitude is 1, or 1/``HEADROOM`` of zero-filled ones.
        measured: (H, W), True where there are values.
        white: what 1 is, in the file's units.
        imaginary: σ of either part of a value, in the same units, as the middle one of the differences between
            values at k and −k tells it, which are conjugates in a real image without noise.
        beyond: the share of these differences in the energy: of noise, and of phase that varies.
        notes: what was done to it.
    """

    y: Tensor
    measured: Tensor
    white: float
    imaginary: float
    beyond: float
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, kspace: Tensor, measured: Tensor, notes: tuple[str, ...] = ()) -> KSpace:
        """Of complex values (H, W), 0 where not measured.

        Raises:
            ImageError: nothing was measured.
        """
        kspace = torch.where(measured, kspace, 0)
        peak = float(kspace.abs().max())
        if not peak > 0:
            raise ImageError("its k-space is 0 everywhere")
        kspace = (kspace / peak).to(torch.complex64)
        other, both = _opposite(kspace), measured & _opposite(measured)
        pairs = torch.where(both, kspace * other, 0).sum()  # of a real image times e^{iφ}: e^{2iφ} Σ |F x|²
        kspace = kspace * torch.polar(torch.ones(()), -pairs.angle() / 2)
        middle = kspace[kspace.shape[0] // 2, kspace.shape[1] // 2]
        kspace = -kspace if float(middle.real) < 0 else kspace
        white = float(transformed(kspace).abs().max()) * (1.0 if bool(measured.all()) else HEADROOM)
        kspace = kspace / white
        difference = torch.where(both, kspace - _opposite(kspace).conj(), 0)
        energy = float(torch.where(both, kspace.abs().square(), 0).sum())
        squares = difference.abs().square()  # of noise alone exponential of mean 4 σ²; phase is of low frequencies
        imaginary = (float(squares[both].median()) / (4 * math.log(2))) ** 0.5 if bool(both.any()) else 0.0
        return cls(
            torch.stack([kspace.real, kspace.imag]).float(),
            measured,
            white * peak,
            imaginary if imaginary > ROUNDING else 0.0,
            float(squares.sum()) / 4 / max(energy, 1e-30),
            notes,
        )

    @property
    def magnitude(self) -> Tensor:
        """(1, H, W): zero-filled, as scanners show it."""
        return transformed(torch.complex(self.y[0], self.y[1])).abs()[None]

    def cropped(self, height: int, width: int) -> KSpace:
        """The middle of k-space: the same field of view in fewer pixels.

        Raises:
            ImageError: it has fewer values.
        """
        rows, columns = self.measured.shape
        if rows < height or columns < width:
            raise ImageError(f"k-space of {columns}×{rows} is smaller than the prior's pictures, {width}×{height}")
        values = _middle(torch.complex(self.y[0], self.y[1]), height, width) * self.white
        note = f"the middle {width}×{height} of its {columns}×{rows} k-space values: the same view in fewer pixels"
        return KSpace.of(values, _middle(self.measured, height, width), (*self.notes, note))

    def told(self, assumed: bool) -> list[str]:
        """What the user should know of it, a line each.

        Args:
            assumed: ``imaginary`` is taken for the noise.
        """
        lines = [*self.notes, f"white is {self.white:.4g} of the file's units"]
        if assumed:
            lines.append(f"noise of σ = {self.imaginary:.2g} is assumed, by how much values at k and −k differ")
        if self.beyond > EXPLAINED:
            lines.append(
                f"{self.beyond:.0%} of its energy is in phase that varies over the picture, and a real image is "
                "restored: what is shown is rough (--simulate takes the magnitude of whole k-space for the truth)"
            )
        return lines


def transformed(kspace: Tensor) -> Tensor:
    """The complex picture (H, W) of centred k-space."""
    picture: Tensor = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, AXES), norm="ortho"), AXES)
    return picture


def read(path: Path, index: int | None = None) -> KSpace:
    """A slice's k-space.

    Where whole lines were measured, an oversampled read-out is cut, in the picture, to the reconstruction's rows,
    and phase that varies from row to row is taken away. Phase that varies within rows is left.

    Args:
        index: of the slice, from 0; None is the middle one.

    Raises:
        ImageError: a file that is none, is damaged, or has several coils.
    """
    with hdf5.opened(path) as file:
        values, rows, notes = _slice(file, index)
        kspace = torch.from_numpy(values)
        measured = kspace != 0
        lines = measured.any(dim=0)
        whole_lines = float(measured[:, lines].float().mean()) > 0.9 if bool(lines.any()) else False
        if whole_lines:
            hybrid = torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(kspace, 0), dim=0, norm="ortho"), 0)
            if rows is not None and rows < len(kspace):
                notes.append(f"its {len(kspace)} rows are cut to the {rows} of the reconstruction")
                hybrid = _middle(hybrid, rows, kspace.shape[1])
            hybrid = _without_phase(hybrid, lines)
            kspace = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(hybrid, 0), dim=0, norm="ortho"), 0)
            measured = lines.expand(kspace.shape)  # a value that happens to be 0 was measured, too
        return KSpace.of(kspace, measured.clone(), tuple(notes))


def picture(path: Path, index: int | None = None) -> Picture:
    """The magnitude of a slice, its brightest value 1, cut to the reconstruction's size as fastMRI does."""
    kspace = read(path, index)
    notes = list(kspace.notes)
    if not bool(kspace.measured.all()):
        notes.append("its k-space is not whole: the picture is zero-filled, and no truth for --simulate")
    magnitude = kspace.magnitude
    rows, columns = magnitude.shape[1:]
    side = min(rows, columns)
    if columns > rows:  # after the rows were cut, the columns' oversampling is left
        magnitude = _middle(magnitude, side, side)
        notes.append(f"its {columns} columns are cut to {side}")
    return Picture(magnitude.contiguous(), depth=Depth.FLOAT, notes=tuple(notes))


def _slice(file: h5py.File, index: int | None) -> tuple[npt.NDArray[np.complex64], int | None, list[str]]:
    """Complex values (H, W), the reconstruction's rows where the file tells them, and notes."""
    found = hdf5.dataset(file, "kspace")
    if found is not None:
        values, slices, at = _fastmri(found, index)
        header = hdf5.dataset(file, "ismrmrd_header")
        rows = None if header is None else _header(hdf5.text(header)).get("rows")
        shown = hdf5.dataset(file, "reconstruction_esc")
        if rows is None and shown is not None and shown.ndim == 3:
            rows = int(shown.shape[1])
    elif (found := hdf5.dataset(file, "dataset/data")) is not None:
        xml = hdf5.dataset(file, "dataset/xml")
        told = {} if xml is None else _header(hdf5.text(xml))
        values, slices, at = _ismrmrd(found, index, told)
        rows = told.get("rows")
    else:
        raise ImageError("holds neither fastMRI's kspace nor ISMRMRD's dataset/data")
    if not bool(np.isfinite(values).all()):
        raise ImageError("its k-space has NaN or infinite values; replace them first")
    which = f"slice {at} of {slices}, counted from 0" if slices > 1 else None
    return values, rows, [] if which is None else [which]


def _chosen(index: int | None, slices: int) -> int:
    if slices < 1:
        raise ImageError("it has no slices")
    if index is not None and index >= slices:
        raise ImageError(f"has {slices} slices, counted from 0: got --slice {index}")
    return slices // 2 if index is None else index


def _check_sides(rows: int, columns: int) -> None:
    if not (2 <= rows <= MOST_SIDE and 2 <= columns <= MOST_SIDE):
        raise ImageError(f"its k-space is {columns}×{rows}; sides must be from 2 to {MOST_SIDE}")


def _fastmri(found: h5py.Dataset, index: int | None) -> tuple[npt.NDArray[np.complex64], int, int]:
    if found.dtype.kind != "c":
        raise ImageError(f"its kspace is {found.dtype}, and must be complex numbers")
    if found.ndim == 4 and found.shape[1] != 1:
        raise ImageError(COILS.format(found.shape[1]))
    if found.ndim not in (2, 3, 4):
        raise ImageError(f"its kspace must be (slices, H, W): it is {tuple(found.shape)}")
    _check_sides(*found.shape[-2:])
    if found.ndim == 2:
        return hdf5.values(found).astype(np.complex64), 1, 0
    at = _chosen(index, found.shape[0])
    values = hdf5.values(found, at).astype(np.complex64)
    return values.reshape(values.shape[-2:]), found.shape[0], at


def _ismrmrd(
    found: h5py.Dataset, index: int | None, told: dict[str, int]
) -> tuple[npt.NDArray[np.complex64], int, int]:
    """A slice put together of its read-outs; lines that were measured several times are averaged."""
    if found.ndim != 1 or found.dtype.names is None or not {"head", "data"} <= set(found.dtype.names):
        raise ImageError("its dataset/data is not a list of ISMRMRD acquisitions")
    if not 0 < found.shape[0] <= MOST_READOUTS:
        raise ImageError(f"has {found.shape[0]} read-outs, of {MOST_READOUTS} at most and 1 at least")
    entries = hdf5.values(found)
    head = entries["head"]
    flags = head["flags"].astype(np.uint64)
    imaging = np.ones(len(head), bool)
    for bit in NOT_IMAGING:
        imaging &= (flags >> np.uint64(bit - 1)) & np.uint64(1) == 0
    if not imaging.any():
        raise ImageError("has no read-out of an image")
    if bool(((flags[imaging] >> np.uint64(REVERSED - 1)) & np.uint64(1)).any()):
        raise ImageError("has read-outs in reverse (EPI), which need phase correction first")
    coils = int(head["active_channels"][imaging].max())
    if coils != 1:
        raise ImageError(COILS.format(coils))
    if told.get("trajectory", 0):
        raise ImageError("its trajectory is not Cartesian, and only Cartesian k-space is restored")
    slices = head["idx"]["slice"].astype(int)
    at = _chosen(index, int(slices[imaging].max()) + 1)
    wanted = np.flatnonzero(imaging & (slices == at))
    if not len(wanted):
        raise ImageError(f"has no read-out of slice {at}")
    if int(head["idx"]["kspace_encode_step_2"][wanted].max()) > 0:
        raise ImageError("is a three-dimensional scan; transform its slices apart first")
    steps = head["idx"]["kspace_encode_step_1"].astype(int)
    samples = int(head["number_of_samples"][wanted[0]])
    columns = max(told.get("lines", 0), int(steps[wanted].max()) + 1)
    _check_sides(samples, columns)
    offset = columns // 2 - told["centre"] if "centre" in told else 0
    values, counts = np.zeros((samples, columns), np.complex64), np.zeros(columns)
    for i in wanted:
        line, data = steps[i] + offset, np.asarray(entries["data"][i], np.float32)
        if data.size != 2 * samples or not 0 <= line < columns:
            raise ImageError(
                f"its read-out {i} has {data.size // 2} samples at line {line}, of {samples}×{columns}"
            )
        values[:, line] += data.view(np.complex64)
        counts[line] += 1
    mean = (values / np.maximum(counts, 1)).astype(np.complex64)
    return mean, int(slices[imaging].max()) + 1, at


def _header(xml: str) -> dict[str, int]:
    """What an ISMRMRD header tells: rows of the reconstruction, lines and their centre, whether Cartesian."""
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:  # entities could grow without bound
        raise ImageError("its ISMRMRD header has a document type, which none has")
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", xml))
    except ElementTree.ParseError as error:
        raise ImageError(f"its ISMRMRD header is damaged: {error}") from None
    told: dict[str, int] = {}
    for name, place in {
        "rows": "encoding/reconSpace/matrixSize/x",
        "lines": "encoding/encodedSpace/matrixSize/y",
        "centre": "encoding/encodingLimits/kspace_encoding_step_1/center",
    }.items():
        node = root.find("/".join(f"{{*}}{part}" for part in place.split("/")))
        if node is not None and node.text and node.text.strip().isdecimal() and len(node.text.strip()) < 6:
            told[name] = int(node.text)
    path = root.find("{*}encoding/{*}trajectory")
    told["trajectory"] = int(path is not None and (path.text or "").strip().lower() not in ("cartesian", ""))
    return {name: value for name, value in told.items() if name != "rows" or value > 1}


def _without_phase(hybrid: Tensor, lines: Tensor) -> Tensor:
    """Rows of a picture by columns of k-space (H, W) as if each row were real: turned by a phase of its own.

    The values at k and −k of a real row times e^{iφ} have the product e^{2iφ} |·|²; it is summed over pairs of
    lines and averaged over neighbouring rows, so that rows of air do not turn by their noise.
    """
    backward = torch.fft.fftshift(torch.fft.ifftshift(hybrid, 1).flip(1).roll(1, 1), 1)
    other = torch.fft.fftshift(torch.fft.ifftshift(lines).flip(0).roll(1))
    pairs = torch.where(lines & other, hybrid * backward, 0).sum(dim=1)
    near = torch.arange(len(pairs))
    weights = torch.exp(-((near[:, None] - near) ** 2) / (2 * SMOOTH**2)).to(pairs)
    turned = torch.polar(torch.ones(len(pairs)), -(weights @ pairs).angle() / 2)[:, None] * hybrid
    middle = turned[:, hybrid.shape[1] // 2].real
    sign = torch.where(middle < 0, -1.0, 1.0)
    result: Tensor = turned * sign[:, None]
    return result


def _opposite(values: Tensor) -> Tensor:
    """At −k, frequency 0 in the middle."""
    shifted = torch.fft.ifftshift(values, AXES).flip(AXES).roll((1, 1), AXES)
    turned: Tensor = torch.fft.fftshift(shifted, AXES)
    return turned


def _middle(values: Tensor, height: int, width: int) -> Tensor:
    """The part (..., height, width) whose middle, at side // 2, is the whole's."""
    rows, columns = values.shape[-2:]
    top, left = rows // 2 - height // 2, columns // 2 - width // 2
    middle: Tensor = values[..., top : top + height, left : left + width]
    return middle
