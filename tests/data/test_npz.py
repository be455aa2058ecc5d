"""Archives of arrays, written by NumPy, or member by member where NumPy would not."""

import io
import os
import struct
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.data import DataError, Dataset, npz
from purenn.typing import Array, Shape
from tests.data.files import MIB, at_most, damaged, outcome

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([2, 0, 1])


def npy(array: Array, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def raw(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """An array by hand, whose header says what it likes."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def told(descr: str = "'|u1'", order: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(f"{name}.npy", data)
    return file.getvalue()


def read(data: bytes) -> tuple[Dataset, Dataset | None]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npz")
        path.write_bytes(data)
        return npz(path)


def saved(compressed: bool, **arrays: Array) -> bytes:
    file = io.BytesIO()
    save: Any = np.savez_compressed if compressed else np.savez
    save(file, **arrays)
    return file.getvalue()


@settings(max_examples=150)
@given(st.data(), st.booleans(), st.booleans())
def test_what_was_written_is_read(data: st.DataObject, compressed: bool, fortran: bool) -> None:
    dtype = data.draw(
        st.sampled_from(["u1", "<f4", ">f4", "<f8", "f2", "i8", ">i2", "?", "u8", "i1"])
    )
    shape: Shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=5, min_side=0, max_side=3))
    wide = st.floats(width=32) if dtype == "<f8" else None  # float32 has these too
    x = data.draw(hnp.arrays(dtype, shape, elements=wide))
    y = data.draw(
        hnp.arrays(
            data.draw(st.sampled_from(["u1", "<i8", ">i4", "u2"])),
            data.draw(st.sampled_from([(len(x),), (len(x), 1)])),
            elements=st.integers(0, 120),
        )
    )
    x_name, y_name = data.draw(
        st.sampled_from(
            [("x_train", "y_train"), ("x", "y"), ("inputs", "targets"), ("data", "target")]
        )
    )
    stored = np.asfortranarray(x) if fortran else x
    train, test = read(saved(compressed, **{x_name: stored, y_name: y, "other": x}))
    assert test is None
    is_image = x.dtype == np.uint8 and x.ndim in (3, 4)
    assert train.inputs.dtype == (np.uint8 if is_image else np.float32)
    assert train.inputs.flags.c_contiguous
    expected = x[..., None] if is_image and x.ndim == 3 else x
    assert train.inputs.shape == expected.shape
    np.testing.assert_array_equal(train.inputs, expected.astype(train.inputs.dtype))
    assert train.targets.dtype == np.int64
    np.testing.assert_array_equal(train.targets, y.ravel())
    assert train.classes == tuple(map(str, range(1 + max(y.ravel().tolist(), default=-1))))


@settings(max_examples=50)
@given(
    hnp.arrays(
        st.sampled_from(["f2", "f4", "f8"]),
        hnp.array_shapes(min_dims=1, max_dims=2, min_side=0),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_values_are_a_regression(y: Array) -> None:
    train, _ = read(saved(False, x=np.zeros((len(y), 2)), y=y))
    assert train.classes == ()
    assert train.targets.dtype == np.float32
    np.testing.assert_array_equal(train.targets, y if y.ndim == 2 else y[:, None])


def test_nan_is_a_value_as_any() -> None:
    train, _ = read(saved(False, x=np.full((1, 1), np.inf), y=np.full(1, np.nan)))
    assert np.isnan(train.targets).all()
    assert np.isinf(train.inputs).all()
    signalling = np.array([[0x7FF0000000000001]], np.uint64).view(np.float64)
    assert np.isnan(read(saved(False, x=signalling, y=np.ones(1)))[0].inputs).all()


def test_the_archive_of_keras() -> None:
    arrays = {
        "x_test": IMAGES[:1], "x_train": IMAGES, "y_train": LABELS, "y_test": LABELS[:1] + 5,
    }  # fmt: skip
    train, test = read(saved(True, **arrays))
    assert test is not None
    assert (train.inputs.shape, test.inputs.shape) == ((3, 4, 5, 1), (1, 4, 5, 1))
    assert train.classes == test.classes == tuple("01234567"), "those of both parts"
    np.testing.assert_array_equal(test.targets, [7])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_format(version: tuple[int, int]) -> None:
    train, _ = read(archive({"x": npy(IMAGES, version), "y": npy(LABELS, version)}))
    np.testing.assert_array_equal(train.inputs[..., 0], IMAGES)


def test_a_header_of_other_writers() -> None:
    header = "{'shape':(3L,2L) ,'fortran_order':True,'descr':'>u2'}"
    data = struct.pack(">6H", *range(6))
    train, _ = read(archive({"x": raw(header.replace("L", ""), data), "y": npy(LABELS)}))
    np.testing.assert_array_equal(train.inputs, [[0, 3], [1, 4], [2, 5]])


class Trap:
    """What a pickle does when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("/nowhere/trap",)


X, Y = npy(IMAGES), npy(LABELS)
BROKEN = bytearray(archive({"x": X, "y": Y}))
BROKEN[200] ^= 1  # one of the images


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": X, "b": Y}, r"the list of members is \['a', 'b'\], expected one of x_train"),
        ({}, r"the list of members is \[\]"),
        ({"x": X}, "member y is missing, expected x and y"),
        ({"y_train": Y}, "member x_train is missing"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, "member x_test is missing, expected x_test"),
        ({"x": X[:-1], "y": Y}, "the length of x is 59 bytes, expected 60"),
        ({"x": X + b"0", "y": Y}, "the length of x is 61 bytes, expected 60"),
        ({"x": X[:100], "y": Y}, "the length of the header of x is 90 bytes, expected 118"),
        ({"x": X[:9], "y": Y}, "the length of the header of x is 1 bytes, expected 2"),
        ({"x": b"", "y": Y}, "the length of the magic number of x is 0 bytes, expected 8"),
        ({"x": b"GIF89a" * 9, "y": Y}, "the magic number of x is 474946383961"),
        ({"x": X[:6] + b"\4" + X[7:], "y": Y}, "the magic number of x is 934e554d50590400"),
        ({"x": raw(" " * 10_001), "y": Y}, "of the header of x is 10001 bytes, expected at most"),
        ({"x": raw(""), "y": Y}, "descr in the header of x is missing"),
        ({"x": raw(told("'|O'")), "y": Y}, r"descr in the header of x is .*\|O.*, expected a"),
        ({"x": raw(told("'<c8'")), "y": Y}, "descr in the header of x is"),
        ({"x": raw(told("[('a', '<f4')]")), "y": Y}, "descr in the header of x is"),
        ({"x": raw(told("'<f1'")), "y": Y}, "the dtype of x is <f1, expected one that NumPy has"),
        ({"x": raw(told(order="1")), "y": Y}, "fortran_order in the header of x is"),
        ({"x": raw(told(shape="(-3,)")), "y": Y}, r"shape in the header of x is .*\(-3,\)"),
        ({"x": raw(told(shape="(1e9,)")), "y": Y}, "shape in the header of x is"),
        ({"x": raw(told(shape="(" + "9" * 999 + ",)")), "y": Y}, "shape in the header of x is"),
        ({"x": raw(told(shape="(" + "9," * 99 + ")")), "y": Y}, "number of dimensions of x is 99"),
        ({"x": raw(told(shape=f"({2**60},)")), "y": Y}, f"x is 0 bytes, expected {2**60}"),
        ({"x": raw(told(shape=f"({2**63}, 0)")), "y": Y}, "the shape of x is"),
        ({"x": raw(told(shape=f"({2**60},)"), version=2), "y": Y}, f"0 bytes, expected {2**60}"),
        ({"x": npy(np.zeros(3)), "y": Y}, r"the shape of x is \(3,\), expected \(n, …\)"),
        ({"x": npy(np.full((3, 1), 1e39)), "y": Y}, r"x is as large as 1e\+39, expected numbers"),
        ({"x": X, "y": npy(LABELS[:2])}, "the number of examples in y is 2, expected 3, as of x"),
        ({"x": X, "y": npy(LABELS - 1)}, r"y\[1\] is -1, expected 0 to 65535"),
        ({"x": X, "y": npy(LABELS + 65535)}, r"y\[0\] is 65537, expected 0 to 65535"),
        ({"x": X, "y": npy(np.uint64(2**64 - 1) - LABELS.astype(np.uint64))}, r"y\[0\] is 1844674"),
        ({"x": X, "y": npy(np.eye(3, dtype=int))}, r"the shape of the labels y is \(3, 3\)"),
        ({"x": X, "y": npy(np.zeros((3, 1, 1)))}, r"the shape of y is \(3, 1, 1\), expected"),
        ({"x": X, "y": npy(np.array(1))}, r"the shape of the labels y is \(\)"),
        (
            {"x_train": X, "y_train": Y, "x_test": npy(IMAGES[:, 1:]), "y_test": Y},
            r"x_test is of dtype uint8 and shape \(3, 3, 5, 1\), expected what x_train is but",
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": npy(LABELS / 2)},
            "y_test is of dtype float32",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_refused(
    tmp_path: Path, members: dict[str, bytes], message: str, method: int
) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(archive(members, method))
    with at_most(MIB), pytest.raises(DataError, match=message) as raised:
        npz(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_pickles_are_not_loaded() -> None:
    for objects in (np.array([[Trap()]], object), np.array([[{}]], object)):
        with pytest.raises(DataError, match="descr in the header of x"):
            read(saved(False, x=objects, y=np.zeros(1)))
    with pytest.raises(DataError, match="the magic number of x"):
        read(archive({"x": b"\x80\x04" + b"pickled" * 9, "y": Y}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\3\4",
        b"garbage" * 100,
        archive({"x": X, "y": Y})[:-1],
        archive({"x": X, "y": Y})[1:],
        bytes(BROKEN),
        npy(IMAGES),
    ],
)
def test_what_is_no_archive(data: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.npz: the zip archive is broken"):
        read(data)


def in_directory(offset: int, form: str, value: int) -> bytes:
    """An archive with a number in the directory, at its entry of x, overwritten."""
    whole = bytearray(archive({"x": X, "y": Y}, zipfile.ZIP_DEFLATED))
    struct.pack_into(form, whole, whole.index(b"PK\1\2") + offset, value)
    return bytes(whole)


def beyond_the_end() -> bytes:
    """An archive with a member that is as large as the file is, and does not begin with it."""
    header = raw(told(shape="(0000,)"))
    size = len(archive({"x": header, "y": Y}))
    header = raw(told(shape=f"({size - len(header):04},)"))
    whole = bytearray(archive({"x": header, "y": Y}))
    struct.pack_into("<II", whole, whole.index(b"PK\1\2") + 20, size, size)
    return bytes(whole)


def test_what_is_wrong_with_a_member() -> None:
    """Each is told by another exception of zipfile."""
    encrypted = bytearray(in_directory(8, "<H", 1))
    struct.pack_into("<H", encrypted, 6, 1)
    name = bytearray(in_directory(8, "<H", 0x800))
    name[name.index(b"PK\1\2") + 46] = 0xFF
    before = bytearray(archive({"x": X, "y": Y}))
    struct.pack_into("<I", before, len(before) - 6, len(before))
    for data, message in (
        (bytes(encrypted), "encrypted"),
        (bytes(name), "can't decode byte 0xff"),
        (bytes(before), ""),
        (in_directory(6, "<H", 255), "version 25.5"),
        (beyond_the_end(), "EOFError|Overlapped"),
        (in_directory(16, "<I", 0), "Bad CRC-32"),
    ):
        with pytest.raises(DataError, match=f"the zip archive is broken: .*({message})"):
            read(data)


def test_other_compressions() -> None:
    with pytest.raises(DataError, match="the compression of x is 14, expected 0 or 8"):
        read(archive({"x": X, "y": Y}, zipfile.ZIP_LZMA))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is a folder"):
        npz(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        npz(tmp_path / "nowhere")


def test_a_size_that_cannot_be_in_there() -> None:
    """The directory of the archive lies about a member of 2 GiB, and so does its header."""
    data = raw(told(shape=f"({2**31 - 1000},)"))
    whole = bytearray(archive({"x": data, "y": Y}, zipfile.ZIP_DEFLATED))
    central = whole.index(b"PK\1\2")
    struct.pack_into("<I", whole, central + 24, 2**31)
    with at_most(MIB), pytest.raises(DataError, match="the size of x is 2147483648 bytes"):
        read(bytes(whole))


def test_a_bomb_is_not_unpacked() -> None:
    data = raw(told(shape="(3,)"), bytes(100 * MIB))
    whole = archive({"x": data, "y": Y}, zipfile.ZIP_DEFLATED)
    del data
    with at_most(MIB), pytest.raises(DataError, match="bytes, expected 3 for"):
        read(whole)


@settings(max_examples=400)
@given(st.data(), st.booleans())
def test_damage_is_seen_or_harmless(data: st.DataObject, compressed: bool) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
    broken = data.draw(damaged(saved(compressed, **arrays)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npz")
        path.write_bytes(broken)
        got = outcome(partial(npz, path), path)
    if got is not None:
        # Each member has a checksum: only what is no part of any may change unseen.
        np.testing.assert_array_equal(got[0].inputs[..., 0], IMAGES)
        np.testing.assert_array_equal(got[0].targets, LABELS)


@settings(max_examples=300)
@given(st.data())
def test_damage_below_the_checksum_is_seen_or_harmless(data: st.DataObject) -> None:
    """The checksum is right, what it is of is not."""
    broken = data.draw(damaged(npy(IMAGES)))
    y = data.draw(damaged(npy(LABELS)) | st.just(npy(LABELS)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npz")
        path.write_bytes(archive({"x": broken, "y": y}))
        got = outcome(partial(npz, path), path)
    if got is not None:
        (inputs, targets, classes), _ = got
        assert inputs.dtype in (np.uint8, np.float32)
        assert len(inputs) == len(targets)
        if classes:
            assert targets.dtype == np.int64
            assert 0 <= targets.min() <= targets.max() == len(classes) - 1
