"""HDF5 files of strangers: opened so that nothing outside of them is read, and no more than they can hold."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from restoration.errors import ImageError

if TYPE_CHECKING:
    import h5py

MOST_VALUES = 64_000_000
"""Of what is read at once."""
MOST_TEXT = 4_000_000
_MISSING = "needs the package h5py: pip install 'nested-restoration[medical]'"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read; whatever fails inside the block leaves as one ImageError that names the file."""
    try:
        import h5py
    except ImportError:
        raise ImageError(f"{path}: {_MISSING}") from None
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise ImageError("is a folder, not a file" if path.is_dir() else "is not a regular file")
        with path.open("rb") as bytes_of, h5py.File(bytes_of, "r") as file:
            yield file
    except ImageError as error:
        raise ImageError(f"{path}: {' '.join(str(error).split())}") from None
    except OSError as error:
        why = error.strerror or "is no HDF5 file, or is damaged or incomplete"
        raise ImageError(f"{path}: {why}") from None
    except Exception as error:  # libhdf5's words are many, and raise nearly every built-in type
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ImageError(f"{path}: is damaged or incomplete ({told})") from None


def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The data set of that name, parts by "/"; None where there is none.

    Raises:
        ImageError: a link, or values that lie outside of the file.
    """
    import h5py

    at: Any = file
    for part in name.split("/"):
        if not isinstance(at, h5py.Group):
            return None
        link = at.get(part, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ImageError(f"its {name} is a link, which may lead out of the file; save the values themselves")
        at = at[part]
    if not isinstance(at, h5py.Dataset):
        return None
    if at.external or at.is_virtual:
        raise ImageError(f"the values of its {name} lie in other files; save them in this one")
    return at


def text(found: h5py.Dataset) -> str:
    """A data set of one text.

    Raises:
        ImageError: it is none, or too long.
    """
    if math.prod(found.shape or ()) != 1 or found.dtype.kind not in "OS" or found.dtype.itemsize > MOST_TEXT:
        raise ImageError(f"its {found.name} is no text")
    value = found[()]
    value = value if isinstance(value, (bytes, str)) else np.asarray(value).ravel()[0]
    data = value.encode() if isinstance(value, str) else bytes(value)
    if len(data) > MOST_TEXT:
        raise ImageError(f"its {found.name} is longer than {MOST_TEXT} bytes")
    return data.decode("utf-8", "replace")


def values(found: h5py.Dataset, index: int | None = None) -> npt.NDArray[Any]:
    """The values of a data set, or its ``index``-th entry.

    Raises:
        ImageError: too many, or stored in a way that may inflate beyond what is declared.
    """
    shape = found.shape or ()
    wanted = math.prod(shape if index is None else shape[1:])
    if wanted < 1 or wanted > MOST_VALUES:
        raise ImageError(f"its {found.name} has {wanted} values, of {MOST_VALUES} at most and 1 at least")
    if found.chunks is not None:
        _check_chunks(found, index)
    elif found.id.get_storage_size() < math.prod(shape) * found.dtype.itemsize:
        raise ImageError(f"its {found.name} is incomplete: values are missing")
    return np.asarray(found[()] if index is None else found[index])


def _check_chunks(found: h5py.Dataset, index: int | None) -> None:
    """Refuse chunks that are missing, of unknown filters, or that inflate beyond their declared size."""
    import h5py

    most = math.prod(found.chunks) * found.dtype.itemsize
    if most > 8 * MOST_VALUES:
        raise ImageError(f"its {found.name} declares chunks of {most} bytes")
    pipeline = found.id.get_create_plist()
    filters = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    known = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    if not set(filters) <= known or filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        raise ImageError(
            f"its {found.name} is compressed in a way that is not read; save it with gzip, or plainly"
        )
    first = 0 if index is None else index // found.chunks[0] * found.chunks[0]
    last = found.shape[0] if index is None else index + 1
    steps = [range(first, last, found.chunks[0])]
    steps += [range(0, side, chunk) for side, chunk in zip(found.shape[1:], found.chunks[1:], strict=True)]
    if math.prod(map(len, steps)) > MOST_VALUES // 64:
        raise ImageError(f"its {found.name} lies in too many chunks")
    for place in np.ndindex(*map(len, steps)):
        at = tuple(step[i] for step, i in zip(steps, place, strict=True))
        info = found.id.get_chunk_info_by_coord(at)
        if info.byte_offset is None or info.size < 1:
            raise ImageError(f"its {found.name} is incomplete: chunks of values are missing")
        if info.size > 2 * most + 4096:
            raise ImageError(f"its {found.name} is damaged: a chunk is larger than it declares")
        if h5py.h5z.FILTER_DEFLATE in filters:
            _, raw = found.id.read_direct_chunk(at)
            if len(zlib.decompressobj().decompress(raw, most + 65)) > most + 64:
                raise ImageError(f"its {found.name} is damaged: a chunk inflates beyond the size it declares")
