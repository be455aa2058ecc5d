"""Archives of ``numpy.savez``, such as ``mnist.npz`` of Keras.

A single array in an ``.npy`` file needs no reader of ours: ``numpy.load(path, mmap_mode="r")``
maps it into memory. Objects, which are pickles and may run code, are never loaded.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from purenn.data._files import (
    DEFLATE,
    PathLike,
    Read,
    as_path,
    byte_count,
    check_labels,
    check_regular,
    fault,
    read_exactly,
)
from purenn.data.dataset import Dataset, numbered
from purenn.errors import DataError
from purenn.typing import Array, Shape

_PAIRS = (("x_train", "y_train"), ("x", "y"), ("inputs", "targets"), ("data", "target"))
_TEST = ("x_test", "y_test")
_MOST_CLASSES = 1 << 16
_LONGEST_HEADER = 10_000  # as numpy.load has it

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,  # a stream without an end
    RuntimeError,  # encrypted, or of a version that zipfile does not know
    OSError,  # an offset before the beginning
    ValueError,  # a name that is no UTF-8
)
_FIELDS = {
    "descr": (r"'([<>|=]?[biuf][1248])'", "a dtype of bool, integers or floating numbers"),
    "fortran_order": (r"(True|False)", "True or False"),
    "shape": (r"\(([0-9]{0,20}(?:\s*,\s*[0-9]{1,20})*),?\s*\)", "a tuple of sizes"),
}


def npz(path: PathLike) -> tuple[Dataset, Dataset | None]:
    """Read the training part, and the test part if there is one.

    The members are ``x_train, y_train`` and may be ``x_test, y_test``; or else ``x, y``, or
    ``inputs, targets``, or ``data, target``, without a test part.

    uint8 inputs (n, height, width) or (n, height, width, channels) stay images, the former with a
    channel; other inputs become float32. Integers of shape (n,) or (n, 1) are labels, fewer than
    65536 and named by their number; floating numbers of shape (n,) or (n, k) are values.

    Raises:
        DataError: the file is no such archive, a member is missing, its size is not what its
            header says, or the arrays do not fit each other.
    """
    where = as_path("npz", "path", path)
    check_regular(where)
    with where.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                names = {name[:-4] for name in archive.namelist() if name.endswith(".npy")}
                pairs = _pairs(where, names)
                arrays = {name: _read(where, archive, name) for pair in pairs for name in pair}
        except DataError:
            raise
        except _BROKEN as error:
            raise DataError(f"{where}: the zip archive is broken: {_line(error)}") from None
    parts = [(_inputs(where, x, arrays[x]), _targets(where, y, arrays[y])) for x, y in pairs]
    for (x, y), (inputs, targets) in zip(pairs, parts, strict=True):
        if len(targets) != len(inputs):
            expected = f"{len(inputs)}, as of {x}"
            raise fault(where, f"the number of examples in {y}", len(targets), expected)
    for i, name in enumerate(pairs[-1]):
        first, last = parts[0][i], parts[-1][i]
        if (first.shape[1:], first.dtype) != (last.shape[1:], last.dtype):
            got = f"of dtype {last.dtype} and shape {last.shape}"
            expected = f"what {pairs[0][i]} is but for n: {first.dtype}, {first.shape}"
            raise fault(where, name, got, expected)
    labels = [targets for _, targets in parts if targets.ndim == 1]
    classes = numbered(1 + max((int(y.max(initial=-1)) for y in labels), default=-1))
    train, *test = (Dataset(inputs, targets, classes) for inputs, targets in parts)
    return train, test[0] if test else None


def _pairs(path: Path, names: set[str]) -> list[tuple[str, str]]:
    for pair in _PAIRS:
        if pair[0] in names or pair[1] in names:
            with_test = pair is _PAIRS[0] and names & {*_TEST}
            pairs = [pair, _TEST] if with_test else [pair]
            for given in pairs:
                for name in given:
                    if name not in names:
                        raise fault(path, f"member {name}", "missing", " and ".join(given))
            return pairs
    told = ", ".join(" and ".join(pair) for pair in _PAIRS)
    raise fault(path, "the list of members", f"{sorted(names)[:8]!r:.200}", f"one of {told}")


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """Read a member; that it is as large as its header says is known before."""
    member = archive.getinfo(f"{name}.npy")
    ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE}
    if member.compress_type not in ratios:
        raise fault(path, f"the compression of {name}", member.compress_type, "0 or 8 (deflate)")
    packed = min(member.compress_size, path.stat().st_size)
    if member.file_size > packed * ratios[member.compress_type]:
        got, expected = f"{member.file_size} bytes", f"what {packed} packed ones can hold"
        raise fault(path, f"the size of {name}", got, expected)
    with archive.open(member) as stream:
        dtype, shape, is_fortran = _header(path, name, stream.read)
        rest = member.file_size - stream.tell()
        count = byte_count(path, name, shape, dtype)
        if count != rest:
            raise fault(path, f"the length of {name}", f"{rest} bytes", f"{count} for {shape}")
        # The last byte brings the checksum with it.
        flat = np.frombuffer(read_exactly(path, name, stream.read, count), dtype)
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


def _header(path: Path, name: str, read: Read) -> tuple[np.dtype[Any], Shape, bool]:
    """The dtype, the shape, and whether the first axis is the fastest."""
    magic = read_exactly(path, f"the magic number of {name}", read, 8)
    width = {1: 2, 2: 4, 3: 4}.get(magic[6])
    if magic[:6] != b"\x93NUMPY" or width is None:
        raise fault(path, f"the magic number of {name}", magic.hex(), "that of .npy, 1 to 3")
    field = f"the header of {name}"
    length = int.from_bytes(read_exactly(path, field, read, width), "little")
    if length > _LONGEST_HEADER:
        expected = f"at most {_LONGEST_HEADER}"
        raise fault(path, f"the length of {field}", f"{length} bytes", expected)
    header = read_exactly(path, field, read, length).decode("latin1")
    descr, order, sizes = (_field(path, field, header, key) for key in _FIELDS)
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise fault(path, f"the dtype of {name}", descr, "one that NumPy has") from None
    shape = tuple(int(size) for size in sizes.split(",") if size.strip())
    return dtype, shape, order == "True"


def _field(path: Path, place: str, header: str, key: str) -> str:
    pattern, expected = _FIELDS[key]
    found = re.search(rf"'{key}'\s*:\s*{pattern}", header)
    if found is None:
        start = header.find(f"'{key}'")
        got = repr(header[start:][:60].rstrip()) if start >= 0 else "missing"
        raise fault(path, f"{key} in {place}", got, expected)
    return found[1]


def _inputs(path: Path, name: str, x: Array) -> Array:
    if x.ndim < 2:
        raise fault(path, f"the shape of {name}", x.shape, "(n, …)")
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        return np.ascontiguousarray(x[..., np.newaxis] if x.ndim == 3 else x)
    return _single(path, name, x)


def _targets(path: Path, name: str, y: Array) -> Array:
    if y.dtype.kind == "f":
        if y.ndim not in (1, 2):
            raise fault(path, f"the shape of {name}", y.shape, "(n,) or (n, k)")
        return _single(path, name, y[:, np.newaxis] if y.ndim == 1 else y)
    if y.ndim != 1 and y.shape[1:] != (1,):
        raise fault(path, f"the shape of the labels {name}", y.shape, "(n,) or (n, 1)")
    labels = y.ravel()
    check_labels(path, labels, _MOST_CLASSES, name)
    return labels.astype(np.int64)


def _single(path: Path, name: str, x: Array) -> Array:
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return np.ascontiguousarray(x, np.float32)
    except FloatingPointError:
        largest = np.abs(x[np.isfinite(x)]).max()
        raise fault(path, name, f"as large as {largest}", "numbers that float32 has") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
