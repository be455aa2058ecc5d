"""Every primitive that has an exact rule, away from ties: JAX in float64 is right there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from purenn.verify import balls, exact, primitives
from purenn.verify.primitives import traces

Function = Callable[..., Any]

NEW = {name: f for name, f in vars(lax).items() if name in ("one_minus_square", "polynomial")}
"""What not every version of JAX has."""

# name of the primitive: functions of arrays of shape (4, 3) with numbers between 0.1 and 0.9.
OF_NUMBERS: dict[str, list[Function]] = {
    "abs": [jnp.abs, lambda x: jnp.abs(x - 0.5)],
    "acos": [jnp.arccos],
    "acosh": [lambda x: jnp.arccosh(1 + x)],
    "add": [lambda x: x + 2 * x + 1],
    "and": [lambda x: jnp.where((x > 0.3) & (x < 0.7), x, 2 * x)],
    "asin": [jnp.arcsin],
    "asinh": [jnp.arcsinh],
    "atan": [jnp.arctan],
    "atan2": [lambda x: jnp.arctan2(x - 0.5, x * x - 0.3)],
    "atanh": [jnp.arctanh],
    "cbrt": [jnp.cbrt, lambda x: jnp.cbrt(x - 2)],
    "ceil": [lambda x: x * jnp.ceil(5 * x - 2)],
    "clamp": [lambda x: lax.clamp(0.3, x, 0.6), lambda x: lax.clamp(x / 2, 1 - x, x)],
    "cos": [jnp.cos],
    "cosh": [jnp.cosh],
    "digamma": [jax.scipy.special.digamma],
    "div": [lambda x: x / (x + 1) + 1 / x],
    "eq": [lambda x: jnp.where(x == x[::-1, ::-1], 0, x)],
    "erf": [lax.erf],
    "erf_inv": [jax.scipy.special.erfinv, lambda x: jax.scipy.special.erfinv(x - 0.95)],
    "erfc": [lax.erfc],
    "exp": [jnp.exp],
    "exp2": [jnp.exp2],
    "expm1": [jnp.expm1],
    "floor": [lambda x: x * jnp.floor(5 * x - 2)],
    "ge": [lambda x: jnp.where(x >= 0.5, x, x**2)],
    "gt": [lambda x: x * (x > 0.5)],
    "integer_pow": [lambda x: x**-3 + x**5, lambda x: (x - 0.5) ** 2],
    "is_finite": [lambda x: jnp.where(jnp.isfinite(x), x, 0)],
    "le": [lambda x: jnp.where(x <= 0.5, x, x**2)],
    "lgamma": [lax.lgamma],
    "log": [jnp.log],
    "log1p": [jnp.log1p],
    "log2": [jnp.log2],
    "logistic": [lax.logistic],
    "lt": [lambda x: jnp.where(x < 0.5, x, x**2)],
    "max": [lambda x: jnp.maximum(x, 0.5), lambda x: jnp.maximum(x, x[::-1] * 2)],
    "min": [lambda x: jnp.minimum(x, 0.5), lambda x: jnp.minimum(x, x[::-1] * 2)],
    "mul": [lambda x: x * x * 3],
    "ne": [lambda x: jnp.where(x != 0.5, x**2, 0), lambda x: jnp.where(jnp.isnan(x), 0, x)],
    "neg": [jnp.negative],
    "not": [lambda x: jnp.where(~(x > 0.5), x, x**2)],
    "one_minus_square": [lambda x: NEW.get("one_minus_square", jnp.tanh)(x)],
    "or": [lambda x: jnp.where((x < 0.3) | (x > 0.7), x, 2 * x)],
    "polynomial": [
        lambda x: NEW.get("polynomial", jnp.multiply)(x, jnp.stack([1 - x, x**2]))
    ],
    "pow": [lambda x: x**1.7 + 1.3**x + x**x, lambda x: (x - 2) ** 3.0 + (x - 2) ** -2.0],
    "rem": [lambda x: x % 0.25, lambda x: lax.rem(x - 2, x / 3), lambda x: (x - 2) // 0.3 * x],
    "round": [
        lambda x: x * jnp.round(7 * x - 3),
        lambda x: x * lax.round(7 * x - 3, lax.RoundingMethod.AWAY_FROM_ZERO),
    ],
    "rsqrt": [lax.rsqrt],
    "select_n": [lambda x: lax.select_n((8 * x).astype(np.int32) % 3, x, x**2, -x)],
    "sign": [lambda x: x * jnp.sign(x - 0.5)],
    "sin": [jnp.sin],
    "sinh": [jnp.sinh],
    "sqrt": [jnp.sqrt],
    "square": [jnp.square],
    "stop_gradient": [lambda x: x * lax.stop_gradient(x), lambda x: x + lax.stop_gradient(-x)],
    "sub": [lambda x: 1 - x],
    "tan": [jnp.tan],
    "tanh": [jnp.tanh],
    "xor": [lambda x: jnp.where((x < 0.3) ^ (x < 0.7), x, 2 * x)],
}  # fmt: skip

_INDICES = np.array([[2, 1], [0, 1], [2, 0]])

# The same for what mixes or moves the elements; beside what JAX does not differentiate is its
# equal that it does.
OF_ARRAYS: dict[str, list[Any]] = {
    "argmax": [
        lambda x: jax.nn.one_hot(jnp.argmax(x, 0), 4).T * x, lambda x: x[:, jnp.argmax(x[0])]
    ],
    "argmin": [lambda x: jax.nn.one_hot(jnp.argmin(x, 1), 3) * x],
    "broadcast_in_dim": [lambda x: jnp.broadcast_to(x[:, None], (4, 2, 3))],
    "concatenate": [lambda x: jnp.concatenate([x, x[::-1] ** 2, jnp.ones((1, 3))])],
    "conv_general_dilated": [
        lambda x: lax.conv(x.reshape(1, 2, 2, 3), x[:2].reshape(1, 2, 1, 3), (1, 1), "VALID"),
        lambda x: lax.conv_general_dilated(
            x.reshape(2, 1, 6), x.reshape(3, 1, 4), (2,), [(3, 2)], (2,), (3,)
        ),
        lambda x: lax.conv_general_dilated(
            x.reshape(1, 2, 3, 2), x.reshape(3, 2, 1, 2), (1, 2), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2,
        ),
        lambda x: lax.conv_general_dilated(x.reshape(1, 1, 12), x[:1, None], (1,), [(-2, 1)]),
    ],
    "copy": [lambda x: jnp.array(x, copy=True) * x],
    "cumlogsumexp": [lax.cumlogsumexp, lambda x: lax.cumlogsumexp(x, 1, reverse=True)],
    "cummax": [lax.cummax, lambda x: lax.cummax(x, 1, reverse=True)],
    "cummin": [lax.cummin, lambda x: lax.cummin(x, 1, reverse=True)],
    "cumprod": [lax.cumprod, lambda x: lax.cumprod(x, 1, reverse=True)],
    "cumsum": [lax.cumsum, lambda x: lax.cumsum(x, 1, reverse=True)],
    "dot_general": [lambda x: x @ x.T @ x, lambda x: jnp.einsum("ij,ikj->ki", x, x[:, None] ** 2)],
    "dynamic_slice": [lambda x: lax.dynamic_slice(x, (jnp.argmax(x[:, 0]), 1), (2, 2))],
    "dynamic_update_slice": [
        lambda x: lax.dynamic_update_slice(x, x[:2, :2] ** 2, (jnp.argmax(x[:, 0]), 1))
    ],
    "gather": [
        lambda x: x[_INDICES], lambda x: x[_INDICES, _INDICES], lambda x: x[:, jnp.array([2, 0])],
        lambda x: x.at[jnp.array([1, 9])].get(mode="fill", fill_value=7),
        lambda x: x.at[jnp.array([1, 9])].get(mode="clip"),
        lambda x: jnp.take_along_axis(x, jnp.argsort(x, 0), 0),
    ],
    "pad": [
        lambda x: jnp.pad(x, 1), lambda x: lax.pad(x, x[0, 0], [(1, -1, 2), (-1, 2, 1)]),
        lambda x: lax.pad(x, 2.0, [(-2, -1, 1), (0, 0, 0)]),
    ],
    "reduce": [
        (lambda x: lax.reduce(x, np.float64(2.0), lax.mul, (0,)), lambda x: 2 * jnp.prod(x, 0)),
        lambda x: lax.reduce(x, np.float64(0.4), lax.max, (0, 1)),
    ],
    "reduce_and": [lambda x: jnp.where(jnp.all(x > 0.2, 0), x, 2 * x)],
    "reduce_max": [lambda x: x * jnp.max(x), lambda x: jnp.max(x, 0), lambda x: jnp.max(x, ())],
    "reduce_min": [lambda x: x * jnp.min(x), lambda x: jnp.min(x, 1)],
    "reduce_or": [lambda x: jnp.where(jnp.any(x > 0.7, 0), x, 2 * x)],
    "reduce_precision": [lambda x: lax.reduce_precision(x, 11, 52)],
    "reduce_prod": [jnp.prod, lambda x: jnp.prod(x - 0.5, 0)],
    "reduce_sum": [lambda x: x * jnp.sum(x), lambda x: jnp.sum(x, 0), lambda x: jnp.sum(x[:0])],
    "reduce_window": [
        (
            lambda x: lax.reduce_window(x, np.float64(3.0), lax.mul, (1, 2), (1, 2), "SAME"),
            lambda x: 3 * x[:, ::2] * jnp.stack([x[:, 1], 3 + 0 * x[:, 1]], 1),
        ),
        (
            lambda x: lax.reduce_window(x, 1.0, lax.mul, (2, 2), (2, 1), "VALID"),
            lambda x: jnp.prod(jnp.stack([x[i::2, j : j + 2] for i in (0, 1) for j in (0, 1)]), 0),
        ),
    ],
    "reduce_window_max": [
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 2), "SAME"),
        lambda x: lax.reduce_window(
            x, -jnp.inf, lax.max, (2, 2), (1, 1), [(1, 2), (0, 1)], (2, 1), (3, 2)
        ),
    ],
    "reduce_window_min": [
        lambda x: lax.reduce_window(x, jnp.inf, lax.min, (2, 3), (2, 1), "VALID")
    ],
    "reduce_window_sum": [
        lambda x: lax.reduce_window(
            x, 0.0, lax.add, (2, 2), (1, 2), [(2, 0), (1, 1)], (1, 3), (2, 1)
        ),
    ],
    "reshape": [lambda x: x.reshape(2, 6), lambda x: x.T.reshape(12)],
    "rev": [lambda x: x[::-1] * x],
    "scatter": [
        lambda x: x.at[jnp.array([0, 2])].set(2 * x[:2] ** 2), lambda x: x.at[1, 5].set(3.0),
        lambda x: x.at[_INDICES[:, 0], 0].set(x[0]),
    ],
    "scatter-add": [
        lambda x: x.at[jnp.array([0, 0, 3, 9])].add(x**2),
        lambda x: jnp.zeros(3).at[_INDICES].add(x[:3, :2]),
        lambda x: jnp.ones((40, 3)).at[10 * jnp.arange(4).repeat(6)].add(jnp.tile(x, (6, 1))),
    ],
    "scatter-max": [lambda x: x.at[jnp.array([0, 0, 3])].max(3 * x[1:] ** 2)],
    "scatter-min": [lambda x: x.at[jnp.array([0, 0, 3])].min(3 * x[1:] ** 2)],
    "scatter-mul": [
        lambda x: x.at[jnp.array([2, 0])].multiply(x[1:3] ** 2, unique_indices=True),
        (
            lambda x: x.at[jnp.array([0, 0, 3])].multiply(x[1:] ** 2),
            lambda x: jnp.stack([x[0] * (x[1] * x[2]) ** 2, x[1], x[2], x[3] ** 3]),
        ),
    ],
    "scatter-sub": [lambda x: x.at[jnp.array([0, 0, 3])].subtract(3 * x[1:] ** 2)],
    "slice": [lambda x: x[1:, :2], lambda x: x[::2, 1:]],
    "sort": [
        jnp.sort, lambda x: jnp.sort(x, 0, descending=True), jnp.median,
        lambda x: lax.sort((x, x[::-1] ** 2), dimension=0, num_keys=1)[1],
        lambda x: lax.sort((jnp.round(x), x**2, -x), dimension=0, num_keys=2)[2],
    ],
    "split": [lambda x: jnp.split(x, [1, 3])[1], lambda x: sum(jnp.split(x, 3, 1))],
    "squeeze": [lambda x: x[:1].squeeze(0)],
    "top_k": [
        lambda x: lax.top_k(x, 2)[0], lambda x: x[:, lax.top_k(x[0], 2)[1]],
        lambda x: lax.top_k(x.T, 3)[0],
    ],
    "stack": [lambda x: jnp.stack([x, x**2], 1)],
    "tile": [lambda x: jnp.tile(x, (1, 2))],
    "transpose": [lambda x: x.T, lambda x: x.reshape(2, 2, 3).transpose(2, 0, 1)],
    "unstack": [lambda x: jnp.unstack(x, axis=1)[1]],
}  # fmt: skip


def _until_large(x: Any) -> Any:
    return lax.while_loop(lambda y: jnp.sum(y) < 50, lambda y: y * (1 + x), x)


@jax.custom_vjp
def _with_a_wrong_derivative(x: Any) -> Any:
    return jnp.sin(x)


_with_a_wrong_derivative.defvjp(lambda x: (x, x), lambda x, dy: (7 * dy,))

OF_TRACES: dict[str, list[Any]] = {
    "checkpoint": [lambda x: jax.checkpoint(jnp.sin)(x) * x],
    "cond": [
        lambda x: lax.cond(x[0, 0] > 0.5, jnp.sin, jnp.cos, x),
        lambda x: lax.switch(jnp.argmax(x[:, 0]), [jnp.sin, jnp.cos, jnp.exp], x),
    ],
    "custom_jvp_call": [jax.nn.silu, jax.nn.relu6, lambda x: jnp.logaddexp(x, x[::-1])],
    "custom_vjp_call": [(_with_a_wrong_derivative, jnp.sin)],
    "jit": [jax.jit(lambda x: jax.jit(jnp.sin)(x) * x)],
    "random_bits": [lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)],
    "scan": [
        lambda x: lax.fori_loop(0, 10, lambda i, y: jnp.sin(y) + x[i % 4], x),
        lambda x: lax.scan(lambda s, row: (s * row, s + row), x[0], x)[1],
        lambda x: lax.scan(lambda s, row: (s * row, jnp.sum(s)), x[0], x, reverse=True)[1],
        lambda x: lax.scan(lambda s, row: (s, s * row), x[0], x[:0])[1],
    ],
    "while": [_until_large],
}

CASES = {
    f"{name}-{i}": function
    for table in (OF_NUMBERS, OF_ARRAYS, OF_TRACES)
    for name, functions in table.items()
    for i, function in enumerate(functions)
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_tangents_are_those_of_jax(case: str) -> None:
    function, equal = CASES[case] if isinstance(CASES[case], tuple) else (CASES[case],) * 2
    rng = np.random.default_rng(0)
    x, directions = rng.uniform(0.1, 0.9, (4, 3)), rng.normal(size=(2, 4, 3))
    (result,) = exact.evaluate(jax.make_jaxpr(function)(x), [x], [directions])
    pushed = jax.vmap(lambda v: jax.jvp(equal, [x], [v]), out_axes=(None, 0))
    value, tangents = jax.jit(pushed)(directions)  # compiled at once, not piece by piece
    np.testing.assert_allclose(balls.nearest(result.value), value, rtol=1e-12, atol=1e-14)
    found = result.tangents if result.tangents is not None else np.zeros((2, *value.shape), object)
    np.testing.assert_allclose(balls.nearest(found), tangents, rtol=1e-11, atol=1e-13)


def test_every_rule_is_tried() -> None:
    x = np.full((4, 3), 0.5)
    seen: set[str] = set()
    for case in CASES.values():
        function = case[0] if isinstance(case, tuple) else case
        seen |= _names(jax.make_jaxpr(function)(x))
    rules = {*primitives._RULES, *primitives._PIECEWISE, *traces._CONTROL, *traces._CALLS}
    assert rules - IN_SOME_VERSIONS_ONLY <= seen


IN_SOME_VERSIONS_ONLY = {
    *("add_any", "expand_dims", "copy_p", "eq_to", "le_to", "lt_to", "logaddexp", "log2"),
    *("one_minus_square", "polynomial", "split", "stack", "tile", "unstack"),
    *("checkpoint", "closed_call", "core_call", "pjit", "remat", "jit", "remat2"),
}


def _names(trace: Any) -> set[str]:
    found = set()
    for equation in getattr(trace, "jaxpr", trace).eqns:
        found.add(equation.primitive.name)
        for param in equation.params.values():
            for body in param if isinstance(param, tuple) else (param,):
                if hasattr(body, "eqns"):
                    found |= _names(body)
    return found
