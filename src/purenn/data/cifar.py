"""CIFAR-10 and CIFAR-100 in their binary version.

A record is the bytes of its labels and 3072 of an image, one color after the other: Krizhevsky
2009, "Learning multiple layers of features from tiny images". CIFAR-100 has two labels, the
superclass ("coarse") and the class ("fine").
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from purenn.contract import check_integer
from purenn.data._files import (
    PathLike,
    as_path,
    check_end,
    check_labels,
    check_plain,
    fault,
    opened,
    read_exactly,
)
from purenn.data.dataset import Dataset, numbered
from purenn.typing import Array

_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PIXELS = 3 * 32 * 32
_LONGEST = 1 << 16  # bytes of a list of names


def read_cifar(
    path: PathLike, labels: int = 1, *, mmap: bool = False
) -> tuple[UInt8[Array, "examples 32 32 3"], UInt8[Array, "examples labels"]]:
    """Read the images and labels of one file.

    Args:
        path: The file, ``data_batch_1.bin`` say.
        labels: Labels of each image: 1 in CIFAR-10; 2 in CIFAR-100, the coarse and the fine one.
        mmap: Whether to map the file into memory, read-only, and leave it on the disk until an
            element is used; the images are a view of it then.

    Raises:
        DataError: the file is empty, packed, or no multiple of the record.
        DtypeError: ``labels`` is no int.
        DomainError: ``labels`` is less than 1.
    """
    where = as_path("read_cifar", "path", path)
    record = check_integer("read_cifar", "labels", labels, least=1) + _PIXELS
    with opened(where) as source:
        check_plain(source)
        count, rest = divmod(source.most, record)
        if rest or not count:
            got, expected = f"{source.most} bytes", f"a multiple of {record}, and not 0"
            raise fault(where, "the length", got, expected)
        records: Array
        if mmap:
            records = np.memmap(where, np.uint8, "r", 0, (count, record))
        else:
            data = read_exactly(where, "the file", source.stream.read, source.most)
            check_end(where, source.stream.read)
            records = np.frombuffer(data, np.uint8).reshape(count, record)
    images = records[:, labels:].reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)
    return images if mmap else np.ascontiguousarray(images), np.array(records[:, :labels])


def cifar10(folder: PathLike) -> tuple[Dataset, Dataset]:
    """Read CIFAR-10 from ``data_batch_1.bin`` … ``data_batch_5.bin`` and ``test_batch.bin``.

    Five files are no one array that could be mapped into memory; :func:`read_cifar` maps one.

    Args:
        folder: Holds the files, or ``cifar-10-batches-bin`` that does. The names of the classes
            are from ``batches.meta.txt``, where there is one.

    Returns:
        The training part and the test part: inputs (n, 32, 32, 3) uint8.

    Raises:
        DataError: a file is wrong.
        FileNotFoundError: a file is missing.
    """
    where = _inside(as_path("cifar10", "folder", folder), "cifar-10-batches-bin")
    classes = _names(where / "batches.meta.txt", _CLASSES)
    parts = [_part(where / f"data_batch_{i}.bin", 1, classes, False) for i in range(1, 6)]
    inputs, targets = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return Dataset(inputs, targets, classes), _part(where / "test_batch.bin", 1, classes, False)


def cifar100(folder: PathLike, *, mmap: bool = False) -> tuple[Dataset, Dataset]:
    """Read CIFAR-100, with its fine labels, from ``train.bin`` and ``test.bin``.

    Args:
        folder: Holds the files, or ``cifar-100-binary`` that does. The names of the classes are
            from ``fine_label_names.txt``; without it they are numbers.
        mmap: Whether to map the images into memory, as :func:`read_cifar` does, which also reads
            coarse labels.

    Returns:
        The training part and the test part: inputs (n, 32, 32, 3) uint8.

    Raises:
        DataError: a file is wrong.
        FileNotFoundError: a file is missing.
    """
    where = _inside(as_path("cifar100", "folder", folder), "cifar-100-binary")
    classes = _names(where / "fine_label_names.txt", numbered(100))
    return _part(where / "train.bin", 2, classes, mmap), _part(where / "test.bin", 2, classes, mmap)


def _part(path: Path, labels: int, classes: tuple[str, ...], mmap: bool) -> Dataset:
    images, columns = read_cifar(path, labels, mmap=mmap)
    fine = columns[:, -1]
    check_labels(path, fine, len(classes))
    return Dataset(images, fine.astype(np.int64), classes)


def _inside(folder: Path, name: str) -> Path:
    """The folder that the archive unpacks to, if it is in there."""
    return folder / name if (folder / name).is_dir() else folder


def _names(path: Path, default: tuple[str, ...]) -> tuple[str, ...]:
    """A name per line; the lines at the end may be empty."""
    if not path.exists():
        return default
    with opened(path) as source:
        data = source.stream.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise fault(path, "the length", f"over {_LONGEST} bytes", "a name per line")
    try:
        names = tuple(data.decode().rstrip().splitlines())
    except UnicodeDecodeError as error:
        raise fault(path, f"byte {error.start}", f"0x{data[error.start]:02x}", "UTF-8") from None
    if len(names) != len(default):
        raise fault(path, "the number of names", len(names), f"{len(default)}")
    if "" in names:
        raise fault(path, f"line {names.index('') + 1}", "empty", "a name")
    return names
