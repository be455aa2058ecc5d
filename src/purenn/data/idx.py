"""IDX files, the format of MNIST and Fashion-MNIST, packed by gzip or not.

An IDX file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, each
size as 4 bytes, and the numbers, all big-endian: LeCun, Cortes & Burges, "The MNIST database of
handwritten digits".
"""

from pathlib import Path
from typing import Any

import numpy as np

from purenn.data._files import (
    PathLike,
    Source,
    as_path,
    byte_count,
    check_end,
    check_labels,
    check_plain,
    fault,
    opened,
    read_exactly,
)
from purenn.data.dataset import Dataset, numbered
from purenn.typing import Array, Shape

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_idx(path: PathLike, *, mmap: bool = False) -> Array:
    """Read the array of an IDX file, of any rank.

    Args:
        path: The file; one packed by gzip is recognised by its first bytes.
        mmap: Whether to map the file into memory, read-only, and leave it on the disk until an
            element is used. What has several bytes stays big-endian then. An empty array is read.

    Returns:
        uint8, int8, int16, int32, float32 or float64, as the file says.

    Raises:
        DataError: the file is no IDX file, is longer or shorter than its header says, is broken,
            or is packed and shall be mapped.
    """
    where = as_path("read_idx", "path", path)
    with opened(where) as source:
        if mmap:
            check_plain(source)
        dtype, shape = _header(source)
        offset = 4 + 4 * len(shape)
        count = byte_count(where, "the data", shape, dtype)
        _check_claim(source, source.most - offset, count)
        if mmap and count:
            return np.memmap(where, dtype, "r", offset, shape)
        data = read_exactly(where, "the data", source.stream.read, count)
        check_end(where, source.stream.read)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def mnist(folder: PathLike, *, mmap: bool = False) -> tuple[Dataset, Dataset]:
    """Read MNIST from its four files, named as they are published, with or without ``.gz``.

    Args:
        folder: Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same of
            ``t10k``; a dot in the place of the hyphen before ``idx`` is known too.
        mmap: Whether to map the images into memory, as :func:`read_idx` does.

    Returns:
        The training part and the test part: inputs (n, 28, 28, 1) uint8, the digits as labels.

    Raises:
        DataError: a file is wrong, or images and labels do not fit each other.
        FileNotFoundError: a file is missing.
    """
    return _both(as_path("mnist", "folder", folder), numbered(10), mmap)


def fashion_mnist(folder: PathLike, *, mmap: bool = False) -> tuple[Dataset, Dataset]:
    """Read Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), whose files are like those of MNIST.

    Arguments, results and errors are those of :func:`mnist`.
    """
    return _both(as_path("fashion_mnist", "folder", folder), _FASHION, mmap)


def _both(folder: Path, classes: tuple[str, ...], mmap: bool) -> tuple[Dataset, Dataset]:
    return _part(folder, "train", classes, mmap), _part(folder, "t10k", classes, mmap)


def _part(folder: Path, part: str, classes: tuple[str, ...], mmap: bool) -> Dataset:
    images_path, labels_path = _find(folder, part, "images", 3), _find(folder, part, "labels", 1)
    images, labels = read_idx(images_path, mmap=mmap), read_idx(labels_path)
    _check_array(images_path, images, (28, 28), "(n, 28, 28)")
    _check_array(labels_path, labels, (), "(n,)")
    if len(labels) != len(images):
        expected = f"{len(images)}, as of images in {images_path.name}"
        raise fault(labels_path, "the number of labels", len(labels), expected)
    check_labels(labels_path, labels, len(classes))
    return Dataset(images[..., np.newaxis], labels.astype(np.int64), classes)


def _find(folder: Path, part: str, what: str, rank: int) -> Path:
    """The first name that is there; else the first, which opening it will miss."""
    names = [
        f"{part}-{what}{mark}idx{rank}-ubyte{end}" for end in ("", ".gz") for mark in ("-", ".")
    ]
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _header(source: Source) -> tuple[np.dtype[Any], Shape]:
    magic = read_exactly(source.path, "the magic number", source.stream.read, 4)
    code, rank = magic[2:]
    if any(magic[:2]) or code not in _DTYPES:
        known = ", ".join(f"{known:02x}" for known in _DTYPES)
        expected = f"0x0000, one of {known}, and the number of dimensions"
        raise fault(source.path, "the magic number", f"0x{magic.hex()}", expected)
    sizes = read_exactly(source.path, "the shape", source.stream.read, 4 * rank)
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    return np.dtype(_DTYPES[code]), shape


def _check_claim(source: Source, rest: int, count: int) -> None:
    """Refuse a header that speaks of more than there can be, or of less than there is."""
    if count > rest or (count < rest and not source.is_gzip):
        got = f"at most {rest}" if source.is_gzip else f"{rest}"
        raise fault(source.path, "the length of the data", f"{got} bytes", f"{count}")


def _check_array(path: Path, array: Array, example: Shape, expected: str) -> None:
    if array.dtype != np.uint8:
        raise fault(path, "the dtype", array.dtype, "uint8")
    if array.ndim == 0 or array.shape[1:] != example:
        raise fault(path, "the shape", array.shape, expected)
