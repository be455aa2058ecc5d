"""Kaggle's table of digits, written cell by cell."""

import csv
import gzip
import io
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purenn.data import DataError, kaggle_digits, kaggle_images
from purenn.typing import Array
from tests.data.files import MIB, at_most, damaged, outcome

PIXELS = [f"pixel{i}" for i in range(784)]


def table(images: Array, labels: Array | None = None, end: str = "\n") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(PIXELS if labels is None else ["label", *PIXELS])
    for i, image in enumerate(images):
        front = [] if labels is None else [labels[i]]
        writer.writerow([*front, *image.ravel().tolist()])
    return text.getvalue().encode()


def draw(seed: int, count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28, 1), np.uint8)
    return images, rng.integers(0, 10, count)


def lines(seed: int = 0, count: int = 3) -> list[list[bytes]]:
    return [line.split(b",") for line in table(*draw(seed, count)).splitlines()]


def joined(cells: list[list[bytes]]) -> bytes:
    return b"\n".join(map(b",".join, cells)) + b"\n"


@settings(max_examples=30)
@given(
    st.integers(0, 2**32), st.integers(0, 4), st.booleans(), st.booleans(),
    st.sampled_from(["\n", "\r\n"]), st.booleans(),
)  # fmt: skip
def test_what_was_written_is_read(
    seed: int, count: int, labelled: bool, packed: bool, end: str, open_end: bool
) -> None:
    images, labels = draw(seed, count)
    data = table(images, labels if labelled else None, end)
    data = data.rstrip() if open_end else data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
        if labelled:
            got = kaggle_digits(path)
            assert got.classes == tuple("0123456789")
            assert got.targets.dtype == np.int64
            np.testing.assert_array_equal(got.targets, labels)
            inputs = got.inputs
        else:
            inputs = kaggle_images(path)
        assert inputs.dtype == np.uint8
        assert inputs.flags.c_contiguous
        np.testing.assert_array_equal(inputs, images)


@pytest.mark.parametrize(
    "cell", [b"256", b"-1", b"", b" 1", b"1.0", b"007", b"x", b"1_0", b'"1"', b"\xff", b"9" * 5000]
)
@pytest.mark.parametrize(("line", "column"), [(1, 0), (2, 5), (3, 784)])
def test_a_cell_that_is_no_byte(tmp_path: Path, cell: bytes, line: int, column: int) -> None:
    cells = lines()
    cells[line][column] = cell
    path = tmp_path / "train.csv"
    path.write_bytes(joined(cells))
    name = "label" if column == 0 else PIXELS[column - 1]
    told = rf"line {line + 1}, column {column + 1} \({name}\) is '.*', expected an integer from 0"
    with pytest.raises(DataError, match=told) as raised:
        kaggle_digits(path)
    assert len(str(raised.value)) < len(str(path)) + 120


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"

    def refused(data: bytes, told: str) -> None:
        path.write_bytes(data)
        with at_most(MIB), pytest.raises(DataError, match=told) as raised:
            kaggle_digits(path)
        assert str(raised.value).startswith(f"{path}: ")

    cells = lines()
    header = joined(cells[:1])
    refused(b"", "line 1, column 1 is '', expected label")
    refused(b"PK\3\4\0\0", "line 1, column 1 is 'PK..., expected label".replace("...", ".*"))
    refused(table(draw(0, 2)[0]), "line 1, column 1 is 'pixel0', expected label")
    refused(joined([cells[0][:-1], *cells[1:]]), "the width of line 1 is 784, expected 785")
    refused(joined([[*cells[0], b"x"]]), "the width of line 1 is 786, expected 785")
    refused(joined([*cells[:2], cells[2][:-1]]), "the width of line 3 is 784, expected 785")
    refused(joined([*cells[:2], [*cells[2], b"0"]]), "the width of line 3 is 786, expected 785")
    refused(joined(cells) + b"\n", r"line 5, column 1 \(label\) is ''")
    refused(header + b"0" * 50 * MIB, r"line 2, column 1 \(label\) is '0{20}', expected")
    refused(header + b"0," * 25 * MIB, r"line 2.*expected")
    refused(gzip.compress(header, mtime=0)[:-9], "the gzip stream is broken")
    cells[3][0] = b"10"
    refused(joined(cells), r"line 4, column 1 \(label\) is '10', expected an integer from 0 to 9")


def test_a_row_is_not_wider_than_the_header(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_bytes(table(draw(0, 1)[0])[:-1] + b",x")
    with pytest.raises(DataError, match=r"line 2, column 785 \(none of the header\) is 'x'"):
        kaggle_images(path)
    with pytest.raises(FileNotFoundError):
        kaggle_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it is a folder"):
        kaggle_digits(tmp_path)


@settings(max_examples=200)
@given(st.data(), st.booleans())
def test_damage_is_seen_or_harmless(data: st.DataObject, packed: bool) -> None:
    whole = table(*draw(0, 2))
    broken = data.draw(damaged(gzip.compress(whole, mtime=0) if packed else whole))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(broken)
        got = outcome(partial(kaggle_digits, path), path)
        if got is not None:
            text = gzip.decompress(broken) if broken[:2] == b"\x1f\x8b" else broken
            rows = list(csv.reader(io.StringIO(text.decode())))
            assert rows[0] == ["label", *PIXELS]
            np.testing.assert_array_equal([int(row[0]) for row in rows[1:]], got.targets)
            values = [list(map(int, row[1:])) for row in rows[1:]]
            np.testing.assert_array_equal(values, got.inputs.reshape(len(values), -1))
