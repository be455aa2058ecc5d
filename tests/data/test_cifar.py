"""CIFAR's records, written pixel by pixel."""

import gzip
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purenn import random
from purenn.data import DataError, cifar10, cifar100, read_cifar
from purenn.errors import DomainError, DtypeError
from purenn.training import batches
from purenn.typing import Array
from tests.data.files import MIB, at_most, damaged, outcome

RECORD = 3073
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))


def records(images: Array, labels: Array) -> bytes:
    """Each image after its labels: all its red, then all its green, then all its blue."""
    written = bytearray()
    for image, its in zip(images, labels, strict=True):
        written += bytes(its.tolist())
        for color in range(3):
            for row in range(32):
                written += bytes(image[row, :, color].tolist())
    return bytes(written)


def draw(seed: int, count: int, labels: int, classes: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return images, rng.integers(0, classes, (count, labels), np.uint8)


def write_cifar10(folder: Path) -> list[tuple[Array, Array]]:
    folder.mkdir(exist_ok=True)
    written = [draw(i, 1 + i % 3, 1, 10) for i in range(6)]
    for name, part in zip((*TRAIN, "test_batch.bin"), written, strict=True):
        (folder / name).write_bytes(records(*part))
    return written


def write_cifar100(folder: Path) -> list[tuple[Array, Array]]:
    folder.mkdir(exist_ok=True)
    written = [draw(i, 3 - i, 2, 100) for i in range(2)]
    for name, part in zip(("train.bin", "test.bin"), written, strict=True):
        (folder / name).write_bytes(records(*part))
    return written


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2), st.booleans())
def test_what_was_written_is_read(seed: int, count: int, labels: int, mmap: bool) -> None:
    images, columns = draw(seed, count, labels, 256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "batch")
        path.write_bytes(records(images, columns))
        got, got_labels = read_cifar(path, labels, mmap=mmap)
        assert got.dtype == got_labels.dtype == np.uint8
        np.testing.assert_array_equal(got, images)
        np.testing.assert_array_equal(got_labels, columns)
        assert isinstance(got, np.memmap) == mmap
        assert type(got_labels) is np.ndarray
        assert got.flags.writeable == got.flags.c_contiguous == (not mmap)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10(tmp_path: Path, inside: str) -> None:
    written = write_cifar10(tmp_path / inside)
    train, test = cifar10(tmp_path)
    np.testing.assert_array_equal(train.inputs, np.concatenate([x for x, _ in written[:5]]))
    np.testing.assert_array_equal(train.targets, np.concatenate([y[:, 0] for _, y in written[:5]]))
    np.testing.assert_array_equal(test.inputs, written[5][0])
    np.testing.assert_array_equal(test.targets, written[5][1][:, 0])
    assert train.targets.dtype == test.targets.dtype == np.int64
    assert train.classes == test.classes
    assert (len(train.classes), train.classes[0], train.classes[9]) == (10, "airplane", "truck")

    names = [f"name {i}" for i in range(10)]
    (tmp_path / inside / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    assert cifar10(tmp_path)[0].classes == tuple(names)


@pytest.mark.parametrize("inside", ["", "cifar-100-binary"])
@pytest.mark.parametrize("mmap", [False, True])
def test_cifar100(tmp_path: Path, inside: str, mmap: bool) -> None:
    written = write_cifar100(tmp_path / inside)
    for part, (images, labels) in zip(cifar100(tmp_path, mmap=mmap), written, strict=True):
        np.testing.assert_array_equal(part.inputs, images)
        np.testing.assert_array_equal(part.targets, labels[:, 1])
        assert isinstance(part.inputs, np.memmap) == mmap
        assert part.classes == tuple(map(str, range(100)))
    names = [f"name {i}" for i in range(100)]
    (tmp_path / inside / "fine_label_names.txt").write_text("\n".join(names))
    assert cifar100(tmp_path)[1].classes == tuple(names)


@pytest.mark.parametrize("size", [0, 1, RECORD - 1, RECORD + 1, 2 * (RECORD + 1)])
@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_of_another_size(tmp_path: Path, size: int, mmap: bool) -> None:
    path = tmp_path / "batch"
    path.write_bytes(bytes(size))
    told = f"the length is {size} bytes, expected a multiple of 3073, and not 0"
    with pytest.raises(DataError, match=told):
        read_cifar(path, mmap=mmap)


def test_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(gzip.compress(bytes(RECORD), mtime=0))
    with pytest.raises(DataError, match="it is packed by gzip"):
        read_cifar(path)
    with pytest.raises(DataError, match="it is a folder"):
        read_cifar(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"train\.bin"):
        cifar100(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin"):
        cifar10(tmp_path)
    with pytest.raises(DomainError, match="labels is 0, expected at least 1"):
        read_cifar(path, 0)


@pytest.mark.usefixtures("unannotated")
def test_a_number_of_labels_is_an_int(tmp_path: Path) -> None:
    with pytest.raises(DtypeError, match=r"labels is 1\.0, expected an int"):
        read_cifar(tmp_path, 1.0)  # type: ignore[arg-type]


def test_labels_and_names_that_are_wrong(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    images, labels = draw(0, 3, 1, 10)
    labels[1] = 10
    (tmp_path / "data_batch_4.bin").write_bytes(records(images, labels))
    with pytest.raises(DataError, match=r"data_batch_4\.bin: labels\[1\] is 10, expected 0 to 9"):
        cifar10(tmp_path)
    names = tmp_path / "batches.meta.txt"
    for wrong, told in (
        (b"a\nb\n", "the number of names is 2, expected 10"),
        (b"\n" + b"a\n" * 9, "line 1 is empty, expected a name"),
        (b"a\n" * 9 + b"\xff", "byte 18 is 0xff, expected UTF-8"),
        (b"a\n" * 10 + b" " * MIB, "the length is over 65536 bytes, expected a name per line"),
    ):
        names.write_bytes(wrong)
        with at_most(MIB), pytest.raises(DataError, match=rf"batches\.meta\.txt: {told}"):
            cifar10(tmp_path)


@settings(max_examples=100)
@given(st.data(), st.booleans())
def test_damage_is_seen_or_harmless(data: st.DataObject, mmap: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_cifar100(Path(folder))
        path = Path(folder, "train.bin")
        broken = data.draw(damaged(path.read_bytes()))
        path.write_bytes(broken)
        got = outcome(partial(cifar100, folder, mmap=mmap), path)
        if got is not None:
            assert len(broken) == len(got[0].inputs) * (RECORD + 1)
            assert 0 <= got[0].targets.min() <= got[0].targets.max() < 100


@settings(max_examples=100)
@given(st.data())
def test_damaged_names_are_seen_or_harmless(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_cifar10(Path(folder))
        path = Path(folder, "batches.meta.txt")
        path.write_bytes(data.draw(damaged("\n".join("àbcdéfghîj").encode())))
        got = outcome(partial(cifar10, folder), path)
        assert got is None or (len(got[0].classes) == 10 and all(got[0].classes))


def test_a_mapped_file_stays_on_the_disk(tmp_path: Path) -> None:
    count = 200_000
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.seek(RECORD * (count - 1), os.SEEK_SET)
        file.write(b"\x07" * RECORD)
    with at_most(20 * MIB):  # 586 MiB of images
        images, labels = read_cifar(path, mmap=True)
        assert (images[-1] == 7).all()
        some, its = next(batches(random.key(0), (images, labels[:, 0]), 64))
        np.testing.assert_array_equal(some.max(axis=(1, 2, 3)), its)
