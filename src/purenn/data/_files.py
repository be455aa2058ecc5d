"""Reading files that nobody vouches for: what a header claims is held against what is there.

Memory is asked for as bytes arrive, never because a header says how many there will be.
"""

import gzip
import math
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, cast

import numpy as np

from purenn.errors import DataError, DtypeError
from purenn.typing import Array, Shape

PathLike: TypeAlias = str | os.PathLike[str]

Read: TypeAlias = Callable[[int], bytes]
"""The next bytes of a stream, as many as are asked for or fewer; none at its end."""

CHUNK = 1 << 20
DEFLATE = 1032  # bytes that one byte of a deflate stream stands for, at most

_MOST_DIMENSIONS = 64  # of a NumPy array


class Source(NamedTuple):
    """A file while it is read.

    Attributes:
        path: Where it is.
        stream: Its bytes, unpacked if it is packed by gzip.
        most: How many bytes there are, of a packed file at most.
        is_gzip: Whether it is packed.
    """

    path: Path
    stream: IO[bytes]
    most: int
    is_gzip: bool


def fault(path: Path, field: str, got: object, expected: str) -> DataError:
    """Say what is wrong with a file."""
    return DataError(f"{path}: {field} is {got}, expected {expected}")


def as_path(name: str, argument: str, path: object) -> Path:
    """Refuse anything but a path."""
    if not isinstance(path, str | os.PathLike):
        raise DtypeError(f"{name}: {argument} is a {type(path).__name__}, expected a path")
    return Path(path)


def check_regular(path: Path) -> None:
    """Refuse a folder, and a pipe or a device, which may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a special file"
        raise fault(path, "it", kind, "a regular file")


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a file, which is packed if it begins as gzip does, whatever its name."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=file) as stream:
                    yield Source(path, cast(IO[bytes], stream), size * DEFLATE, True)
            else:
                yield Source(path, file, size, False)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip stream is broken: {error}") from None


def check_plain(source: Source) -> None:
    """Refuse a packed file."""
    if source.is_gzip:
        raise fault(source.path, "it", "packed by gzip", "a plain file (gunzip makes one)")


def byte_count(path: Path, field: str, shape: Shape, dtype: np.dtype[Any]) -> int:
    """How many bytes an array takes; one that NumPy cannot have is refused."""
    if len(shape) > _MOST_DIMENSIONS:
        expected = f"at most {_MOST_DIMENSIONS}"
        raise fault(path, f"the number of dimensions of {field}", len(shape), expected)
    if math.prod(max(1, size) for size in shape) * dtype.itemsize > sys.maxsize:
        raise fault(path, f"the shape of {field}", shape, "one that fits in memory")
    return math.prod(shape) * dtype.itemsize


def read_exactly(path: Path, field: str, read: Read, count: int) -> bytearray:
    """Read ``count`` bytes, and take memory as they come."""
    data = bytearray()
    while len(data) < count:
        chunk = read(min(CHUNK, count - len(data)))
        if not chunk:
            raise fault(path, f"the length of {field}", f"{len(data)} bytes", f"{count}")
        data += chunk
    return data


def check_end(path: Path, read: Read) -> None:
    """Refuse bytes that are left over; looking for them, gzip checks its checksum."""
    if read(1):
        raise fault(path, "what follows the data", "not empty", "the end")


def check_labels(path: Path, labels: Array, count: int, name: str = "labels") -> None:
    """Refuse labels outside 0 … count − 1."""
    wrong = (labels < 0) | (labels >= count)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise fault(path, f"{name}[{first}]", labels[first], f"0 to {count - 1}")
