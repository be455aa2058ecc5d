"""What is saved comes back, the same bits; everything else is refused."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis.extra import numpy as npst

from purenn import checkpoints, layers, optimizers, random, training, tree
from purenn.checkpoints import CheckpointError, _format
from purenn.errors import DomainError, DtypeError

MODEL = layers.serial(
    hidden=layers.dense(3), norm=layers.batch_norm(), drop=layers.dropout(0.1), out=layers.dense(2)
)
OPTIMIZER = optimizers.chain(
    optimizers.clip_by_global_norm(1.0), optimizers.inject_hyperparams(optimizers.adam)(1e-3)
)
DTYPES = [
    *(np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64),
    *(np.float16, np.float32, np.float64, ml_dtypes.bfloat16),
]
names = st.text(min_size=1, max_size=5)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st.tuples(
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.binary(min_size=1)
    ).map(lambda drawn: _bits(dtype, *drawn))
)
trees = st.recursive(
    arrays,
    lambda child: (
        st.dictionaries(names, child, max_size=3) | st.lists(child, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


def _bits(dtype: Any, shape: tuple[int, ...], content: bytes) -> Any:
    if dtype is np.bool_:
        content = bytes(byte % 2 for byte in content)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((content * (size + 1))[:size], dtype).reshape(shape)


def start(key: int = 0) -> training.TrainState:
    return training.init_state(MODEL, OPTIMIZER, random.key(key), (4,))


def same_bits(got: Any, expected: Any) -> None:
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert got.tobytes() == expected.tobytes()


@given(values=trees, metadata=st.dictionaries(names, st.floats() | names | st.integers()))
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: Any, metadata: dict[str, Any]
) -> None:
    file = tmp_path_factory.mktemp("any") / "tree.safetensors"
    checkpoints.save(file, values, metadata)
    got, told = checkpoints.load(file, tree.map(np.zeros_like, values))
    tree.map(same_bits, got, values)
    assert repr(told) == repr(metadata)
    assert [*file.parent.iterdir()] == [file]
    for leaf in tree.leaves(got):
        assert leaf.flags.writeable


def test_layout_does_not_matter(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(3, 4)
    for each in (np.asfortranarray(x), x[::-1, ::2], x.T):
        checkpoints.save(tmp_path / "x", {"x": each})
        np.testing.assert_array_equal(checkpoints.read(tmp_path / "x").arrays["x"], each)


def test_a_train_state_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    state = start()
    checkpoints.save(tmp_path / "state.safetensors", state, {"epoch": 3})
    theirs = safetensors.numpy.load_file(tmp_path / "state.safetensors")
    np.testing.assert_array_equal(theirs["params/hidden/kernel"], state.params["hidden"]["kernel"])
    assert "opt_state/1/hyperparams/learning_rate" in theirs
    assert "state/norm/mean" in theirs
    got, metadata = checkpoints.load(tmp_path / "state.safetensors", start(1))
    assert type(got) is training.TrainState
    assert type(got.opt_state[1]) is type(state.opt_state[1])
    tree.map(same_bits, got, state)
    assert metadata == {"epoch": 3}


def test_the_same_tree_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from purenn import checkpoints;"
        "checkpoints.save(sys.argv[1], {c: np.arange(3.0) for c in 'abcdef'}, {'x': 1, 'y': 2})"
    )
    for name in "ab":
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    from purenn.ops.losses import squared_error

    optimizer = optimizers.adam(lambda step: 0.1 / (1 + step))
    step = training.train_step(training.objective(MODEL, squared_error), optimizer)
    first = training.init_state(MODEL, optimizer, random.key(0), (4,))
    whole = list(training.fit(step, first, training.stream(random.key(1), data, 6, 3)))
    checkpoints.save(tmp_path / "x", whole[4][0])
    again, _ = checkpoints.load(tmp_path / "x", first)
    rest = training.stream(random.key(1), data, 6, 3, start=int(again.step))
    for (got, _), (expected, _) in zip(training.fit(step, again, rest), whole[5:], strict=True):
        tree.map(same_bits, got, expected)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"a": np.zeros(3)}, "x: lacks a; has w/b, which is not expected"),
        ({"w": {"b": np.zeros(3)}}, "x: w/b has shape (2,), expected (3,)"),
        ({"w": {"b": np.zeros(2, np.float32)}}, "x: w/b has dtype float64, expected float32"),
        ({}, "x: has w/b, which is not expected"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, like: Any, message: str) -> None:
    checkpoints.save(tmp_path / "x", {"w": {"b": np.zeros(2)}})
    with pytest.raises(CheckpointError, match=re.escape(message)):
        checkpoints.load(tmp_path / "x", like)


@given(st.data())
def test_a_file_that_was_changed_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("changed") / "x"
    checkpoints.save(file, start(), {"epoch": 3, "scores": [0.5, 0.25]})
    content = file.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "delete"]))
    if how == "flip":
        changed = bytearray(content)
        changed[place] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        changed = bytearray(content[:place])
    elif how == "insert":
        changed = bytearray(content[:place] + data.draw(st.binary(min_size=1)) + content[place:])
    else:
        changed = bytearray(content[:place] + content[place + 1 :])
    file.write_bytes(changed)
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(file))}: "):
        checkpoints.load(file, start())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 something else",
        b"\xff" * 100,
        b"\x00" * 100,
        (2**60).to_bytes(8, "little") + b"{}",
        pickle.dumps({"a": 1}),
        safetensors.numpy.save({"a": np.zeros(3)}),
        safetensors.numpy.save({"a": np.zeros(3)}, {"purenn": "{}"}),
        safetensors.numpy.save({"a": np.zeros(3)}, {"purenn": ""}),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x: (is no whole safet|has no header|its conte)"):
        checkpoints.read(tmp_path / "x")


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "x"
    checkpoints.save(file, {"a": np.ones(2)})
    before = file.read_bytes()
    with pytest.raises(DtypeError, match="save: a has dtype complex128, expected one of"):
        checkpoints.save(file, {"a": np.ones(2, complex)})
    with pytest.raises(DtypeError, match="save: a is a float, expected a NumPy array"):
        checkpoints.save(file, {"a": 1.0})
    with pytest.raises(DomainError, match="save: metadata cannot be written as JSON"):
        checkpoints.save(file, {"a": np.ones(2)}, {"x": np.ones(2)})
    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("name", ["__metadata__", "a\ud800"])
def test_names_that_the_file_cannot_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DomainError, match=re.escape(f"save: a leaf has the name {name!r}, which")):
        checkpoints.save(tmp_path / "x", {name: np.ones(2)})
    assert not [*tmp_path.iterdir()]
    checkpoints.save(tmp_path / "x", {"params": {"__metadata__": np.ones(2)}})
    assert [*checkpoints.read(tmp_path / "x").arrays] == ["params/__metadata__"]


def test_metadata_that_are_too_long_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=r"save: metadata is of 100,000,0\d\d characters, with "):
        checkpoints.save(tmp_path / "x", {"a": np.ones(2)}, {"notes": "x" * 10**8})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("header", ["[" * 200_000, "3", "{", "[]", "null", ""])
def test_a_header_that_is_no_object_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "x").write_bytes(_format.encode({"a": np.ones(2)}, header))
    with pytest.raises(CheckpointError, match=r"x: its header .* is no JSON object"):
        checkpoints.read(tmp_path / "x")


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [1] * 65])
def test_shapes_that_numpy_has_not_are_refused(tmp_path: Path, shape: list[int]) -> None:
    size = 0 if 0 in shape else 4
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(CheckpointError, match=r"x: a is no array that NumPy has: "):
        checkpoints.read(tmp_path / "x")


def test_a_missing_or_foreign_place_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoints.read(tmp_path / "nowhere")
    with pytest.raises(OSError, match="is no regular file"):
        checkpoints.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoints.save(tmp_path / "nowhere" / "x", {"a": np.ones(2)})


def test_the_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def spy(name: str, call: Any) -> Any:
        def spied(*args: Any) -> Any:
            events.append(name)
            return call(*args)

        return spied

    monkeypatch.setattr(os, "fsync", spy("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", spy("replace", os.replace))
    checkpoints.save(tmp_path / "x", {"a": np.ones(2)})
    assert events == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    place = Path("/dev/full") if kind == "device" else tmp_path / "x"
    if kind == "folder":
        place.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    for path in (place, tmp_path / "link"):
        if path != place:
            path.symlink_to(place)
        with pytest.raises(OSError, match="is no regular file"):
            checkpoints.read(path)
        with pytest.raises(OSError, match="is no regular file"):
            checkpoints.load_flax(path, {})
        with pytest.raises(OSError, match="is no regular file"):
            checkpoints.save(path, {"a": np.ones(2)})
    assert not place.is_file()
    assert not [*tmp_path.glob(".*")]


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder/x")
    for number in (1, 2):
        checkpoints.save(tmp_path / "link", {"a": np.full(2, number)})
        assert (tmp_path / "link").is_symlink()
        assert checkpoints.read(tmp_path / "folder/x").arrays["a"].tolist() == [number] * 2


@pytest.mark.parametrize("form", ["safetensors", "msgpack", "zeros"])
def test_a_long_tail_takes_no_memory(tmp_path: Path, form: str) -> None:
    content = {
        "safetensors": safetensors.numpy.save({"a": np.zeros(3)}),
        "msgpack": b"\x80",
        "zeros": b"",
    }[form]
    (tmp_path / "x").write_bytes(content)
    os.truncate(tmp_path / "x", 1 << 40)  # more than there is memory
    with pytest.raises(CheckpointError, match=r"x: is no whole safetensors file|is no tree"):
        checkpoints.load_flax(tmp_path / "x", {})
    with pytest.raises(CheckpointError, match="x: is no whole safetensors file"):
        checkpoints.read(tmp_path / "x")
