import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import activations
from purenn.typing import Array, Shape

RNG = np.random.default_rng(0)
KINKS = np.array([-6.0, -3, -1.5, -1, -0.0, 0, 1, 3, 6])
OF_JAX = [
    "identity",
    "relu",
    "relu6",
    "leaky_relu",
    "hard_tanh",
    "hard_sigmoid",
    "hard_silu",
    "sparse_plus",
    "sparse_sigmoid",
]


@pytest.mark.parametrize("name", OF_JAX)
def test_pieces_and_kinks_are_those_of_jax(name: str) -> None:
    x = np.concatenate([KINKS, KINKS + 1e-6, KINKS - 1e-6, RNG.normal(0, 3, 50)])
    y, pullback = getattr(activations, f"{name}_vjp")(x)
    expected, jax_pullback = jax.vjp(getattr(jax.nn, name), x)
    np.testing.assert_allclose(y, expected, rtol=1e-15, atol=3e-16)
    dy = np.cos(np.arange(float(len(x))))
    np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0], rtol=1e-15, atol=2e-16)


@pytest.mark.parametrize(
    ("name", "ends", "slopes"),
    [
        ("identity", [-np.inf, np.inf], [1, 1]),
        ("relu", [0, np.inf], [0, 1]),
        ("relu6", [0, 6], [0, 0]),
        ("leaky_relu", [-np.inf, np.inf], [0.01, 1]),
        ("bipolar_relu", [0, 0], [0, 0]),
        ("heaviside", [0, 1], [0, 0]),
        ("hard_tanh", [-1, 1], [0, 0]),
        ("hard_sigmoid", [0, 1], [0, 0]),
        ("hard_silu", [0, np.inf], [0, 1]),
        ("sparse_plus", [0, np.inf], [0, 1]),
        ("sparse_sigmoid", [0, 1], [0, 0]),
    ],
)
@pytest.mark.parametrize("size", [np.inf, 3e38])
def test_limits(name: str, ends: list[float], slopes: list[float], size: float) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(np.array([-size, size], np.float32))
    if np.isinf(size):
        np.testing.assert_array_equal(y, ends)
    np.testing.assert_array_equal(
        pullback(np.ones(2, np.float32))[0], np.asarray(slopes, np.float32)
    )


def test_what_is_blocked_is_0_also_of_an_infinite_cotangent() -> None:
    for name in ("relu", "relu6", "hard_tanh", "hard_sigmoid", "hard_silu", "sparse_sigmoid"):
        _, pullback = getattr(activations, f"{name}_vjp")(np.array([-7.0]))
        assert pullback(np.array([np.inf]))[0] == 0


def test_identity_gives_arrays_of_its_own() -> None:
    x = np.array([1.0, 2.0])
    y, pullback = activations.identity_vjp(x)
    (dx,) = pullback(x)
    y[0] = dx[0] = 7
    assert activations.identity(x) is not x
    assert x[0] == 1


@given(
    slope=st.floats(-2, 2, width=32, allow_subnormal=False),
    x=hnp.arrays(np.float64, 5, elements=st.floats(-9, 9, width=32, allow_subnormal=False)),
)
def test_leaky_relu_with_any_slope(slope: float, x: Array) -> None:
    y, pullback = activations.leaky_relu_vjp(x, negative_slope=slope)
    np.testing.assert_array_equal(y, jax.nn.leaky_relu(x, slope))
    np.testing.assert_array_equal(pullback(x)[0], np.where(x >= 0, x, slope * x))


@pytest.mark.parametrize(
    ("shape", "slope"),
    [
        ((4, 3), ()),
        ((4, 3), (3,)),
        ((4, 3), (4, 1)),
        ((2, 4, 3), (4, 1)),
        ((2, 4, 3), (1, 1, 1)),
        ((0, 3), (3,)),
        ((0, 3), ()),
        ((2, 0), (0,)),
        ((), ()),
    ],
)
def test_prelu_broadcasts_its_slope(shape: Shape, slope: Shape) -> None:
    x, a, dy = (np.asarray(RNG.normal(size=s)) for s in (shape, slope, shape))
    y, pullback = activations.prelu_vjp(x, a)
    expected, jax_pullback = jax.vjp(lambda x, a: jnp.where(x >= 0, x, a * x), x, a)
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    for got, wanted in zip(pullback(dy), jax_pullback(dy), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-15)


def test_the_slope_of_prelu_keeps_the_digits_of_a_long_sum() -> None:
    x, dy = -RNG.random((100_000, 2)), RNG.normal(size=(100_000, 2))
    _, pullback = activations.prelu_vjp(x, np.array(0.1))
    exact = math.fsum((x * dy).ravel())
    size = math.fsum(np.abs(x * dy).ravel())
    assert abs(pullback(dy)[1] - exact) <= 8 * np.finfo(np.float64).eps * size / 10
    _, pullback = activations.prelu_vjp(x, np.array([0.1, 0.2]))
    exact = math.fsum(x[:, 1] * dy[:, 1])
    assert abs(pullback(dy)[1][1] - exact) <= 8 * np.finfo(np.float64).eps * size / 20
    single = np.array([[-1e8], [-1], [-1e8]] * 999, np.float32)
    _, pullback = activations.prelu_vjp(single, np.zeros(1, np.float32))
    assert pullback(np.array([[1], [1], [-1]] * 999, np.float32))[1] == -999


@pytest.mark.parametrize("slope", [(4,), (2,), (2, 3), (1, 4, 3), (4, 3, 1)])
def test_a_slope_that_does_not_broadcast_is_refused(slope: Shape) -> None:
    for prelu in (activations.prelu, activations.prelu_vjp):
        with pytest.raises(ShapeError, match=r"prelu: negative_slope has shape .* x, \(4, 3\)"):
            prelu(np.ones((4, 3)), np.ones(slope))


def test_bipolar_relu_shifts_no_mean() -> None:
    x = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    np.testing.assert_array_equal(activations.bipolar_relu(x), [[1, 0, 1], [0, -1, 0]])
    normal = RNG.normal(size=(10_000, 8))
    assert abs(activations.bipolar_relu(normal).mean()) < 0.02
    assert activations.relu(normal).mean() > 0.38
    with pytest.raises(ShapeError, match=r"bipolar_relu: x has shape \(\)"):
        activations.bipolar_relu(np.array(1.0))


def test_the_pieces_of_a_maxout_unit_lie_side_by_side() -> None:
    x = np.array([[1.0, 5, 3, 2, 0, -1], [9, 8, 7, 6, 5, 4]])
    np.testing.assert_array_equal(activations.maxout(x, num_units=2), [[5, 2], [9, 6]])
    np.testing.assert_array_equal(activations.maxout(x, num_units=3), [[5, 3, 0], [9, 7, 5]])
    np.testing.assert_array_equal(activations.maxout(x, num_units=1, axis=0), [x.max(0)])
    assert activations.maxout(x[:0], num_units=3).shape == (0, 3)


def test_tied_pieces_of_maxout_share_as_in_jax() -> None:
    x = np.array([2.0, 2, 1, 3, 3, 3])
    _, pullback = activations.maxout_vjp(x, num_units=2)
    dy = np.array([1.0, 3.0])
    _, jax_pullback = jax.vjp(lambda x: x.reshape(2, 3).max(1), x)
    np.testing.assert_allclose(pullback(dy)[0], [0.5, 0.5, 0, 1, 1, 1])
    np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0])


@pytest.mark.parametrize(
    ("shape", "static", "message"),
    [
        ((4, 6), {"num_units": 4}, r"\(4, 6\), expected a multiple of num_units = 4 along axis 1"),
        ((4, 6), {"num_units": 3, "axis": 0}, "num_units = 3 along axis 0"),
        ((4, 0), {"num_units": 3}, "num_units = 3 along axis 1"),
        ((4, 6), {"num_units": 3, "axis": 2}, "maxout: axis is 2, but x has shape"),
    ],
)
def test_units_that_do_not_divide_are_refused(
    shape: Shape, static: dict[str, Any], message: str
) -> None:
    for maxout in (activations.maxout, activations.maxout_vjp):
        with pytest.raises(ShapeError, match=message):
            maxout(np.ones(shape), **static)


def test_a_step_cannot_train() -> None:
    x = np.array([-1.0, -0.0, 0, 1e-300, 5])
    y, pullback = activations.heaviside_vjp(x)
    np.testing.assert_array_equal(y, [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(pullback(x)[0], np.zeros(5))
    assert np.isnan(activations.heaviside(np.array(np.nan)))


def test_sparse_sigmoid_is_the_derivative_of_sparse_plus() -> None:
    x = RNG.normal(0, 1, 100)
    _, pullback = activations.sparse_plus_vjp(x)
    np.testing.assert_array_equal(pullback(np.ones(100))[0], activations.sparse_sigmoid(x))


def test_hard_swish_is_hard_silu() -> None:
    assert activations.hard_swish is activations.hard_silu
    assert activations.hard_swish_vjp is activations.hard_silu_vjp


@pytest.mark.parametrize(
    ("name", "static", "error", "message"),
    [
        ("leaky_relu", {"negative_slope": np.nan}, DomainError, "negative_slope is nan"),
        ("leaky_relu", {"negative_slope": True}, DtypeError, "slope is True, expected a number"),
        ("maxout", {"num_units": 0}, DomainError, "num_units is 0, expected at least 1"),
        ("maxout", {"num_units": True}, DtypeError, "num_units is True, expected an int"),
        ("maxout", {"num_units": 2, "axis": True}, DtypeError, "axis is True, expected an int"),
    ],
)
def test_options_out_of_their_domain_are_refused(
    name: str, static: dict[str, Any], error: type[Exception], message: str
) -> None:
    for rule in (getattr(activations, name), getattr(activations, f"{name}_vjp")):
        with pytest.raises(error, match=f"{name}: .*{message}"):
            rule(np.ones((4, 4)), **static)


def test_overflow_and_infinities_are_silent() -> None:
    huge = np.array([-1.7e308, 1.7e308])
    for vjp in (partial(activations.leaky_relu_vjp, negative_slope=2.0),
                partial(activations.prelu_vjp, negative_slope=np.array(2.0))):  # fmt: skip
        y, pullback = vjp(huge)
        np.testing.assert_array_equal(y, [-np.inf, 1.7e308])
        np.testing.assert_array_equal(pullback(huge)[0], [-np.inf, 1.7e308])
    y, pullback = activations.prelu_vjp(np.array([-np.inf, np.inf]), np.array(0.0))
    np.testing.assert_array_equal(y, [np.nan, np.inf])
    dx, dslope = pullback(np.array([1.0, np.inf]))
    assert (dx.tolist(), dslope) == ([0, np.inf], -np.inf)
    assert activations.hard_silu_vjp(np.array(2.9))[1](np.array(1.7e308))[0] == np.inf
