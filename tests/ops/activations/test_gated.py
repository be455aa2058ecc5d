import inspect
from functools import partial
from typing import Any

import flint
import jax
import numpy as np
import pytest
from flint import arb

from purenn.errors import DtypeError, ShapeError
from purenn.ops import activations
from purenn.ops._axes import axis_of
from purenn.ops.activations import gated


@pytest.mark.parametrize("name", ["silu", "mish"])
def test_limits_at_infinity(name: str) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(y, [0, np.inf])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0, 1])


@pytest.mark.parametrize(
    ("name", "root", "least"),
    [("silu", -1.27846454, -0.27846454), ("mish", -1.19243121, -0.30884341)],
)
def test_the_minimum(name: str, root: float, least: float) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(root + np.array([-1e-8, 0, 1e-8]))
    np.testing.assert_allclose(y, least, rtol=1e-7)
    below, _, above = pullback(np.ones(3))[0]
    assert below < 0 < above


@pytest.mark.parametrize("name", ["silu", "mish"])
def test_as_jax(name: str) -> None:
    x = np.random.default_rng(0).normal(0, 4, 100)
    y, pullback = getattr(activations, f"{name}_vjp")(x)
    expected, jax_pullback = jax.vjp(getattr(jax.nn, name), x)
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    np.testing.assert_allclose(pullback(x)[0], jax_pullback(x)[0], rtol=1e-11)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_glu_halves_any_axis(axis: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 5, (2, 4, 6))
    y, pullback = activations.glu_vjp(x, axis=axis)
    expected, jax_pullback = jax.vjp(partial(jax.nn.glu, axis=axis), x)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    dy = rng.normal(size=y.shape)
    np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0], rtol=1e-9)


def test_a_gate_that_is_open_still_trains() -> None:
    _, pullback = activations.glu_vjp(np.array([2.0, 40.0], np.float32))
    (dx,) = pullback(np.ones(1, np.float32))
    np.testing.assert_allclose(dx, [1, 2 * np.exp(-40)], rtol=1e-6)


def test_halves_that_do_not_exist_are_refused() -> None:
    for glu in (activations.glu, activations.glu_vjp):
        with pytest.raises(ShapeError, match=r"\(4, 3\), expected an even size along axis -1"):
            glu(np.ones((4, 3)))
        with pytest.raises(ShapeError, match="glu: axis is 2, but x has shape"):
            glu(np.ones((4, 2)), axis=2)


def test_swish_is_silu() -> None:
    assert activations.swish is activations.silu
    assert activations.swish_vjp is activations.silu_vjp


def test_constants_are_what_they_are_said_to_be() -> None:
    with flint.ctx.workprec(300):
        r = arb(gated._SILU_ROOT[0]) + arb(gated._SILU_ROOT[1])
        assert abs(1 + r + r.exp()) < arb(2) ** -100
        assert abs(arb(gated._SILU_EXP_ROOT) - r.exp()) < arb(2) ** -54
        r = arb(gated._MISH_ROOT[0]) + arb(gated._MISH_ROOT[1])
        e = r.exp()
        assert abs(4 + 6 * e + 4 * e**2 + e**3 + 4 * r * (1 + e)) < arb(2) ** -100
        assert abs(arb(gated._MISH_EXP_ROOT) - e) < arb(2) ** -54


@pytest.mark.parametrize("name", ["silu", "mish", "gelu"])
def test_near_the_largest_float(name: str) -> None:
    x = np.array([1.7e308, -1.7e308, 1600, -1600, 1])
    y, pullback = getattr(activations, f"{name}_vjp")(x)
    np.testing.assert_array_equal(y[:4], [1.7e308, 0, 1600, 0])
    np.testing.assert_array_equal(pullback(np.full(5, 1.7e308))[0][:4], [1.7e308, 0, 1.7e308, 0])


def test_the_gate_of_glu_where_a_times_dy_overflows() -> None:
    _, pullback = activations.glu_vjp(np.array([1e300, 900.0]))
    expected = [1e200, np.exp(500 * np.log(10) - 900)]
    np.testing.assert_allclose(pullback(np.array([1e200]))[0], expected, rtol=1e-12)


def test_what_is_no_axis_of_glu_is_refused() -> None:
    for glu in (activations.glu, activations.glu_vjp):
        with pytest.raises(DtypeError, match="glu: axis is True, expected an int"):
            glu(np.ones((2, 2)), axis=True)
    wrong: list[Any] = [None, 1.0, (0,)]
    for axis in wrong:
        with pytest.raises(DtypeError, match=r"f: axis is .*, expected an int"):
            inspect.unwrap(axis_of)("f", np.ones((2, 2)), axis)
