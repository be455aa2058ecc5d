import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError
from purenn.ops import activations
from purenn.typing import Array

NAMES = ["sigmoid", "tanh", "soft_sign", "softplus", "log_sigmoid", "squareplus"]
NUMBERS = hnp.arrays(np.float64, 6, elements=st.floats(-30, 30))


@pytest.mark.parametrize(
    ("name", "ends", "slopes"),
    [
        ("sigmoid", [0, 1], [0, 0]),
        ("tanh", [-1, 1], [0, 0]),
        ("soft_sign", [-1, 1], [0, 0]),
        ("softplus", [0, np.inf], [0, 1]),
        ("log_sigmoid", [-np.inf, 0], [1, 0]),
        ("squareplus", [0, np.inf], [0, 1]),
    ],
)
def test_limits_at_infinity(name: str, ends: list[float], slopes: list[float]) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(y, ends)
    np.testing.assert_array_equal(pullback(np.ones(2))[0], slopes)


@pytest.mark.parametrize("name", NAMES)
def test_as_jax(name: str) -> None:
    x = np.random.default_rng(0).normal(0, 4, 100)
    y, pullback = getattr(activations, f"{name}_vjp")(x)
    expected, jax_pullback = jax.vjp(getattr(jax.nn, name), x)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(pullback(x)[0], jax_pullback(x)[0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "x", "slope"),
    [
        ("sigmoid", 17.0, 4.1399375e-8),
        ("tanh", 9.5, 2.2411185e-8),
        ("soft_sign", 3e7, 1 / 9e14),
        ("log_sigmoid", 30.0, 9.357623e-14),
        ("squareplus", -1e4, 1e-8),
        ("squareplus", -1e20, 1e-40),
    ],
)
def test_the_textbook_form_is_0_where_the_rule_is_not(name: str, x: float, slope: float) -> None:
    dtype = np.float32 if slope > 1e-30 else np.float64
    _, pullback = getattr(activations, f"{name}_vjp")(np.array(x, dtype))
    np.testing.assert_allclose(pullback(np.ones((), dtype))[0], slope, rtol=3e-7)


@given(x=NUMBERS, b=st.floats(1e-3, 1e3))
def test_squareplus_with_any_b(x: Array, b: float) -> None:
    y, pullback = activations.squareplus_vjp(x, b=b)
    root = np.sqrt(x * x + b)
    np.testing.assert_allclose(y, jax.nn.squareplus(x, b), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(y * activations.squareplus(-x, b=b), b / 4, rtol=1e-14)
    np.testing.assert_allclose(pullback(np.ones(6))[0], (1 + x / root) / 2, atol=1e-15)


@pytest.mark.parametrize("b", [0.0, -1.0, np.nan, np.inf])
def test_squareplus_without_a_positive_b_is_refused(b: float) -> None:
    for squareplus in (activations.squareplus, activations.squareplus_vjp):
        with pytest.raises(
            DomainError, match=f"squareplus: b is {b}, expected a finite number > 0"
        ):
            squareplus(np.ones(2), b=b)


@given(x=NUMBERS)
def test_what_is_reflected(x: Array) -> None:
    for name in ("softplus", "squareplus"):
        f = getattr(activations, name)
        np.testing.assert_allclose(f(x) - f(-x), x, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(
        activations.log_sigmoid(x) - activations.log_sigmoid(-x), x, rtol=1e-14, atol=1e-14
    )


def test_the_slope_of_squareplus_times_dy_keeps_the_digits_that_the_slope_has_not() -> None:
    _, pullback = activations.squareplus_vjp(np.array([-1e160]))
    np.testing.assert_allclose(pullback(np.array([1e100]))[0], 1e-220, rtol=1e-15)
    _, pullback = activations.squareplus_vjp(np.array([-1.0]), b=1e10)
    np.testing.assert_allclose(pullback(np.array([1e308]))[0], 0.499995e308, rtol=1e-9)
