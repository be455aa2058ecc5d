"""At a kink the tangent holds both one-sided derivatives, and no more than it must."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from purenn.typing import Array
from purenn.verify import balls, exact

Function = Callable[..., Any]

_SLACK = 1e-7
"""More than the ends of a wide ball are rounded."""


def ends(function: Function, *xs: Any) -> tuple[Array, Array, Array]:
    """The value, and from where to where its derivative is, by each number in turn."""
    arrays = [np.asarray(x, np.float64) for x in xs]
    sizes = [x.size for x in arrays]
    blocks = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    tangents = [b.reshape(sum(sizes), *x.shape) for b, x in zip(blocks, arrays, strict=True)]
    (result,) = exact.evaluate(jax.make_jaxpr(function)(*arrays), arrays, tangents)
    found = result.tangents
    if found is None:
        found = balls.zeros((sum(sizes), *result.value.shape))
    low, high = (balls.nearest(balls.lift(end)(found)) for end in (_lower, _upper))
    return balls.nearest(result.value), low, high


def _lower(ball: Any) -> Any:
    return ball.lower()


def _upper(ball: Any) -> Any:
    return ball.upper()


def _elu(x: Any) -> Any:
    return jnp.where(x > 0, x, jnp.expm1(jnp.where(x > 0, 0.0, x)))


def _safe_sqrt(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


# (function, its value at 0, and the least and the greatest that its derivative may be)
AT_ZERO: dict[str, tuple[Function, float, float, float]] = {
    "abs": (jnp.abs, 0, -1, 1),
    "abs by sign": (lambda x: x * jnp.sign(x), 0, -1, 1),
    "abs by select": (lambda x: jnp.where(x < 0, -x, x), 0, -1, 1),
    "abs by piecewise": (
        lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: x]), 0, -1, 1,
    ),
    "band": (lambda x: jnp.where((x > -1) & ~(x >= 0), x, 0), 0, 0, 1),
    "ceil": (lambda x: x * jnp.ceil(x + 1), 0, 1, 2),
    "celu": (jax.nn.celu, 0, 1, 1),
    "clip": (lambda x: jnp.clip(x, 0, 1), 0, 0, 1),
    "clamp": (lambda x: lax.clamp(-1.0, 2 * x, 0.0), 0, 0, 2),
    "cond": (lambda x: lax.cond(x > 0, lambda x: 2 * x, lambda x: 3 * x, x), 0, 2, 3),
    "difference of relus": (lambda x: jax.nn.relu(x) - jax.nn.relu(-x), 0, 1, 1),
    "either way true": (lambda x: jnp.where((x > 0) | (x <= 0), 2 * x, 7 * x), 0, 2, 2),
    "elu": (jax.nn.elu, 0, 1, 1),
    "elu by select": (_elu, 0, 1, 1),
    "floor": (lambda x: x * jnp.floor(x), 0, -1, 0),
    "fraction": (lambda x: x - jnp.floor(x), 0, 1, 1),
    "hard_swish": (lambda x: jax.nn.hard_swish(x - 3), 0, -0.5, 0),
    "hard_tanh": (lambda x: jax.nn.hard_tanh(x + 1), 1, 0, 1),
    "huber": (lambda x: jnp.where(x <= 0, (x + 1) ** 2 / 2, x + 0.5), 0.5, 1, 1),
    "identity but at a point": (lambda x: jnp.where(x == 0, 5, x), 5, 0, 1),
    "identity if not at a point": (lambda x: jnp.where(x != 0, x, 5), 5, 0, 1),
    "leaky_relu": (lambda x: jax.nn.leaky_relu(x, 0.25), 0, 0.25, 1),
    "log_sigmoid": (jax.nn.log_sigmoid, -np.log(2), 0.5, 0.5),
    "log_sigmoid by parts": (
        lambda x: jnp.minimum(x, 0) - jnp.log1p(jnp.exp(-jnp.abs(x))), -np.log(2), 0.5, 0.5,
    ),
    "logaddexp": (lambda x: jnp.logaddexp(3 * x, x), np.log(2), 2, 2),
    "logaddexp of opposites": (lambda x: jnp.logaddexp(x, -x), np.log(2), 0, 0),
    "mask": (lambda x: x * (x > 0), 0, 0, 1),
    "mask by a product of matrices": (
        lambda x: jnp.stack([x, 2 * x]) @ jnp.stack([x > 0, x >= 0]).astype(np.float64), 0, 0, 3,
    ),
    "mask of a mask": (lambda x: x * (x > 0) * (x * (x >= 0) >= 0), 0, 0, 1),
    "mask of integers": (lambda x: x * (x >= 0).astype(np.int32), 0, 0, 1),
    "max": (lambda x: jnp.maximum(2 * x, 3 * x), 0, 2, 3),
    "max of a jump": (lambda x: jnp.maximum(jnp.sign(x) + x, 0.5 + 2 * x), 0.5, 1, 2),
    "min": (lambda x: jnp.minimum(2 * x, 3 * x), 0, 2, 3),
    "pow": (lambda x: x**2.0, 0, 0, 0),
    "pow 0": (lambda x: x**0.0, 1, 0, 0),
    "pow 3/2": (lambda x: x**1.5, 0, 0, 0),
    "reciprocal select": (lambda x: jnp.where(x == 0, 1, jnp.sin(x) / x), 1, 0, 0),
    "relu": (jax.nn.relu, 0, 0, 1),
    "relu of relu": (lambda x: jax.nn.relu(jax.nn.relu(x)), 0, 0, 1),
    "relu squared": (lambda x: jax.nn.relu(x) ** 2, 0, 0, 0),
    "relu6": (lambda x: jax.nn.relu6(6 - x), 6, -1, 0),
    "remainder": (lambda x: x * (x % 2), 0, 0, 2),
    "round": (lambda x: x * jnp.round(x + 0.5), 0, 0, 1),
    "round away": (lambda x: x * lax.round(x + 0.5), 0, 0, 1),
    "safe square root": (_safe_sqrt, 0, 0, 0),
    "sinc": (jnp.sinc, 1, 0, 0),
    "softplus": (jax.nn.softplus, np.log(2), 0.5, 0.5),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0), 0, 0, 0),
    "stopped": (lambda x: x * lax.stop_gradient(1.0 * (x > 0) + jnp.abs(x)), 0, 0, 0),
    "straight through": (lambda x: x + lax.stop_gradient(jnp.round(x) - x), 0, 1, 1),
    "truncation": (lambda x: x * (x + 1).astype(np.int32), 0, 0, 1),
    "x |x|": (lambda x: x * jnp.abs(x), 0, 0, 0),
    "x log x": (lambda x: jnp.where(x == 0, 2 * x, x * jnp.log(x)), 0, 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_ZERO)
def test_a_kink_at_zero(name: str) -> None:
    function, value, low, high = AT_ZERO[name]
    found, least, greatest = ends(function, 0.0)
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose([least[0], greatest[0]], [low, high], atol=_SLACK)
    assert least[0] <= low <= high <= greatest[0] or low == high


# The same in the midst of sums, where the parts of a function have sides of their own.
SAME_IN_A_SUM = [
    *("abs", "abs by sign", "abs by select", "abs by piecewise", "band", "ceil", "celu", "clamp"),
    *("elu", "floor", "hard_tanh", "huber", "identity but at a point"),
    *(
        "logaddexp",
        "mask",
        "mask of a mask",
        "mask of integers",
        "max",
        "max of a jump",
        "pow",
        "relu of relu",
    ),
    *("remainder", "round", "reciprocal select", "softplus", "stopped", "truncation", "x log x"),
]


@pytest.mark.parametrize("name", SAME_IN_A_SUM)
def test_a_kink_in_a_sum(name: str) -> None:
    function, value, low, high = AT_ZERO[name]
    found, least, greatest = ends(lambda x: jnp.sum(jax.vmap(function)(x) * 2), [0.0, 0.0])
    np.testing.assert_allclose(found, 4 * value, rtol=1e-13)
    np.testing.assert_allclose(least, 2 * low, atol=_SLACK)
    np.testing.assert_allclose(greatest, 2 * high, atol=_SLACK)


def test_parts_may_each_take_any_side_where_they_are_composed() -> None:
    _, low, high = ends(
        lambda x: jnp.sum(jax.nn.relu(jnp.stack([x, -x])) * jnp.array([1, -1])), 0.0
    )
    np.testing.assert_allclose([low[0], high[0]], [0, 2], atol=_SLACK)


TIED = [1.0, 1.0, 0.0, 1.0]
ANY = [[0, 1], [0, 1], [0, 0], [0, 1]]

# (function of TIED, its value, and from where to where its derivatives are)
AT_TIES: dict[str, tuple[Function, Any, Any]] = {
    "all": (lambda x: 2 * jnp.all(x >= 1) + jnp.sum(x), 3, [[1, 1]] * 4),
    "argmax": (lambda x: x[jnp.argmax(x)], 1, ANY),
    "argmin": (lambda x: x[jnp.argmin(-x)], 1, ANY),
    "argsort": (lambda x: x[jnp.argsort(x)][3], 1, ANY),
    "cummax": (lambda x: lax.cummax(x)[2], 1, [[0, 1], [0, 1], [0, 0], [0, 0]]),
    "cummin": (lambda x: lax.cummin(x)[1], 1, [[0, 1], [0, 1], [0, 0], [0, 0]]),
    "dynamic_update_slice": (
        lambda x: lax.dynamic_update_slice(x, 2 * x[:1], (jnp.argmax(x),))[1], 1,
        [[0, 2], [0, 1], [0, 0], [0, 0]],
    ),
    "logsumexp": (lambda x: jax.nn.logsumexp(20 * x, where=x > 0) / 20, 1 + np.log(3) / 20,
                  [[1 / 3, 1 / 3], [1 / 3, 1 / 3], [0, 0], [1 / 3, 1 / 3]]),
    "max": (jnp.max, 1, ANY),
    "max of irrational numbers": (lambda x: jnp.log(jnp.max(jnp.exp(x))), 1, ANY),
    "mean where": (
        lambda x: jnp.mean(x, where=x >= 1), 1, [[0, 1 / 2], [0, 1 / 2], [0, 0], [0, 1 / 2]]
    ),
    "median": (jnp.median, 1, ANY),
    "min": (lambda x: jnp.min(-x), -1, [[-1, 0], [-1, 0], [0, 0], [-1, 0]]),
    "one_hot": (lambda x: x @ jax.nn.one_hot(jnp.argmax(x), 4), 1, ANY),
    "reduce_window_max": (
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (3,), (1,), "VALID")[0], 1,
        [[0, 1], [0, 1], [0, 0], [0, 0]],
    ),
    "scatter-max": (
        lambda x: x.at[0].max(x[1])[0], 1, [[0, 1], [0, 1], [0, 0], [0, 0]]
    ),
    "softmax": (lambda x: jax.nn.softmax(x * 0)[0], 0.25, [[0, 0]] * 4),
    "sort": (lambda x: jnp.sort(x)[1], 1, ANY),
    "sort of others": (
        lambda x: lax.sort((x, x * jnp.arange(4)), num_keys=1)[1][1], 0,
        [[0, 0], [0, 1], [0, 0], [0, 3]],
    ),
    "sort by constants": (
        lambda x: lax.sort((jnp.array([1, 0, 0, 1]), x), num_keys=1)[1][0], 1,
        [[0, 0], [1, 1], [0, 0], [0, 0]],
    ),
    "sort by two": (
        lambda x: lax.sort((x, -x, 3 * x), num_keys=2)[2][3], 3,
        [[0, 3], [0, 3], [0, 0], [0, 3]],
    ),
    "switch": (
        lambda x: lax.switch(jnp.argmax(x), [lambda x: 2 * x, lambda x: 3 * x], x)[0], 2,
        [[2, 3], [0, 0], [0, 0], [0, 0]],
    ),
    "top_k": (lambda x: lax.top_k(x, 2)[0][1], 1, ANY),
    "top_k by index": (lambda x: x[lax.top_k(x, 2)[1]][1], 1, ANY),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_TIES)
def test_ties_of_several(name: str) -> None:
    function, value, derivatives = AT_TIES[name]
    found, low, high = ends(function, TIED)
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose(np.stack([low, high], 1), derivatives, atol=_SLACK)


def test_an_array_at_many_kinks() -> None:
    x = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 2.0]])
    value, low, high = ends(jax.nn.elu, x)
    np.testing.assert_allclose(value, jax.nn.elu(x), rtol=1e-13)
    slopes = np.diag(np.exp(np.minimum(x, 0)).ravel()).reshape(6, 2, 3)
    for end in (low, high):
        np.testing.assert_allclose(end, slopes, rtol=1e-13)


def test_each_direction_has_its_own_sides() -> None:
    _, low, high = ends(lambda x, y: jnp.abs(x + 2 * y), [0.0, 0.0], [0.0, 3.0])
    slopes = [[1, 0], [0, 1], [2, 0], [0, 2]]
    np.testing.assert_allclose(high, slopes, atol=_SLACK)
    np.testing.assert_allclose(low, np.multiply(slopes, [-1, 1]), atol=_SLACK)


def test_halves_are_rounded_as_jax_rounds_them() -> None:
    halves = np.arange(-3.5, 4)
    for function in (jnp.round, lax.round):
        value, low, high = ends(function, halves)
        np.testing.assert_array_equal(value, function(halves))
        assert not np.any([low, high])


def test_powers_of_numbers_that_are_not_positive() -> None:
    base = np.array([-2.0, -2.0, -2.0, 0.0, 0.0, 0.0, 0.0])
    exponent = np.array([3.0, -2.0, 0.0, 0.0, 1.0, 2.0, 0.5])
    value, low, high = ends(lambda x: x**exponent, base)
    np.testing.assert_array_equal(value, base**exponent)
    slopes = [12, 0.25, 0, 0, 1, 0]
    np.testing.assert_array_equal([np.diag(low)[:-1], np.diag(high)[:-1]], [slopes, slopes])
    assert not np.isfinite(low[-1, -1])


def test_only_what_moves_opens_a_tie() -> None:
    def masked(u: Any, z: Any) -> Any:
        return jnp.where(u < 0.5, 2 * z, 0)

    _, low, high = ends(masked, [0.5, 0.5], [1.0, 0.0])
    np.testing.assert_array_equal(low, high)
    np.testing.assert_array_equal(low, np.zeros((4, 2)))
    _, low, high = ends(lambda x: jnp.sum(jnp.where(jnp.arange(2) == 1, x, 3 * x)), [0.0, 0.0])
    np.testing.assert_array_equal(low, [3, 1])
    np.testing.assert_array_equal(high, [3, 1])


def test_a_comparison_of_what_is_not_a_number_is_false() -> None:
    def function(x: Any) -> Any:
        quotient = x / x
        return jnp.where(jnp.isnan(quotient), 2 * x, jnp.where(quotient > 0, 7.0, 5.0))

    value, low, high = ends(lambda x: jnp.sum(function(x)), [0.0, 3.0])
    assert value == 7
    np.testing.assert_allclose([low, high], [[2, 0], [2, 0]], atol=_SLACK)


def _thirds(x: Any) -> Any:
    return jnp.clip(lax.convert_element_type(x + 1, np.int32), 0, 2)


CORNERS: list[Function] = [
    jnp.abs, lambda x: jnp.maximum(x, 1), lambda x: jnp.minimum(-x, 0), jax.nn.relu,
    lambda x: jnp.clip(x, -1, 1), lambda x: lax.clamp(-x, 1.0, x), lambda x: 1 - 2 * x,
]  # fmt: skip
CHOICES: list[Function] = [
    lambda x: jnp.where(x > 0, 2 * x, -x), lambda x: jnp.where(x <= -1, 0.5 * x, x - 1),
    lambda x: x * (x >= 1), lambda x: 3 * x * jnp.sign(x - 1), lambda x: x - jnp.floor(x / 2),
    lambda x: jnp.where((x > -1) ^ (x < 1), x, 2 - x), lambda x: jnp.where(x == 1, 3 * x, x),
    lambda x: x * jnp.ceil(x) - x, lambda x: lax.select_n(_thirds(x), x, -x, 3 * x),
    lambda x: x * jnp.floor(jnp.sign(x) + x),
]  # fmt: skip


def chains(pieces: list[Function]) -> st.SearchStrategy[Function]:
    """Sums of the pieces after each other."""

    def function(chosen: list[list[Function]]) -> Function:
        return lambda x: sum(reduce(lambda y, piece: piece(y), chain, x) for chain in chosen)

    chain = st.lists(st.sampled_from(pieces), min_size=1, max_size=3)
    return st.lists(chain, min_size=1, max_size=2).map(function)


def sides(function: Function, x: float) -> list[float]:
    """The one-sided derivatives: what is linear by pieces has exact quotients of differences."""
    h = 2.0**-8
    below, above = (
        [float(function(np.float64(x + side * k * h))) for k in (1, 2)] for side in (-1, 1)
    )
    return [(below[0] - below[1]) / h, (above[1] - above[0]) / h]


@given(chains(CORNERS), st.integers(-3, 3))
def test_the_derivative_at_a_corner_is_between_its_sides(function: Function, x: int) -> None:
    value, low, high = ends(function, x)
    told = sides(function, x)
    np.testing.assert_allclose(value, function(float(x)))
    np.testing.assert_allclose([low[0], high[0]], [min(told), max(told)], atol=_SLACK)


@given(chains(CHOICES), st.integers(-3, 3))
def test_where_a_choice_changes_the_sides_and_the_point_are_held(f: Function, x: int) -> None:
    value, low, high = ends(f, x)
    told = [*sides(f, x), float(jax.grad(f)(float(x)))]
    np.testing.assert_allclose(value, f(float(x)))
    np.testing.assert_allclose([low[0], high[0]], [min(told), max(told)], atol=_SLACK)


@given(chains(CORNERS + CHOICES), chains(CORNERS + CHOICES), st.integers(-3, 3))
def test_composed_parts_hold_both_sides_too(f: Function, g: Function, x: int) -> None:
    def total(x: Any) -> Any:
        return jnp.sum(jnp.stack([f(x), g(x)]))

    _, low, high = ends(total, x)
    told = sides(total, x)
    assert low[0] - _SLACK <= min(told)
    assert max(told) <= high[0] + _SLACK
