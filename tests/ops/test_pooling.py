import itertools
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import pooling
from purenn.typing import Array

FLAX: Any = nn
SQUARE = np.arange(1.0, 26.0).reshape(1, 5, 5, 1)


def integers(shape: tuple[int, ...], seed: int = 0, top: int = 3) -> Array:
    """Few different numbers, so that there are ties."""
    return np.random.default_rng(seed).integers(0, top, shape).astype(np.float64)


def grid() -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    """Windows, strides and paddings in one, two and three dimensions."""
    rng = np.random.default_rng(0)
    found = []
    for rank, _ in itertools.product((1, 2, 3), range(6)):
        window = tuple(int(k) for k in rng.integers(1, 4, rank))
        strides = tuple(int(s) for s in rng.integers(1, 4, rank))
        around = tuple((int(rng.integers(0, k)), int(rng.integers(0, k))) for k in window)
        padding = ["VALID", "SAME", around][rng.integers(0, 3)]
        sizes = [int(n) for n in rng.integers(3, 6, rank)]
        options = {"window_shape": window, "strides": strides, "padding": padding}
        found.append(((2, *sizes, 2), options))
    return found


@pytest.mark.parametrize(("shape", "options"), grid(), ids=str)
def test_windows_strides_and_paddings_are_those_of_flax(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    x = integers(shape)
    pools: list[tuple[str, dict[str, Any]]] = [
        ("max_pool", options),
        ("avg_pool", {**options, "count_include_pad": True}),
        ("avg_pool", {**options, "count_include_pad": False}),
    ]
    ours = [getattr(pooling, f"{name}_vjp")(x, **its) for name, its in pools]
    dys = [integers(y.shape, seed, 9) for seed, (y, _) in enumerate(ours)]

    @jax.jit
    def flax(x: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        found = []
        for (name, its), dy in zip(pools, dys, strict=True):
            y, pullback = jax.vjp(partial(getattr(FLAX, name), **its), x)
            found.append((y, pullback(dy)[0]))
        return found

    for (y, pullback), dy, (their_y, their_dx) in zip(ours, dys, flax(x), strict=True):
        np.testing.assert_allclose(y, their_y, rtol=1e-14)
        np.testing.assert_allclose(pullback(dy)[0], their_dx, rtol=1e-14)


@pytest.mark.parametrize(
    ("rule", "options", "expected"),
    [
        (pooling.max_pool, {"window_shape": 2, "strides": 2}, [[7, 9], [17, 19]]),
        (pooling.avg_pool, {"window_shape": 2, "strides": 2}, [[4, 6], [14, 16]]),
        (
            pooling.max_pool,
            {"window_shape": 3, "strides": 2, "padding": "SAME"},
            [[7, 9, 10], [17, 19, 20], [22, 24, 25]],
        ),
        (
            pooling.avg_pool,
            {"window_shape": 3, "strides": 2, "padding": "SAME", "count_include_pad": False},
            [[4, 5.5, 7], [11.5, 13, 14.5], [19, 20.5, 22]],
        ),
    ],
)
def test_examples_of_the_onnx_operators(rule: Any, options: Any, expected: Any) -> None:
    np.testing.assert_array_equal(rule(SQUARE, **options)[0, :, :, 0], expected)


def test_an_entry_that_wins_in_many_windows_adds_them_up() -> None:
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = 1
    y, pullback = pooling.max_pool_vjp(x, window_shape=3)
    assert y.shape == (1, 3, 3, 1)
    np.testing.assert_array_equal(pullback(np.ones_like(y))[0], 9 * x)


@pytest.mark.parametrize(
    ("window", "winner"),
    [([[1, 1], [1, 1]], (0, 0)), ([[0, 1], [1, 1]], (0, 1)), ([[0, 0], [1, 1]], (1, 0))],
)
def test_at_a_tie_the_first_in_row_major_order_gets_all(
    window: Any, winner: tuple[int, int]
) -> None:
    x = np.reshape(window, (1, 2, 2, 1)).astype(np.float32)
    options = {"window_shape": (2, 2)}
    for y, pullback in (
        pooling.max_pool_vjp(x, **options),
        pooling.global_max_pool_vjp(x),
        jax.vjp(lambda x: FLAX.max_pool(x, **options), x),
    ):
        (dx,) = pullback(np.full_like(y, 5))
        assert np.argwhere(np.asarray(dx)[0, :, :, 0]).tolist() == [[*winner]]
        assert np.sum(dx) == 5


def test_padding_never_wins() -> None:
    x = np.full((1, 3, 3, 1), -np.inf)
    y, pullback = pooling.max_pool_vjp(x, window_shape=3, padding="SAME")
    assert (y == -np.inf).all()
    assert np.sum(pullback(np.ones_like(y))[0]) == 9


def test_a_window_of_padding_alone_is_minus_infinity_and_has_no_average() -> None:
    x = np.ones((1, 2, 1))
    options: dict[str, Any] = {"window_shape": 2, "padding": ((2, 0),)}
    y, pullback = pooling.max_pool_vjp(x, **options)
    np.testing.assert_array_equal(y.ravel(), [-np.inf, 1, 1])
    np.testing.assert_array_equal(pullback(np.array([[[7.0], [1], [2]]]))[0].ravel(), [3, 0])
    np.testing.assert_array_equal(pooling.avg_pool(x, **options).ravel(), [0, 0.5, 1])
    with pytest.raises(DomainError, match=r"avg_pool: window 0 along axis 1 covers padding alone"):
        pooling.avg_pool(x, **options, count_include_pad=False)


def test_nan_wins_and_its_cotangent_stays_in_the_window() -> None:
    x = np.array([3.0, np.nan, 2, 1, 5, 4]).reshape(1, 6, 1)
    y, pullback = pooling.max_pool_vjp(x, window_shape=2, strides=2)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 2, 5])
    (dx,) = pullback(np.array([[[1.0], [np.inf], [np.nan]]]))
    assert np.sum(dx[0, :2]) == 1
    np.testing.assert_array_equal(dx.ravel()[2:], [np.inf, 0, np.nan, 0])


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_a_window_of_one_is_a_copy(name: str) -> None:
    x = integers((2, 3, 3, 2))
    y, pullback = getattr(pooling, f"{name}_vjp")(x, window_shape=1)
    (dx,) = pullback(y)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dx, x)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(y, dx)


def test_whoever_writes_to_the_maximum_does_not_move_the_winner() -> None:
    x = integers((1, 4, 4, 1))
    y, pullback = pooling.max_pool_vjp(x, window_shape=2, strides=2)
    dy = np.ones_like(y)
    before = pullback(dy)[0]
    y[...] = 9
    np.testing.assert_array_equal(pullback(dy)[0], before)


def test_half_precision_sums_in_float32() -> None:
    x = np.ones((1, 3001, 1), np.float16)
    y = pooling.avg_pool(x, window_shape=3001)
    assert y.dtype == np.float16
    assert y.item() == 1
    # A thousand times 1e-4, which in float16 would stop to grow.
    _, pullback = pooling.avg_pool_vjp(x, window_shape=1000)
    (dx,) = pullback(np.full((1, 2002, 1), 0.1, np.float16))
    assert dx[0, 1500, 0] == np.float16(0.1)


def test_global_pooling_is_over_all_of_space() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(pooling.global_max_pool(x), x.max(axis=(1, 2)))
    np.testing.assert_allclose(pooling.global_avg_pool(x), x.mean(axis=(1, 2)), rtol=1e-14)
    dy = integers((2, 5), 1, 9)
    (dx,) = pooling.global_avg_pool_vjp(x)[1](dy)
    np.testing.assert_array_equal(dx, np.broadcast_to(dy[:, None, None] / 12, x.shape))
    (dx,) = pooling.global_max_pool_vjp(x)[1](dy)
    np.testing.assert_array_equal(dx, np.where(x == x.max((1, 2), keepdims=True), dx, 0))
    np.testing.assert_array_equal(dx.sum(axis=(1, 2)), dy)


LARGE = [
    (window, stride, padding)
    for window, stride in ((9, 9), (10, 3), (13, 1), (16, 16), (20, 7), (9, 12))
    for padding in ("VALID", "SAME", ((4, 11),), ((25, 0),))
]


@pytest.mark.parametrize(("window", "stride", "padding"), LARGE)
def test_large_windows_are_those_of_flax(window: int, stride: int, padding: Any) -> None:
    x = integers((2, 41, 3), top=50)
    options: dict[str, Any] = {"window_shape": (window,), "strides": (stride,), "padding": padding}
    for name in ("max_pool", "avg_pool"):
        y, pullback = getattr(pooling, f"{name}_vjp")(x, **options)
        their_y, their_pullback = jax.vjp(partial(getattr(FLAX, name), **options), x)
        dy = integers(y.shape, 1, 9)
        np.testing.assert_allclose(y, their_y, rtol=1e-14)
        np.testing.assert_allclose(pullback(dy)[0], their_pullback(dy)[0], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("stride", [1, 4096])
def test_averages_of_large_windows_keep_their_digits(stride: int) -> None:
    x = np.random.default_rng(0).random((1, 8192, 2), np.float32)
    y, pullback = pooling.avg_pool_vjp(x, window_shape=4096, strides=stride)
    exact = pooling.avg_pool(x.astype(np.float64), window_shape=4096, strides=stride)
    assert np.max(np.abs(y - exact) / np.spacing(y)) < 3
    (dx,) = pullback(y)
    (exact,) = pooling.avg_pool_vjp(x.astype(np.float64), window_shape=4096, strides=stride)[1](
        y.astype(np.float64)
    )
    assert np.max(np.abs(dx - exact) / np.spacing(dx)) < 4
    large = np.tile(x, (1, 20, 1))
    mean = large.mean(axis=1, dtype=np.float64)
    assert np.max(np.abs(pooling.global_avg_pool(large) - mean) / np.spacing(mean.astype("f"))) < 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("window", [2, 3, 12])
def test_the_average_of_the_largest_numbers_is_finite(dtype: Any, window: int) -> None:
    x = np.full((1, 24, 1), 0.999 * np.finfo(dtype).max, dtype)
    x[0, -1] = np.inf
    y, pullback = pooling.avg_pool_vjp(x, window_shape=window)
    np.testing.assert_allclose(y[0, :-1], x[0, : 24 - window], rtol=1e-6)
    assert y[0, -1] == np.inf
    assert np.isfinite(pullback(np.where(y == np.inf, 0, y))[0]).all()


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 4, 4, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    x = np.ones(shape, np.float32)
    y, pullback = pooling.max_pool_vjp(x, window_shape=2, strides=2)
    assert y.shape == (shape[0], 2, 2, shape[3])
    assert pullback(y)[0].shape == shape
    y, pullback = pooling.global_avg_pool_vjp(x)
    assert pullback(y)[0].shape == shape


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ShapeError, {"window_shape": 4}, r"the window has shape \(4, 4\).* \(3, 3\)"),
        (ShapeError, {"window_shape": (2, 2, 2)}, r"window_shape is \(2, 2, 2\), of length 3"),
        (ShapeError, {"window_shape": 2, "strides": (1,)}, r"strides is \(1,\), of length 1"),
        (ShapeError, {"window_shape": 2, "padding": ((0, 0),)}, "padding is .* of length 1"),
        (DomainError, {"window_shape": 0}, "window_shape is 0, expected at least 1"),
        (DomainError, {"window_shape": 2, "strides": 0}, "strides is 0, expected at least 1"),
        (DomainError, {"window_shape": 2, "padding": "FULL"}, "padding is 'FULL'"),
        (
            DomainError,
            {"window_shape": 1, "padding": ((0, 0), (-1, 0))},
            r"padding is \(\(0, 0\), \(-1, 0\)\), expected at least 0",
        ),
    ],
)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_impossible_windows_are_refused_by_name(
    name: str, error: type[Exception], options: dict[str, Any], message: str
) -> None:
    for rule in (getattr(pooling, name), getattr(pooling, f"{name}_vjp")):
        with pytest.raises(error, match=f"{name}: {message}"):
            rule(np.ones((1, 3, 3, 1)), **options)


def test_what_has_no_space_is_refused_by_name() -> None:
    with pytest.raises(ShapeError, match=r"max_pool: x has shape \(2, 3\), expected \(batch, \*"):
        pooling.max_pool(np.ones((2, 3)), window_shape=1)
    for name in ("global_max_pool", "global_avg_pool"):
        for shape in ((2, 3), (2, 0, 4, 3)):
            with pytest.raises(ShapeError, match=f"{name}: x has shape .* with an entry in space"):
                getattr(pooling, name)(np.ones(shape))
    with pytest.raises(DtypeError, match="max_pool: x has dtype int64"):
        pooling.max_pool(np.ones((1, 2, 1), np.int64), window_shape=1)
