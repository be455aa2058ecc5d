"""Batches: every example once, in an order that the key alone decides, read when it is its turn."""

import inspect
import re
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import reference.training
from purenn import random, tree
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.training import batches, batches_per_epoch, stream

KEY = random.key(0)
X = np.ones((4, 4), np.float32)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32))
def test_an_epoch_is_every_example_once(count: int, size: int, seed: int) -> None:
    inputs = np.arange(2 * count).reshape(count, 2)
    labels = np.arange(count)
    key = random.key(seed)
    epoch = list(batches(key, (inputs, labels), size))
    assert [len(x) for x, _ in epoch[:-1]] == [size] * (len(epoch) - 1)
    assert 0 < len(epoch[-1][0]) <= size
    order = np.concatenate([y for _, y in epoch])
    np.testing.assert_array_equal(np.sort(order), labels)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in epoch]), inputs[order])
    for batch, again in zip(epoch, batches(key, (inputs, labels), size), strict=True):
        tree.map(np.testing.assert_array_equal, batch, again)


def test_the_order_is_that_of_jax() -> None:
    key, examples = random.key(3), np.arange(11)
    theirs = reference.training.batches(jnp.asarray(key), (jnp.asarray(examples),), 4)
    for (got,), (expected,) in zip(batches(key, (examples,), 4), theirs, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("arrays", "size", "error", "message"),
    [
        ((X,), 0, DomainError, "batches: size is 0, expected at least 1"),
        ((), 1, ShapeError, "batches: no arrays, expected at least one"),
        ((X[:0],), 1, ShapeError, "batches: arrays[0] has shape (0, 4), which has no examples"),
        ((X, X[:3]), 1, ShapeError, "batches: arrays[1] has 3 examples and arrays[0] 4"),
    ],
)
def test_batches_refuses_at_the_call(
    arrays: Any, size: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        batches(KEY, arrays, size)


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(DtypeError, match="batches: arrays is a ndarray, expected a tuple"):
        inspect.unwrap(batches)(random.key(0), np.ones((4, 2)), 2)
    with pytest.raises(DtypeError, match=re.escape("batches: size is 2.5, expected an int")):
        inspect.unwrap(batches)(random.key(0), (np.ones((4, 2)),), 2.5)


def test_without_a_key_they_come_in_order() -> None:
    (first,), (second,) = batches(None, (np.arange(5),), 3)
    np.testing.assert_array_equal(first, [0, 1, 2])
    np.testing.assert_array_equal(second, [3, 4])


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32))
def test_a_last_batch_is_dropped_where_it_is_small(
    count: int, size: int, drop_last: bool, seed: int
) -> None:
    key, arrays = random.key(seed), (np.arange(count),)
    if drop_last and size > count:
        with pytest.raises(DomainError, match=f"size is {size}, expected at most {count}"):
            batches(key, arrays, size, drop_last=True)
        return
    every = list(batches(key, arrays, size, drop_last=drop_last))
    assert len(every) == batches_per_epoch(count, size, drop_last=drop_last)
    whole = [batch for batch in batches(key, arrays, size) if len(batch[0]) == size]
    if drop_last:
        tree.map(np.testing.assert_array_equal, every, whole)


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 4), st.data())
def test_a_stream_goes_on_where_it_was_left(
    count: int, size: int, epochs: int, data: st.DataObject
) -> None:
    arrays = (np.arange(count), np.arange(2 * count).reshape(count, 2))
    drop_last = data.draw(st.booleans()) and size <= count
    one = list(stream(KEY, arrays, size, epochs, drop_last=drop_last))
    each = (
        batches(random.fold_in(KEY, epoch), arrays, size, drop_last=drop_last)
        for epoch in range(epochs)
    )
    tree.map(np.testing.assert_array_equal, one, list(chain(*each)))
    start = data.draw(st.integers(0, len(one) + 1))
    rest = list(stream(KEY, arrays, size, epochs, start=start, drop_last=drop_last))
    tree.map(np.testing.assert_array_equal, rest, one[start:])


def test_of_a_run_that_is_complete_nothing_is_left() -> None:
    assert [*stream(KEY, (X,), 2, 3, start=6)] == []


@pytest.mark.parametrize(
    ("count", "size", "message"),
    [(10, 0, "size is 0, expected at least 1"), (-3, 2, "count is -3, expected at least 0")],
)
def test_batches_of_no_size_are_none(count: int, size: int, message: str) -> None:
    with pytest.raises(DomainError, match=f"^batches_per_epoch: {message}"):
        batches_per_epoch(count, size)


def test_a_stream_refuses_at_the_call() -> None:
    with pytest.raises(DomainError, match="stream: epochs is 0, expected at least 1"):
        stream(KEY, (X,), 2, 0)
    with pytest.raises(DomainError, match="stream: start is -1, expected at least 0"):
        stream(KEY, (X,), 2, 1, start=-1)


def test_a_file_larger_than_memory_is_never_loaded(tmp_path: Path) -> None:
    shape = (20_000, 500)
    whole = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=shape)
    whole[:, 0] = np.arange(len(whole))
    whole.flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tracemalloc.start()
    seen = []
    for (x,) in batches(KEY, (mapped,), 64):
        assert type(x) is np.ndarray
        seen.append(x[:, 0].copy())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(whole)))
    assert peak < mapped.nbytes / 20


def test_what_is_given_out_is_not_the_array_itself() -> None:
    x = np.arange(6)
    for key in (None, KEY):
        for (batch,) in batches(key, (x,), 2):
            batch[...] = -1
    np.testing.assert_array_equal(x, np.arange(6))
