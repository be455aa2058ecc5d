"""IDX files written by ``struct``, as they should be and as they should not."""

import gzip
import math
import os
import struct
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn import random
from purenn.data import DataError, Dataset, fashion_mnist, mnist, read_idx
from purenn.errors import DtypeError
from purenn.training import batches
from purenn.typing import Array
from tests.data.files import MIB, at_most, damaged, outcome

FORMATS = {
    "uint8": (0x08, "B"),
    "int8": (0x09, "b"),
    "int16": (0x0B, "h"),
    "int32": (0x0C, "i"),
    "float32": (0x0D, "f"),
    "float64": (0x0E, "d"),
}
SMALL = b"\0\0\x08\x02" + struct.pack(">2I", 2, 3) + bytes(range(6))


def idx(array: Array) -> bytes:
    code, character = FORMATS[array.dtype.name]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + struct.pack(f">{array.size}{character}", *array.ravel().tolist())


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def write_mnist(folder: Path, sizes: tuple[int, int] = (5, 3), end: str = "") -> list[Array]:
    """Random images and labels, in the four files; returned in the order of the files."""
    rng = np.random.default_rng(0)
    written = []
    for part, size in zip(("train", "t10k"), sizes, strict=True):
        images = rng.integers(0, 256, (size, 28, 28), np.uint8)
        labels = rng.integers(0, 10, size, np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = gzip.compress(idx(array), mtime=0) if end == ".gz" else idx(array)
            write(folder / f"{part}-{name}-ubyte{end}", data)
            written.append(array)
    return written


arrays = st.sampled_from(list(FORMATS)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@settings(max_examples=150)
@given(arrays, st.booleans(), st.booleans())
def test_what_was_written_is_read(array: Array, packed: bool, mmap: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(
            Path(folder, "x.gz"), gzip.compress(idx(array), mtime=0) if packed else idx(array)
        )
        if packed and mmap:
            with pytest.raises(DataError, match="packed by gzip, expected a plain file"):
                read_idx(path, mmap=True)
            return
        got = read_idx(path, mmap=mmap)
        assert got.shape == array.shape
        np.testing.assert_array_equal(got, array)
        if mmap:
            assert got.dtype.newbyteorder("=") == array.dtype
            assert isinstance(got, np.memmap) == (array.size > 0)
            if array.size:
                assert not got.flags.writeable
        else:
            assert got.dtype == array.dtype
            assert got.dtype.isnative


def test_gzip_of_several_members(tmp_path: Path) -> None:
    parts = gzip.compress(SMALL[:7], mtime=0) + gzip.compress(SMALL[7:])
    np.testing.assert_array_equal(read_idx(write(tmp_path / "x", parts)), [[0, 1, 2], [3, 4, 5]])


CORRUPT = bytearray(gzip.compress(SMALL, mtime=0))
CORRUPT[-8] ^= 1  # of the checksum


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the length of the magic number is 0 bytes, expected 4"),
        (b"\0\0\x08", "the length of the magic number is 3 bytes, expected 4"),
        (b"\x89PNG\r\n\x1a\n", "the magic number is 0x89504e47, expected 0x0000, one of 08, 09"),
        (b"\0\1" + SMALL[2:], "the magic number is 0x00010802, expected 0x0000, one of 08"),
        (b"\0\0\x0a\x01\0\0\0\0", "the magic number is 0x00000a01"),
        (SMALL[:9], "the length of the shape is 5 bytes, expected 8"),
        (SMALL[:-1], "the length of the data is 5 bytes, expected 6"),
        (SMALL + b"\0", "the length of the data is 7 bytes, expected 6"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "the number of dimensions of the data is 255"),
        (b"\0\0\x0e\x04" + b"\xff" * 16, "the shape of the data is .4294967295, .*fits in memory"),
        (b"\0\0\x0e\x04" + bytes(4) + b"\xff" * 12, "the shape of the data is .0, 4294967295"),
        (gzip.compress(SMALL, mtime=0)[:-9], "the gzip stream is broken"),
        (gzip.compress(SMALL, mtime=0)[:12], "the gzip stream is broken"),
        (gzip.compress(SMALL, mtime=0) + b"more", "the gzip stream is broken"),
        (gzip.compress(SMALL + b"\0", mtime=0), "what follows the data is not empty"),
        (gzip.compress(SMALL[:-1], mtime=0), "the length of the data is 5 bytes, expected 6"),
        (bytes(CORRUPT), "the gzip stream is broken: CRC check failed"),
        (b"\x1f\x8b" + b"garbage" * 9, "the gzip stream is broken"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = write(tmp_path / "x", data)
    with pytest.raises(DataError, match=told) as raised:
        read_idx(path)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("packed", [False, True])
def test_a_claim_is_not_believed(tmp_path: Path, packed: bool) -> None:
    lie = b"\0\0\x08\x02" + struct.pack(">2I", 2**30, 2**30) + bytes(100)
    path = write(tmp_path / "x", gzip.compress(lie, mtime=0) if packed else lie)
    with at_most(MIB), pytest.raises(DataError, match=f"expected {2**60}$"):
        read_idx(path)


def test_a_claim_that_may_be_true_costs_what_is_there(tmp_path: Path) -> None:
    noise = os.urandom(MIB)
    lie = b"\0\0\x08\x01" + struct.pack(">I", 1000 * MIB) + noise
    path = write(tmp_path / "x", gzip.compress(lie, mtime=0))
    with at_most(4 * MIB), pytest.raises(DataError, match=f"is {MIB} bytes, expected {1000 * MIB}"):
        read_idx(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "x", gzip.compress(SMALL + bytes(100 * MIB), mtime=0))
    with at_most(MIB), pytest.raises(DataError, match="what follows the data is not empty"):
        read_idx(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder, expected a regular file"):
        read_idx(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is a special file"):
        read_idx(tmp_path / "pipe")


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_path() -> None:
    wrong: Any = 3
    with pytest.raises(DtypeError, match="read_idx: path is a int, expected a path"):
        read_idx(wrong)


@settings(max_examples=300)
@given(st.data(), st.booleans(), st.sampled_from(sorted(FORMATS)))
def test_damage_is_seen_or_harmless(data: st.DataObject, packed: bool, name: str) -> None:
    whole = idx(np.arange(24).reshape(2, 3, 4).astype(name))
    broken = data.draw(damaged(gzip.compress(whole, mtime=0) if packed else whole))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "x"), broken)
        for mmap in (False, True):
            got = outcome(partial(read_idx, path, mmap=mmap), path)
            if got is not None:
                # All of the file, and nothing else, is what was read.
                unpacked = gzip.decompress(broken) if broken[:2] == b"\x1f\x8b" else broken
                assert len(unpacked) == 4 + 4 * got.ndim + got.nbytes
                assert got.dtype.name in FORMATS


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("read", [mnist, fashion_mnist])
def test_mnist(tmp_path: Path, end: str, dotted: bool, read: Any) -> None:
    written = write_mnist(tmp_path, end=end)
    if dotted:
        for path in tmp_path.iterdir():
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    for mmap in (False, True)[: 1 if end else 2]:
        parts = read(str(tmp_path), mmap=mmap)
        for part, images, labels in zip(parts, written[::2], written[1::2], strict=True):
            assert isinstance(part, Dataset)
            assert part.inputs.dtype == np.uint8
            assert part.targets.dtype == np.int64
            assert isinstance(part.inputs, np.memmap) == mmap
            np.testing.assert_array_equal(part.inputs, images[..., None])
            np.testing.assert_array_equal(part.targets, labels)
            names = part.classes
            assert len(names) == 10
            assert (names[9], names[0]) == (
                ("9", "0") if read is mnist else ("Ankle boot", "T-shirt/top")
            )


def test_mnist_that_does_not_fit_together(tmp_path: Path) -> None:
    def refused(name: str, array: Array, told: str) -> None:
        write_mnist(tmp_path)
        write(tmp_path / name, idx(array))
        with pytest.raises(DataError, match=f"{name}: {told}"):
            mnist(tmp_path)

    labels = np.arange(5, dtype=np.uint8)
    refused(
        "train-labels-idx1-ubyte",
        labels[:4],
        "the number of labels is 4, expected 5, as of images in train-images-idx3-ubyte",
    )
    refused("train-labels-idx1-ubyte", labels + np.uint8(6), r"labels\[4\] is 10, expected 0 to 9")
    refused("train-labels-idx1-ubyte", labels.astype(np.int32), "the dtype is int32")
    refused("t10k-labels-idx1-ubyte", labels[:3, None], r"the shape is \(3, 1\), expected \(n,\)")
    refused(
        "t10k-images-idx3-ubyte",
        np.zeros((3, 28, 27), np.uint8),
        r"the shape is \(3, 28, 27\), expected \(n, 28, 28\)",
    )


def test_mnist_that_is_not_there(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte"):
        mnist(tmp_path)


def test_a_mapped_file_stays_on_the_disk(tmp_path: Path) -> None:
    shape = 4096, 512, 512
    path = tmp_path / "large"
    with path.open("wb") as file:  # a GiB of zeros, of which the disk keeps what is written
        file.write(struct.pack(">4B3I", 0, 0, 8, 3, *shape))
        file.seek(512 * 512 * 1000, os.SEEK_CUR)
        file.write(b"\x07")
        file.truncate(16 + math.prod(shape))
    key = random.key(0)
    with at_most(4 * MIB):
        images = read_idx(path, mmap=True)
        assert images[1000, 0, 0] == 7
        taken = batches(key, (images, np.arange(4096)), 2)
        for _ in range(20):
            some, places = next(taken)
            assert type(some) is np.ndarray
            np.testing.assert_array_equal(some[:, 0, 0], np.where(places == 1000, 7, 0))


def test_mapped_mnist_is_batched_without_reading_it(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    count = 100_000
    for what, rank, size in (("images", 3, 28), ("labels", 1, 1)):
        shape = (count, 28, 28)[:rank]
        with (tmp_path / f"train-{what}-idx{rank}-ubyte").open("wb") as file:
            file.write(struct.pack(f">4B{rank}I", 0, 0, 8, rank, *shape))
            file.truncate(4 + 4 * rank + count * size**2)
    with at_most(20 * MIB):  # 75 MiB of images
        train, _ = mnist(tmp_path, mmap=True)
        inputs, targets = next(batches(random.key(0), train[:2], 32))
    assert inputs.dtype == np.uint8
    assert (inputs.shape, targets.shape) == ((32, 28, 28, 1), (32,))
