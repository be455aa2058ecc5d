from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

from purenn.verify import balls, exact, primitives

SMOOTH: dict[str, Any] = {
    "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1, "log": jnp.log, "log1p": jnp.log1p,
    "logistic": jax.lax.logistic, "tanh": jnp.tanh, "sinh": jnp.sinh, "cosh": jnp.cosh,
    "sin": jnp.sin, "cos": jnp.cos, "tan": jnp.tan, "atan": jnp.arctan, "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt, "erf": jax.lax.erf, "erfc": jax.lax.erfc, "lgamma": jax.lax.lgamma,
    "square": jnp.square, "neg": jnp.negative, "abs": jnp.abs,
    "integer_pow": lambda x: x**-3, "pow": lambda x: x**1.7 + 1.3**x,
    "add": lambda x: x + 2 * x, "sub": lambda x: 1 - x, "mul": lambda x: x * x,
    "div": lambda x: x / (x + 1) + 1 / x, "max": lambda x: jnp.maximum(x, 0.7),
    "min": lambda x: jnp.minimum(x * x, 0.7), "clip": lambda x: jnp.clip(x, 0.2, 0.7),
    "where": lambda x: jnp.where(x > 0.5, x, x**2), "sign": lambda x: jnp.sign(x) * x,
    "reduce_sum": lambda x: x * jnp.sum(x), "reduce_max": lambda x: x * jnp.max(x),
    "reduce_min": lambda x: x * jnp.min(x), "dot": lambda x: jnp.outer(x, x) @ x,
    "einsum": lambda x: jnp.einsum("ij,kj->ik", jnp.outer(x, x), jnp.outer(x, jnp.ones(2)).T),
    "reshape": lambda x: jnp.broadcast_to(x[None].T, (3, 2)).T.reshape(6),
    "concatenate": lambda x: jnp.concatenate([x[::-1], x[:1], jnp.pad(x, 1)]),
    "gather": lambda x: x[jnp.array([2, 0, 2])], "roll": lambda x: jnp.roll(x, 1) * x,
    "softmax": jax.nn.softmax, "logsumexp": jax.nn.logsumexp, "gelu": jax.nn.gelu,
    "silu": jax.nn.silu, "log_softmax": jax.nn.log_softmax, "mish": jax.nn.mish,
    "stop_gradient": lambda x: x * jax.lax.stop_gradient(x),
    "norm": lambda x: x / jnp.linalg.norm(x),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_value_and_derivative_are_those_of_jax_where_nothing_is_hard(name: str) -> None:
    x = np.array([0.3, 0.9, 0.55])
    trace = jax.make_jaxpr(SMOOTH[name])(x)
    (result,) = exact.evaluate(trace, [x], [np.eye(3)])
    value, expected = jax.jit(lambda x: (SMOOTH[name](x), jax.jacfwd(SMOOTH[name])(x)))(x)
    np.testing.assert_allclose(balls.nearest(result.value), value, rtol=1e-13)
    jacobian = np.moveaxis(balls.nearest(result.tangents), 0, -1)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-12, atol=1e-14)


@given(st.floats(-400, 400))
def test_the_truth_in_saturation(x: float) -> None:
    trace = jax.make_jaxpr(jnp.tanh)(x)
    (result,) = exact.evaluate(trace, [np.array(x)], [np.ones(1)])
    with flint.ctx.workprec(4000):
        sech = 1 / arb(x).cosh()
        assert result.tangents is not None
        assert result.tangents[0].overlaps(sech * sech)
    assert result.tangents[0].rel_accuracy_bits() >= 80


def test_at_a_kink_everything_between_the_one_sided_derivatives_is_right() -> None:
    x = np.array([0.0, 2.0, -3.0])
    for function, low in ((jax.nn.relu, 0), (jnp.abs, -1)):
        (result,) = exact.evaluate(jax.make_jaxpr(function)(x), [x], [np.ones((1, 3))])
        assert result.tangents is not None
        for derivative in (low, 0.5, 1):
            at_kink = np.array([derivative, 1.0, low])
            assert np.max(balls.distance(at_kink, result.tangents[0])) < 1e-8
        assert balls.distance(np.array([1.5, 1.0, low]), result.tangents[0])[0] > 0.4


def test_a_scalar_result_and_a_scalar_argument() -> None:
    x = np.array([1.0, 2.0])
    (result,) = exact.evaluate(jax.make_jaxpr(jnp.sum)(x), [x], [np.eye(2)])
    np.testing.assert_array_equal(balls.nearest(result.tangents), [1, 1])
    (result,) = exact.evaluate(jax.make_jaxpr(jnp.max)(1.0), [np.array(1.0)], [np.ones(1)])
    np.testing.assert_array_equal(balls.nearest(result.tangents), [1])


def test_distance_has_no_rounding_of_its_own() -> None:
    with flint.ctx.workprec(200):
        third = balls.from_floats(np.array([1.0])) / 3
    assert 0 < balls.distance(np.array([1 / 3]), third)[0] < 2.0**-54
    assert balls.distance(np.array([np.inf]), third)[0] == np.inf


def test_an_unknown_primitive_is_named() -> None:
    x = np.array([0.3, 0.2])
    with pytest.raises(primitives.UnknownPrimitiveError, match="'igamma'"):
        exact.evaluate(jax.make_jaxpr(jax.scipy.special.gammainc)(x, x), [x, x], [np.eye(2), None])


def test_equal_irrationals_are_never_decided() -> None:
    x = np.array(2.0)
    trace = jax.make_jaxpr(lambda x: jnp.where(jnp.sqrt(x) * jnp.sqrt(x) > x, x, -x))(x)
    with pytest.raises(ArithmeticError, match="8192 bits do not decide"):
        exact.evaluate(trace, [x], [np.ones(1)])
