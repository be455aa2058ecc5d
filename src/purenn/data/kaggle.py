"""MNIST as Kaggle's "Digit Recognizer" has it: a CSV file with a row of pixels per image."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from purenn.data._files import PathLike, Source, as_path, fault, opened
from purenn.data.dataset import Dataset, numbered
from purenn.typing import Array

_PIXELS = tuple(f"pixel{i}" for i in range(28 * 28))
_BYTES = {str(value).encode(): value for value in range(256)}
_LONGEST = len("255,")


def kaggle_digits(path: PathLike) -> Dataset:
    """Read ``train.csv``, whose header is ``label,pixel0,…,pixel783``.

    Returns:
        Inputs (n, 28, 28, 1) uint8, the digits as labels.

    Raises:
        DataError: the file is wrong; the message names the line and the column.
    """
    where = as_path("kaggle_digits", "path", path)
    rows = _table(where, ("label", *_PIXELS))
    labels = rows[:, 0].astype(np.int64)
    if (labels > 9).any():
        first = int(np.argmax(labels > 9))
        raise _fault(where, first + 2, 0, "label", str(labels[first]).encode(), 9)
    return Dataset(_images(rows[:, 1:]), labels, numbered(10))


def kaggle_images(path: PathLike) -> UInt8[Array, "examples 28 28 1"]:
    """Read ``test.csv``, which has no labels: its header is ``pixel0,…,pixel783``.

    Raises:
        DataError: the file is wrong; the message names the line and the column.
    """
    return _images(_table(as_path("kaggle_images", "path", path), _PIXELS))


def _images(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels).reshape(-1, 28, 28, 1)


def _table(path: Path, columns: tuple[str, ...]) -> Array:
    """The numbers below the header, each from 0 to 255."""
    data = bytearray()
    with opened(path) as source:
        _check_header(source, columns)
        longest = _LONGEST * len(columns) + 1  # its end may be two bytes
        number = 1
        while line := source.stream.readline(longest + 1):
            number += 1
            fields = line.rstrip(b"\r\n").split(b",")
            try:
                row = bytes(map(_BYTES.__getitem__, fields))
            except KeyError:
                column = next(i for i, field in enumerate(fields) if field not in _BYTES)
                name = columns[column] if column < len(columns) else "none of the header"
                raise _fault(path, number, column, name, fields[column], 255) from None
            if len(row) != len(columns):
                raise fault(path, f"the width of line {number}", len(row), f"{len(columns)}")
            data += row
    return np.frombuffer(data, np.uint8).reshape(-1, len(columns))


def _check_header(source: Source, columns: tuple[str, ...]) -> None:
    expected = ",".join(columns)
    line = source.stream.readline(len(expected) + 3)
    names = line.rstrip(b"\r\n").split(b",")
    for i, (got, name) in enumerate(zip(names, columns, strict=False)):
        if got != name.encode():
            raise fault(source.path, f"line 1, column {i + 1}", _shown(got), name)
    if len(names) != len(columns):
        raise fault(source.path, "the width of line 1", len(names), f"{len(columns)}")


def _fault(path: Path, line: int, column: int, name: str, got: bytes, most: int) -> Exception:
    field = f"line {line}, column {column + 1} ({name})"
    return fault(path, field, _shown(got), f"an integer from 0 to {most}")


def _shown(field: bytes) -> str:
    return repr(field[:20].decode(errors="replace"))
