"""The numbers of jax.random, bit for bit where JAX's are not the rounding of a special function."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from purenn import random
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array, Shape

# JAX compiles for every shape and dtype, so both come from small pools.
SHAPES: tuple[Shape, ...] = ((), (0,), (7,), (3, 5))
MANY = (random._BLOCK * 2 + 5,)
FLOATS = st.sampled_from(random.FLOATS)
UNSIGNED = st.sampled_from(random.UNSIGNED)
shapes = st.sampled_from(SHAPES)

seeds = st.sampled_from([0, 1, -1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]) | (
    st.integers(-(2**63), 2**64 - 1)
)
words = st.integers(0, 2**32 - 1)
keys = st.builds(lambda *pair: np.array(pair, np.uint32), words, words)
few = settings(max_examples=40, deadline=None)


def same(got: Array, expected: Any) -> None:
    """The same shape, dtype and bits."""
    expected = np.asarray(expected)
    assert isinstance(got, np.ndarray)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), expected.view(f"u{got.itemsize}"))


def test_known_answers() -> None:
    # The vectors that the paper's authors publish with Random123, for 20 rounds.
    pi = [0x243F6A88, 0x85A308D3], [0x13198A2E, 0x03707344], [0xC4923A9C, 0x483DF7A0]
    zeros = [0, 0], [0, 0], [0x6B200159, 0x99BA4EFE]
    ones = [0xFFFFFFFF] * 2, [0xFFFFFFFF] * 2, [0x1CB996FC, 0xBB002BE7]
    for counter, key, expected in (pi, zeros, ones):
        got = np.array(counter, np.uint32)[:, None]
        random._encrypt(np.array(key, np.uint32), got[0], got[1], np.empty(1, np.uint32))
        np.testing.assert_array_equal(got[:, 0], expected)


@few
@given(seeds)
def test_key(seed: int) -> None:
    theirs = jax.random.key(np.uint64(seed) if seed >= 2**63 else seed)
    same(random.key(seed), jax.random.key_data(theirs))


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("seed", [0, 5, -1])
def test_key_of_a_numpy_integer(kind: Any, seed: int) -> None:
    number = np.asarray(seed).astype(kind)[()]
    same(random.key(number), jax.random.key_data(jax.random.key(number)))


@few
@given(keys, st.sampled_from([1, 2, 5, (3,), (2, 3), ()]))
def test_split(key: Array, num: Any) -> None:
    same(random.split(key, num), jax.random.split(key, num))


@few
@given(keys, words)
def test_fold_in(key: Array, data: int) -> None:
    same(random.fold_in(key, data), jax.random.fold_in(key, data))
    same(random.fold_in(key, np.int64(data)), jax.random.fold_in(key, data))


@few
@given(keys, shapes, UNSIGNED)
def test_bits(key: Array, shape: Shape, dtype: str) -> None:
    same(random.bits(key, shape, dtype), jax.random.bits(key, shape, dtype))


@few
@given(keys, shapes, FLOATS)
def test_uniform(key: Array, shape: Shape, dtype: str) -> None:
    same(random.uniform(key, shape, dtype), jax.random.uniform(key, shape, dtype))


# A bound that is tiny beside the other could decide a tie by digits that float64 does not hold.
positive = st.floats(1e-3, 1e4)
bounds = positive | positive.map(lambda x: -x) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1])


@settings(max_examples=150, deadline=None)
@given(keys, st.sampled_from([(), (65,)]), FLOATS, bounds, bounds)
def test_uniform_range(key: Array, shape: Shape, dtype: str, low: float, high: float) -> None:
    got = random.uniform(key, shape, dtype, low, high)
    expected = np.asarray(jax.random.uniform(key, shape, dtype, low, high))
    if dtype == "float16" and high > low:
        # Where a CPU computes in float16 itself, XLA fuses product and sum there too.
        unit, start = random.uniform(key, shape, np.float16).astype(np.float64), np.float16(low)
        fused = (unit * (np.float16(high) - start) + start).astype(np.float16)
        expected = np.where(np.maximum(fused, start) == expected, got, expected)
    same(got, expected)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_blocks_of_a_long_stream_fit_together(dtype: str) -> None:
    key = random.key(3)
    same(random.bits(key, MANY, dtype), jax.random.bits(key, MANY, dtype))
    same(random.split(key, MANY[0]), jax.random.split(key, MANY[0]))


# Where u is not near ±1, JAX's erf⁻¹ is off by 5 ULPs, and by some 30 in the float64 of JAX 0.10.
ULPS = {"float16": 4, "float32": 4, "float64": 32}


def near(got: Array, expected: Any, scale: Any) -> None:
    """No further apart than rounding the uniform number u = erf(z/√2), of size scale, explains.

    dz/du = √(π/2)·exp(z²/2), which is large in the tails, so there z has few digits.
    """
    expected = np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    z = expected.astype(np.float64)
    steep = np.sqrt(np.pi / 2) * np.exp(np.minimum(z**2 / 2, 700)) * scale
    bound = ULPS[expected.dtype.name] * np.finfo(expected.dtype).eps * (np.abs(z) + steep)
    assert (np.abs(got.astype(np.float64) - z) <= bound).all()


@few
@given(keys, st.sampled_from([*SHAPES, (1000,)]), FLOATS)
def test_normal(key: Array, shape: Shape, dtype: str) -> None:
    expected = jax.random.normal(key, shape, dtype)
    near(random.normal(key, shape, dtype), expected, np.abs(erf(np.asarray(expected) / 2**0.5)))


@few
@given(
    keys,
    st.sampled_from([(), (1000,)]),
    FLOATS,
    st.sampled_from([(-1.0, 3), (0.5, 0.7), (-np.inf, 0.0), (3, 5.0), (-9, 9), (20, 21)]),
)
def test_truncated_normal(key: Array, shape: Shape, dtype: str, between: Any) -> None:
    low, high = between
    got = random.truncated_normal(key, low, high, shape, dtype)
    near(got, jax.random.truncated_normal(key, low, high, shape, dtype), 1)
    assert ((got > low) & (got < high)).all()


@few
@given(keys, st.sampled_from(["float32", "float64"]))
def test_truncated_normal_of_initializers(key: Array, dtype: str) -> None:
    # Between ±2, erf⁻¹ is well conditioned: a few ULPs, near 0 too.
    got = random.truncated_normal(key, -2, 2, (1000,), dtype)
    expected = np.asarray(jax.random.truncated_normal(key, -2, 2, (1000,), dtype))
    np.testing.assert_array_max_ulp(got, expected, 2 * ULPS[dtype])


@few
@given(keys, st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 1e-9]), shapes)
def test_bernoulli(key: Array, p: float, shape: Shape) -> None:
    same(random.bernoulli(key, p, shape), jax.random.bernoulli(key, np.float32(p), shape))
    same(random.bernoulli(key, p), jax.random.bernoulli(key, np.float32(p)))


@few
@given(
    keys,
    FLOATS,
    st.sampled_from([((), (7,)), ((5,), (3, 5)), ((3, 1), (3, 5)), ((3, 1), None)]),
)
def test_bernoulli_of_an_array(key: Array, dtype: str, case: Any) -> None:
    of, shape = case
    p = np.linspace(0, 1, int(np.prod(of))).reshape(of).astype(dtype)
    same(random.bernoulli(key, p, shape), jax.random.bernoulli(key, p, shape))


def wide(bound: int) -> Any:
    """What JAX takes a number of 64 bits as."""
    return np.uint64(bound) if bound >= 2**63 else bound


@settings(max_examples=150, deadline=None)
@given(st.data(), keys, st.sampled_from([(), (0,), (9,)]), st.sampled_from(random.INTEGERS))
def test_randint(data: Any, key: Array, shape: Shape, dtype: str) -> None:
    ends = np.iinfo(dtype)
    # JAX wraps the bounds of a short dtype to 32 bits before it moves them to the ends.
    least, most = (-(2**31), 2**31 - 1) if ends.bits < 32 else (-(2**63), 2**64 - 1)
    edges = [least, most, int(ends.min), int(ends.max), min(int(ends.max) + 1, most), 2**16, 2**32]
    bound = st.integers(-5, 300) | st.integers(least, most)
    bound |= st.sampled_from([edge for edge in edges if edge <= most])
    low, high = data.draw(bound), data.draw(bound)
    got = random.randint(key, shape, low, high, dtype)
    same(got, jax.random.randint(key, shape, wide(low), wide(high), dtype))


@pytest.mark.parametrize("power", [16, 32])
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_randint_around_the_spans_that_change_the_formula(
    power: int, extra: int, dtype: str
) -> None:
    key, end = random.key(8), 2**power + extra
    same(random.randint(key, (9,), 0, end, dtype), jax.random.randint(key, (9,), 0, end, dtype))


# Up to 1625 = ⌊2^(32/3)⌋ rows one sort is enough.
@few
@given(keys, st.sampled_from([0, 1, 7, 1625, 1626]))
def test_permutation(key: Array, n: int) -> None:
    expected = jax.random.permutation(key, n)
    same(random.permutation(key, n), expected)
    same(random.permutation(key, np.int32(n)), expected)
    for x in (np.linspace(0, 1, n), np.arange(6 * n, dtype=np.int8).reshape(n, 2, 3)):
        same(random.permutation(key, x), jax.random.permutation(key, x))


@few
@given(
    keys,
    FLOATS,
    st.sampled_from([((4,), 0), ((2, 4, 3), -2)]),
    st.sampled_from([(), (2, 3)]),
)
def test_categorical(key: Array, dtype: str, case: Any, front: Shape) -> None:
    of, axis = case
    logits = (3 * np.sin(np.arange(np.prod(of)))).reshape(of).astype(dtype)
    batch = tuple(np.delete(of, axis).tolist())
    got = random.categorical(key, logits, axis, front + batch)
    expected = np.asarray(jax.random.categorical(key, logits, axis, front + batch))
    if not front:
        same(random.categorical(key, logits, axis), got)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    # The noise differs by the rounding of two logarithms; so an index may, between equal scores.
    scores = np.asarray(jax.random.gumbel(key, front + of, dtype), np.float64) + logits
    scores = np.moveaxis(scores, axis % len(of) - len(of), -1)
    first, second = (np.take_along_axis(scores, each[..., None], -1) for each in (expected, got))
    tie = np.abs(first - second)[..., 0] <= 8 * np.finfo(dtype).eps * (1 + np.abs(scores).max(-1))
    assert ((got == expected) | tie).all()


def test_categorical_never_draws_what_is_impossible() -> None:
    logits = np.array([-np.inf, 0, -np.inf], np.float32)
    assert (random.categorical(random.key(0), logits, shape=(1000,)) == 1).all()


def draws(key: Array) -> list[Array]:
    p = np.linspace(0, 1, 5)
    p.flags.writeable = False
    return [
        random.split(key),
        random.fold_in(key, 3),
        random.bits(key, (5,)),
        random.uniform(key, (5,), np.float64, -1, 5),
        random.normal(key, (5,)),
        random.truncated_normal(key, -1, 1, (5,)),
        random.bernoulli(key, p),
        random.randint(key, (5,), 0, 10),
        random.permutation(key, p),
        random.categorical(key, p, shape=(5,)),
    ]


def test_pure() -> None:
    key = random.split(random.key(1), 6)[::2].T[:, 1]  # neither contiguous nor first
    copy = key.copy()
    key.flags.writeable = False
    for one, two in zip(draws(key), draws(copy), strict=True):
        same(one, two)
        one[...] = 0  # what a draw returns is the caller's alone
    for one, two in zip(draws(key), draws(copy), strict=True):
        same(one, two)


@pytest.mark.parametrize("dtype", random.FLOATS)
def test_moments(dtype: str) -> None:
    n = 1 << 16
    first, second, third, fourth = random.split(random.key(2026), 4)
    error = 5 / n**0.5  # of the mean of n numbers of variance 1
    z = random.normal(first, (n,), dtype).astype(np.float64)
    moments = [np.mean(z**power) for power in (1, 2, 3, 4)]
    np.testing.assert_array_less(np.abs(np.subtract(moments, [0, 1, 0, 3])), error * 10)
    assert abs(moments[0]) < error
    assert abs(np.mean(z[1:] * z[:-1])) < error
    u = random.uniform(second, (n,), dtype).astype(np.float64)
    assert 0 <= u.min() < u.max() < 1
    assert abs(np.mean(u) - 0.5) < error
    counts = np.bincount(random.randint(third, (n,), 0, 10), minlength=10)
    assert np.abs(counts / n - 0.1).max() < error
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    chosen = random.categorical(fourth, np.log(probabilities).astype(dtype), shape=(n,))
    assert np.abs(np.bincount(chosen) / n - probabilities).max() < error
    assert abs(random.bernoulli(fourth, 0.3, (n,)).mean() - 0.3) < error


@given(seeds, st.integers(1, 9))
def test_fold_in_makes_the_keys_of_split(seed: int, num: int) -> None:
    key = random.key(seed)
    same(random.split(key, num), [random.fold_in(key, i) for i in range(num)])


def test_streams_of_split_keys_do_not_meet() -> None:
    streams = [random.bits(key, (100,), np.uint64) for key in random.split(random.key(0), 100)]
    assert len(np.unique(streams)) == 100 * 100


KEY = np.array([0, 1], np.uint32)

REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
    (random.key, (1.5,), DtypeError, "seed is a float, expected an integer"),
    (random.key, (2**64,), DomainError, "seed is 18446744073709551616, expected"),
    (random.key, (-(2**63) - 1,), DomainError, "seed is -9223372036854775809, expected"),
    (random.bits, (7,), DtypeError, "key is int, expected a uint32 array"),
    (random.bits, (KEY.astype(np.int64),), DtypeError, "key is int64, expected a uint32 array"),
    (random.bits, (np.zeros((3, 2), np.uint32),), ShapeError, r"key has shape \(3, 2\), expected"),
    (random.bits, (KEY, (2, -1)), ShapeError, r"shape is \(2, -1\), expected sizes of 0 or more"),
    (random.bits, (KEY, 3), ShapeError, "shape is 3, expected sizes of 0 or more"),
    (random.bits, (KEY, (2.0,)), ShapeError, r"shape is \(2.0,\), expected sizes"),
    (random.bits, (KEY, (), np.int32), DtypeError, "dtype is int32, expected uint8 or"),
    (random.bits, (KEY, (), "word"), DtypeError, "dtype is 'word', expected uint8 or"),
    (random.bits, (KEY, (), None), DtypeError, "dtype is None, expected uint8 or"),
    (random.split, (KEY, 0), ShapeError, r"num is \(0,\), expected sizes of 1 or more"),
    (random.split, (KEY, (3, 0)), ShapeError, "num is"),
    (random.split, (KEY, 2.0), ShapeError, "num is"),
    (random.split, (random.split(KEY),), ShapeError, "split: key has shape"),
    (random.fold_in, (KEY, -1), DomainError, "data is -1, expected 0 to 4294967295"),
    (random.fold_in, (KEY, 2**32), DomainError, "data is 4294967296, expected"),
    (random.fold_in, (KEY, 0.5), DtypeError, "data is a float, expected an integer"),
    (random.fold_in, (7, 0), DtypeError, "fold_in: key is int"),
    (random.uniform, (KEY, (), np.int32), DtypeError, "uniform: dtype is int32, expected float16"),
    (random.uniform, (KEY, (), np.longdouble), DtypeError, "expected float16 or float32"),
    (random.uniform, (KEY, (), "float32", "0"), DtypeError, "minval is '0', expected a number"),
    (random.uniform, (KEY, (), "float32", 0, np.ones(3)), DtypeError, "maxval is array"),
    (random.uniform, (KEY, (), "float32", -np.inf), DomainError, "minval is -inf, maxval is 1.0"),
    (random.uniform, (KEY, (), "float32", 0, 1e39), DomainError, "range finite in float32"),
    (random.uniform, (KEY, (), "float32", -3e38, 3e38), DomainError, "range finite in float32"),
    (random.normal, (KEY, (), np.int32), DtypeError, "normal: dtype is int32"),
    (random.normal, (7,), DtypeError, "normal: key is int"),
    (random.truncated_normal, (KEY, 2, 1), DomainError, "lower is 2, upper is 1, expected"),
    (random.truncated_normal, (KEY, 1, 1), DomainError, "lower is 1, upper is 1, expected"),
    (random.truncated_normal, (KEY, np.nan, 1), DomainError, "lower is nan"),
    (random.truncated_normal, (KEY, None, 1), DtypeError, "lower is None, expected a number"),
    (random.truncated_normal, (KEY, 0, 1, (-1,)), ShapeError, "truncated_normal: shape is"),
    (random.bernoulli, (KEY, 1), DtypeError, "p is int64, expected float16"),
    (random.bernoulli, (KEY, [0.5]), DtypeError, "p is "),
    (random.bernoulli, (KEY, 1.5), DomainError, "p is 1.5, expected probabilities from 0 to 1"),
    (random.bernoulli, (KEY, -0.1), DomainError, "p is -0.1, expected"),
    (random.bernoulli, (KEY, np.nan), DomainError, "p is nan, expected"),
    (random.bernoulli, (KEY, np.full(3, 0.5), (2,)), ShapeError, r"p has shape \(3,\), expected"),
    (random.bernoulli, (KEY, np.full(3, 0.5), ()), ShapeError, r"p has shape \(3,\), expected"),
    (random.randint, (KEY, (), 0.5, 3), DtypeError, "minval is a float, expected an integer"),
    (random.randint, (KEY, (), 0, np.arange(3)), DtypeError, "maxval is a ndarray, expected"),
    (random.randint, (KEY, (), 0, 3, np.float32), DtypeError, "randint: dtype is float32"),
    (random.randint, (KEY, (-1,), 0, 3), ShapeError, "randint: shape is"),
    (random.permutation, (KEY, -1), DomainError, "x is -1, expected 0 or more"),
    (random.permutation, (KEY, 2.0), DtypeError, "x is a float, expected an integer"),
    (random.permutation, (7, 2), DtypeError, "permutation: key is int"),
    (random.categorical, (KEY, [0.0]), DtypeError, "logits is "),
    (random.categorical, (KEY, np.arange(3)), DtypeError, "logits is int64, expected float16"),
    (random.categorical, (KEY, np.ones(3), 1), ShapeError, r"logits has shape \(3,\), expected"),
    (random.categorical, (KEY, np.ones((3, 0))), ShapeError, r"logits has shape \(3, 0\)"),
    (random.categorical, (KEY, np.ones((3, 2)), -1, (2,)), ShapeError, r"shape is \(2,\), exp"),
    (random.categorical, (KEY, np.ones((3, 2)), -1, ()), ShapeError, r"shape is \(\), expected"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "message"), REFUSED)
def test_refused(
    function: Callable[..., Any], arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    # Beneath the run-time check of the annotations, which users do not have.
    with pytest.raises(error, match=message):
        inspect.unwrap(function)(*arguments)


def test_import_is_light() -> None:
    script = "import sys, purenn.random; sys.exit(any(m in sys.modules for m in ('scipy', 'jax')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
