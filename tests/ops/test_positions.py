from typing import Any

import flint
import ml_dtypes
import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

import reference.ops.positions
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import positions as ops
from purenn.typing import Array
from purenn.verify import balls


def exact(t: Array, features: int, base: float) -> tuple[Any, Any]:
    """Cosines and sines of the angles, to 300 bits."""
    with flint.ctx.workprec(300):
        angles = [
            [arb(int(i)) * arb(base) ** (arb(-k) / features) for k in range(0, features, 2)]
            for i in t
        ]
        cos = np.array([[a.cos() for a in row] for row in angles], object)
        sin = np.array([[a.sin() for a in row] for row in angles], object)
    return cos, sin


def test_the_table_of_a_worked_example() -> None:
    """M. Saeed, *A gentle introduction to positional encoding in transformer models, part 1*."""
    expected = [
        [0.0, 1.0, 0.0, 1.0],
        [0.84147098, 0.54030231, 0.09983342, 0.99500417],
        [0.90929743, -0.41614684, 0.19866933, 0.98006658],
        [0.14112001, -0.9899925, 0.29552021, 0.95533649],
    ]
    table = ops.sinusoidal_encoding(4, 4, max_period=100.0, dtype=np.float64)
    np.testing.assert_allclose(table, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("dtype", "half_ulp"),
    [(np.float64, 1e-13), (np.float32, 2**-25), (np.float16, 2**-12), (ml_dtypes.bfloat16, 2**-9)],
)
@pytest.mark.parametrize(("length", "features"), [(50, 8), (7, 5), (3, 1), (0, 4)])
def test_the_table_is_that_of_the_reference(
    length: int, features: int, dtype: Any, half_ulp: float
) -> None:
    table = ops.sinusoidal_encoding(length, features, dtype=dtype)
    assert table.shape == (length, features)
    assert table.dtype == dtype
    expected = np.asarray(reference.ops.positions.sinusoidal_encoding(length, features))
    np.testing.assert_allclose(table.astype(np.float64), expected, rtol=0, atol=half_ulp)


def test_a_shift_is_a_rotation_of_the_table() -> None:
    """What the sines were chosen for: PE(t + s) is a linear function of PE(t)."""
    table = ops.sinusoidal_encoding(40, 6, dtype=np.float64)
    pairs = table[:, 0::2] * 1j + table[:, 1::2]
    np.testing.assert_allclose(pairs[5:] / pairs[:-5], np.tile(pairs[5], (35, 1)), rtol=1e-13)


@pytest.mark.parametrize("base", [10000.0, 1.5, 500000.0])
def test_angles_are_sharp_at_any_position(base: float) -> None:
    t = np.concatenate([np.arange(9), 10 ** np.arange(2, 13), [-7, 2**40 - 1, 123_456_789]])
    x = np.tile(np.repeat([1.0, 0.0], 4), (len(t), 1))
    y = ops.rotary_embedding(x, positions=t, base=base)
    for found, truth in zip((y[:, :4], y[:, 4:]), exact(t, 8, base), strict=True):
        size = np.abs(balls.nearest(truth))
        assert np.max(balls.distance(found, truth) / np.spacing(np.maximum(size, 1e-3))) <= 2


@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(4, 6), (2, 3, 4), (2, 2, 1, 8), (0, 3, 4), (3, 0), (0, 2)]),
    interleaved=st.booleans(),
)
def test_pairs_are_turned_as_complex_numbers(
    seed: int, shape: tuple[int, ...], interleaved: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, *shape))
    y, pullback = ops.rotary_embedding_vjp(x, base=50.0, interleaved=interleaved)

    def numbers(x: Array) -> Array:
        half = shape[-1] // 2
        a, b = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
        return np.asarray(a + 1j * b)

    k = np.arange(shape[-1] // 2)
    turn = np.exp(1j * np.arange(shape[-2])[:, None] * 50.0 ** (-2 * k / max(shape[-1], 1)))
    np.testing.assert_allclose(numbers(y), numbers(x) * turn, atol=1e-13)
    np.testing.assert_allclose(numbers(pullback(dy)[0]), numbers(dy) / turn, atol=1e-13)
    np.testing.assert_allclose(pullback(y)[0], x, atol=1e-14)
    np.testing.assert_array_equal(ops.rotary_embedding(x, base=50.0, interleaved=interleaved), y)


@given(t=st.integers(-1000, 1000), s=st.integers(-1000, 1000), shift=st.integers(0, 1000))
def test_products_depend_on_the_distance_alone(t: int, s: int, shift: int) -> None:
    q, k = np.random.default_rng(0).normal(size=(2, 1, 8))

    def product(t: int, s: int) -> float:
        at = [np.array([i]) for i in (t, s)]
        a, b = (ops.rotary_embedding(x, positions=i) for x, i in zip((q, k), at, strict=True))
        return float(np.sum(a * b))

    assert product(t, s) == pytest.approx(product(t + shift, s + shift), abs=1e-13)
    assert product(t, t) == pytest.approx(float(np.sum(q * k)), abs=1e-13)


def test_positions_broadcast() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 4))  # batch, length, heads, features
    by_head = np.swapaxes(ops.rotary_embedding(np.swapaxes(x, 1, 2)), 1, 2)
    np.testing.assert_array_equal(
        ops.rotary_embedding(x, positions=np.arange(5)[:, np.newaxis]), by_head
    )
    each = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])[..., np.newaxis]
    y = ops.rotary_embedding(x, positions=each)
    for n in range(2):
        np.testing.assert_array_equal(ops.rotary_embedding(x[n], positions=each[n]), y[n])


def test_position_0_is_left_as_it_is() -> None:
    x = np.array([[1e-310, np.finfo(np.float64).max, -0.1, 1e30]])
    np.testing.assert_array_equal(ops.rotary_embedding(x), x)


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((3, 4))
    with pytest.raises(ShapeError, match="rotary_embedding: x has 3 features, expected an even"):
        ops.rotary_embedding(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"positions has shape \(2,\), .* broadcasts to \(3,\)"):
        ops.rotary_embedding(x, positions=np.arange(2))
    with pytest.raises(ShapeError, match=r"positions has shape \(2, 3\), .* broadcasts to \(3,\)"):
        ops.rotary_embedding_vjp(x, positions=np.zeros((2, 3), int))
    with pytest.raises(DtypeError, match="positions has dtype float64, expected an integer dtype"):
        ops.rotary_embedding(x, positions=np.arange(3.0))
    for base in (0.5, np.inf, np.nan):
        with pytest.raises(DomainError, match=f"base is {base}, expected a finite number ≥ 1"):
            ops.rotary_embedding(x, base=base)
    with pytest.raises(DomainError, match=r"max_period is 0.0, expected a finite number ≥ 1"):
        ops.sinusoidal_encoding(3, 4, max_period=0.0)
    with pytest.raises(DomainError, match="sinusoidal_encoding: length is -1, expected at least 0"):
        ops.sinusoidal_encoding(-1, 4)
    with pytest.raises(DomainError, match="features is 0, expected at least 1"):
        ops.sinusoidal_encoding(3, 0)
    untyped: Any = ops.sinusoidal_encoding
    assert untyped(np.int64(3), np.int32(4)).shape == (3, 4)
    with pytest.raises(DtypeError, match="sinusoidal_encoding: length is True, expected an int"):
        untyped(True, 4)
    with pytest.raises(DtypeError, match="sinusoidal_encoding: dtype is 'foo', expected a float"):
        untyped(3, 4, dtype="foo")
    with pytest.raises(DtypeError, match="the encoding has dtype int64, expected a floating"):
        ops.sinusoidal_encoding(3, 4, dtype=np.int64)
