"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped, read and written number by number.

nibabel reads and checks headers; voxels are read as they are stored, so that what is not restored comes back bit
for bit. Slices are turned as they are looked at: superior or anterior is up, the patient's right is on the left.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from restoration.errors import ImageError, OutputError
from restoration.medical.dicom import MAX_VOXELS
from restoration.medical.extra import needed
from restoration.medical.volume import Array, Volume
from restoration.medical.warning import SHORT
from restoration.medical.window import Window, WindowChoice

GZIP = b"\x1f\x8b"
_ONE, _TWO = 348, 540
"""Bytes of a header of either kind."""
MOST_BEFORE = 2**24
"""Bytes that a file may have before its voxels: its header and extensions."""
_COMMENT = 6
_RECORD = b"nested-restoration\n"
"""What our extension begins with; it is of the kind that NIfTI calls a comment."""


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """A file's header with its extensions.

    Args:
        header: nibabel's; never changed.
        slicing: how the file's array becomes slices.
    """

    header: Any
    slicing: Slicing

    @property
    def suggested(self) -> Window | None:
        """``cal_min`` and ``cal_max``, where they are set."""
        low, high = float(self.header["cal_min"]), float(self.header["cal_max"])
        return Window(low, high) if np.isfinite([low, high]).all() and low < high else None


@dataclass(frozen=True)
class Slicing:
    """How an array (I, J, K) becomes upright slices (D, H, W), and back.

    Args:
        order: the array's axes that slices, rows and columns follow.
        flipped: whether rows, and columns, run against their axis.
    """

    order: tuple[int, int, int] = (2, 1, 0)
    flipped: tuple[bool, bool] = (False, False)

    @classmethod
    def along(cls, axis: int, affine: Array) -> Slicing:
        """Slices along one axis, upright as the affine says; where it says nothing, rows are the later axis."""
        others = [one for one in range(3) if one != axis]
        nibabel = needed("nibabel")
        try:
            world = nibabel.orientations.io_orientation(affine)
        except Exception:  # an affine that is singular or not finite
            return cls((axis, others[1], others[0]))
        if np.isnan(world).any():
            return cls((axis, others[1], others[0]))
        # superior, then anterior, goes up the rows; what is left goes along the columns
        row = max(others, key=lambda one: world[one, 0])
        column = next(one for one in others if one != row)
        # rows run towards inferior or posterior; columns from right to left, or from anterior to posterior
        return cls((axis, row, column), (bool(world[row, 1] > 0), bool(world[column, 1] > 0)))

    def slices(self, array: Array) -> Array:
        """(D, H, W) of an array (I, J, K): a view."""
        turned: Array = array.transpose(self.order)
        down, across = (-1 if flip else 1 for flip in self.flipped)
        return turned[:, ::down, ::across]

    def array(self, slices: Array) -> Array:
        """(I, J, K) of slices: the inverse of :meth:`slices`."""
        down, across = (-1 if flip else 1 for flip in self.flipped)
        return slices[:, ::down, ::across].transpose(np.argsort(self.order))

    def indices(self, shape: tuple[int, int, int]) -> Array:
        """(4, 4), from (d, h, w) to the array's (i, j, k), of slices of that shape."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for place, axis in enumerate(self.order):
            flip = place > 0 and self.flipped[place - 1]
            matrix[axis, place] = -1 if flip else 1
            matrix[axis, 3] = shape[place] - 1 if flip else 0
        return matrix


def is_nifti(head: bytes) -> bool:
    """Whether a file's first bytes, plain or gzipped, are a NIfTI header's."""
    if head.startswith(GZIP):
        head = _gunzipped(io.BytesIO(head), _TWO, complete=False)
    return _kind(head) is not None


def _kind(head: bytes) -> int | None:
    """The length of the header that begins so; None where it is none of NIfTI."""
    for size, at, magics in ((_ONE, 344, (b"n+1\0", b"ni1\0")), (_TWO, 4, (b"n+2\0", b"ni2\0"))):
        if head[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and head[at : at + 4] in magics:
            return size
    return None


def read(data: bytes, axis: int | None = None) -> Volume:
    """The slices along one axis (0, 1 or 2; None is 2) of a NIfTI file's bytes.

    Raises:
        ImageError: another layout than one volume of real numbers in one file, sizes beyond MAX_VOXELS, damage.
    """
    axis = 2 if axis is None else axis
    if axis not in (0, 1, 2):
        raise ImageError(f"has axes 0, 1 and 2: got axis {axis}")
    nibabel = needed("nibabel")
    packed = data.startswith(GZIP)
    head = _gunzipped(io.BytesIO(data), _TWO, complete=False) if packed else data[:_TWO]
    size = _kind(head)
    if size is None:
        raise ImageError("is no NIfTI file")
    if b"ni" in (head[344:346] if size == _ONE else head[4:6]):
        raise ImageError("is a NIfTI header whose voxels are in another file; convert the pair to .nii")
    kind = nibabel.Nifti1Header if size == _ONE else nibabel.Nifti2Header
    bare = kind(binaryblock=head[:size], check=False)
    shape, before, dtype = _layout(bare)
    needs = before + int(np.prod(shape)) * dtype.itemsize
    data = _gunzipped(io.BytesIO(data), needs, complete=True) if packed else data[:needs]
    if len(data) < needs:
        raise ImageError(f"is incomplete: {needs} bytes are declared and {len(data)} are there")
    header = kind.from_fileobj(io.BytesIO(data[:before]), check=True)
    array = np.frombuffer(data, dtype, int(np.prod(shape)), before).reshape(shape, order="F")
    slope, intercept = _scaling(header)
    if array.dtype.kind == "f" and not np.isfinite(array).any():
        raise ImageError("has no finite voxel")
    affine = np.asarray(header.get_best_affine(), dtype=float)
    slicing = Slicing.along(axis, affine)
    stored = np.ascontiguousarray(slicing.slices(array)).astype(dtype.newbyteorder("="))
    if min(stored.shape[1:]) < 2:
        raise ImageError(
            f"has slices of {stored.shape[2]}×{stored.shape[1]} along axis {axis}; try another --axis"
        )
    zooms = [float(side) for side in header.get_zooms()[:3]]
    spacing = tuple(zooms[one] for one in slicing.order)
    notes = []
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        notes.append("has voxels that are not numbers; they are taken for the window's low end, and stay")
    volume = Volume(
        stored,
        slope,
        intercept,
        spacing=(spacing[0], spacing[1], spacing[2]),
        orientation=affine @ slicing.indices((stored.shape[0], stored.shape[1], stored.shape[2])),
        header=NiftiHeader(header, slicing),
        axis=axis,
        notes=tuple(notes),
    )
    return volume.windowed(WindowChoice())


def _layout(header: Any) -> tuple[tuple[int, int, int], int, np.dtype[Any]]:
    """Shape, first byte of the voxels, and their type; ImageError for what is no volume of real numbers."""
    number = int(header["dim"][0])
    if not 1 <= number <= 7:
        raise ImageError(f"is damaged: it has {number} dimensions")
    sides = [int(side) for side in header["dim"][1 : number + 1]]
    if any(side < 1 for side in sides):
        raise ImageError(f"is damaged: its sides are {sides}")
    if any(side > 1 for side in sides[3:]):
        shown = "×".join(map(str, sides))
        raise ImageError(
            f"has {number} dimensions ({shown}); extract one volume, as nibabel's slicer or fslroi do"
        )
    sides = [*sides[:3], 1, 1][:3]
    if sides[0] * sides[1] * sides[2] > MAX_VOXELS:
        shown = "×".join(map(str, sides))
        raise ImageError(f"declares {shown} voxels, more than the {MAX_VOXELS} we decode")
    try:
        dtype = header.get_data_dtype()
    except Exception:
        raise ImageError(f"has voxels of an unknown type ({int(header['datatype'])})") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImageError(f"has {dtype} voxels; whole numbers and floats of up to 64 bits are read")
    before = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    if not least <= before <= MOST_BEFORE:
        raise ImageError(f"is damaged: its voxels begin at byte {before:g}")
    return (sides[0], sides[1], sides[2]), int(before), dtype


def _scaling(header: Any) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise ImageError(f"is damaged: its scl_inter is {intercept}")
    return slope, intercept


def _gunzipped(file: io.BytesIO, most: int, *, complete: bool) -> bytes:
    """The first bytes of a gzip stream, and never more."""
    parts = b""
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            if complete:
                return stream.read(most)
            while len(parts) < most and (part := stream.read1(most - len(parts))):
                parts += part
    except (EOFError, OSError, zlib.error):
        if complete:
            raise ImageError("is damaged or incomplete: it cannot be inflated") from None
    return parts


def encode(volume: Volume, record: Mapping[str, Any], *, packed: bool, deidentify: bool = False) -> bytes:
    """A NIfTI file of a volume: its own header where it was NIfTI, with our record in an extension.

    Raises:
        OutputError: a volume whose place is not known.
    """
    nibabel = needed("nibabel")
    slicing = volume.header.slicing if isinstance(volume.header, NiftiHeader) else Slicing()
    if isinstance(volume.header, NiftiHeader):
        header = volume.header.header.copy()
    else:
        header = nibabel.Nifti1Header()
        header.set_xyzt_units("mm")
    array = slicing.array(volume.stored)
    before = tuple(int(side) for side in header.get_data_shape()[:3])
    as_read = isinstance(volume.header, NiftiHeader) and volume.grid.same and before == array.shape
    if not as_read:
        _place(header, volume, slicing, array.shape)
    dtype = header.get_data_dtype()
    same = isinstance(volume.header, NiftiHeader) and dtype.newbyteorder("=") == array.dtype
    if not same:
        header.set_data_dtype(array.dtype)
        dtype = header.get_data_dtype()
    if not same or not isinstance(volume.header, NiftiHeader):
        header["scl_slope"], header["scl_inter"] = volume.slope, volume.intercept
        header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = SHORT.encode()
    extensions = [] if deidentify else [one for one in header.extensions if not _is_ours(one)]
    if deidentify:
        for name in ("db_name", "aux_file", "intent_name"):
            if name in header:
                header[name] = b""
    comment = nibabel.nifti1.Nifti1Extension(_COMMENT, _RECORD + json.dumps(dict(record)).encode())
    header.extensions[:] = [*extensions, comment]
    buffer = io.BytesIO()
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset + sum(one.get_sizeondisk() for one in header.extensions)
    header["vox_offset"] = -(-int(header["vox_offset"]) // 16) * 16
    header.write_to(buffer)
    buffer.write(b"\0" * (int(header["vox_offset"]) - buffer.tell()))
    buffer.write(array.astype(dtype, copy=False).tobytes(order="F"))
    data = buffer.getvalue()
    return gzip.compress(data, compresslevel=6, mtime=0) if packed else data


def _place(header: Any, volume: Volume, slicing: Slicing, shape: tuple[int, ...]) -> None:
    """Where other voxels lie: the affine of what was read, moved."""
    affine = volume.affine
    depth, height, width = (shape[axis] for axis in slicing.order)
    header.set_data_shape(shape)
    if affine is None:
        if volume.spacing is None:
            raise OutputError("NIfTI tells where voxels lie, and this does not; write .tif or .png")
        affine = np.diag([*volume.spacing, 1.0])
    moved = affine @ np.linalg.inv(slicing.indices((depth, height, width)))
    for name in ("sform", "qform"):
        code = int(header[f"{name}_code"])
        if code or name == "sform":
            getattr(header, f"set_{name}")(moved, code or 1)
    zooms = list(header.get_zooms())
    zooms[:3] = [float(side) for side in np.sqrt((moved[:3, :3] ** 2).sum(axis=0))]
    header.set_zooms(zooms)


def _is_ours(extension: Any) -> bool:
    try:
        content = extension.get_content()
    except Exception:  # of a kind that nibabel takes apart and cannot
        return False
    return isinstance(content, bytes) and content.startswith(_RECORD)


def record_in(data: bytes) -> str | None:
    """The record that :func:`encode` stored, as JSON; None where there is none."""
    nibabel = needed("nibabel")
    head = _gunzipped(io.BytesIO(data), _TWO, complete=False) if data.startswith(GZIP) else data[:_TWO]
    size = _kind(head)
    if size is None:
        return None
    kind = nibabel.Nifti1Header if size == _ONE else nibabel.Nifti2Header
    before = int(float(kind(binaryblock=head[:size], check=False)["vox_offset"]))
    if not size < before <= MOST_BEFORE:
        return None
    data = _gunzipped(io.BytesIO(data), before, complete=True) if data.startswith(GZIP) else data[:before]
    for extension in kind.from_fileobj(io.BytesIO(data), check=True).extensions:
        if _is_ours(extension):
            return bytes(extension.get_content())[len(_RECORD) :].rstrip(b"\0").decode()
    return None
