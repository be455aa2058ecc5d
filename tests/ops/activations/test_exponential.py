from functools import partial

import flint
import jax
import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import activations
from purenn.ops.activations import exponential
from purenn.typing import Array
from purenn.verify import balls, judge

NUMBERS = hnp.arrays(np.float64, 6, elements=st.floats(-20, 20, allow_subnormal=False))


@pytest.mark.parametrize(
    ("name", "ends", "slopes"),
    [
        ("elu", [-1, np.inf], [0, 1]),
        ("celu", [-1, np.inf], [0, 1]),
        ("selu", [-1.7580993408473768, np.inf], [0, 1.0507009873554805]),
    ],
)
def test_limits_at_infinity(name: str, ends: list[float], slopes: list[float]) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(y, ends)
    np.testing.assert_array_equal(pullback(np.ones(2))[0], slopes)


@given(x=NUMBERS, alpha=st.floats(0.05, 20))
def test_elu_and_celu_with_any_alpha(x: Array, alpha: float) -> None:
    for name in ("elu", "celu"):
        y, pullback = getattr(activations, f"{name}_vjp")(x, alpha=alpha)
        expected, jax_pullback = jax.vjp(partial(getattr(jax.nn, name), alpha=alpha), x)
        np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-300)
        dy = np.cos(x)
        np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0], rtol=1e-11, atol=1e-14)


def test_at_the_kink_the_derivative_is_that_of_jax() -> None:
    zero, one = np.zeros(1), np.ones(1)
    assert activations.elu_vjp(zero, alpha=0.3)[1](one)[0] == 0.3
    assert activations.celu_vjp(zero, alpha=0.3)[1](one)[0] == 1
    (slope,) = activations.selu_vjp(zero)[1](one)
    np.testing.assert_allclose(slope, jax.grad(lambda x: jax.nn.selu(x).sum())(zero), rtol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_celu_without_a_positive_alpha_is_refused(alpha: float) -> None:
    for celu in (activations.celu, activations.celu_vjp):
        with pytest.raises(
            DomainError, match=f"celu: alpha is {alpha}, expected a finite number > 0"
        ):
            celu(np.ones(2), alpha=alpha)


def test_selu_keeps_mean_and_variance() -> None:
    x = np.linspace(-12, 12, 200_001)
    weight = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    y = activations.selu(x)
    assert abs(np.sum(weight * y)) < 1e-9
    assert abs(np.sum(weight * y * y) - 1) < 1e-9


def test_constants_are_what_they_are_said_to_be() -> None:
    """Klambauer et al. 2017, equation 14."""
    with flint.ctx.workprec(300):
        e, pi, half = arb(1).exp(), arb.pi(), (1 / arb(2).sqrt()).erfc()
        alpha = -(2 / pi).sqrt() / (half * e.sqrt() - 1)
        inside = 2 * arb(2).sqrt().erfc() * e**2 + pi * half**2 * e
        inside -= 2 * (2 + pi) * half * e.sqrt() - pi - 2
        scale = (1 - half * e.sqrt()) * (2 * pi / inside).sqrt()
        for constant, exact in (
            (exponential._LAMBDA, scale),
            (exponential._LAMBDA_ALPHA, scale * alpha),
        ):
            assert abs(constant - exact) <= np.spacing(constant) / 2


ALPHAS = st.floats(0, 1) | st.sampled_from([1e-300, 1e-9, 1e-4])


@given(x=hnp.arrays(np.float64, 5, elements=st.floats(-0.7, 5)), alpha=ALPHAS)
def test_the_soft_exponential_of_minus_alpha_is_the_inverse_function(
    x: Array, alpha: float
) -> None:
    if np.all(x > (alpha - 1 / alpha if alpha else -np.inf)):
        y, pullback = activations.soft_exponential_vjp(x, np.array(-alpha))
        back, pullback_of_back = activations.soft_exponential_vjp(y, np.array(alpha))
        np.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-13)
        slopes = pullback(np.ones(5))[0] * pullback_of_back(np.ones(5))[0]
        np.testing.assert_allclose(slopes, np.ones(5), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -0.0, 1e-300, -1e-300, 1e-25, -1e-25])
def test_the_soft_exponential_at_0_is_the_identity_but_trains(alpha: float) -> None:
    x = np.array([-3.0, 0, 0.5, 4])
    y, pullback = activations.soft_exponential_vjp(x, np.array(alpha))
    dy = np.array([1.0, 2, -1, 0.5])
    dx, dalpha = pullback(dy)
    np.testing.assert_allclose(y, x, rtol=1e-15, atol=1e-24)
    np.testing.assert_allclose(dx, dy, rtol=1e-15)
    np.testing.assert_allclose(dalpha, np.sum(dy * (x * x / 2 + 1)), rtol=1e-15)


@pytest.mark.parametrize("alpha", [0.0, 1e-9, -1e-9, 1e-3, -1e-3, 0.3, -0.3, 0.95, 1.0, -1.0, 7.0])
def test_the_soft_exponential_within_8_ulp(alpha: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40) * 10 ** rng.uniform(-3, 2, 40)
    zero = np.log1p(-alpha * alpha) / alpha if 0 < alpha < 1 else -alpha
    x = np.concatenate([x, zero * (1 + rng.normal(size=40) * 10 ** rng.uniform(-16, -1, 40))])
    x = np.append(x, [zero, 0.0])
    x = x[x > 1 / alpha - alpha] if alpha < 0 else x
    y, pullback = activations.soft_exponential_vjp(x, np.array(alpha))
    (dx, _) = pullback(np.ones_like(x))
    dalpha = [
        activations.soft_exponential_vjp(x[i : i + 1], np.array(alpha))[1](np.ones(1))[1]
        for i in range(len(x))
    ]
    with flint.ctx.workprec(500):
        exact = np.array([_soft_exponential(arb(z), arb(alpha)) for z in x.tolist()])
    for ours, truth in zip((y, dx, np.array(dalpha)), exact.T, strict=True):
        assert np.max(judge.errors(ours, truth, np.abs(balls.nearest(truth)))) <= 8


def _soft_exponential(x: arb, a: arb) -> list[arb]:
    """The value and its derivatives by x and alpha, term by term."""
    if a > 0:
        e = (a * x).exp()
        return [(e - 1) / a + a, e, (a * x * e - e + 1) / a**2 + 1]
    if a < 0:
        w = 1 - a * (x + a)
        return [-w.log() / a, 1 / w, w.log() / a**2 + (x + 2 * a) / (a * w)]
    return [x, arb(1), x * x / 2 + 1]


def test_where_the_logarithm_is_not_defined_it_is_refused() -> None:
    for f in (activations.soft_exponential, activations.soft_exponential_vjp):
        with pytest.raises(DomainError, match=r"x\[1\] is -1.5, expected > 1/alpha − alpha = -1.5"):
            f(np.array([-1.4, -1.5]), np.array(-0.5))
        with pytest.raises(ShapeError, match="alpha has shape"):
            f(np.ones(2), np.ones(2))
    assert np.isnan(activations.soft_exponential(np.array(np.nan), np.array(-0.5)))


def test_an_infinite_slope_times_0_is_0() -> None:
    x = np.array([1e30, 1.0], np.float32)
    _, pullback = activations.soft_exponential_vjp(x, np.array(2, np.float32))
    dx, dalpha = pullback(np.array([0, 1], np.float32))
    np.testing.assert_allclose(dx, [0, np.exp(2)], rtol=1e-6)
    np.testing.assert_allclose(dalpha, (np.exp(2) + 1) / 4 + 1, rtol=1e-6)


def test_the_value_may_be_written_to() -> None:
    x, alpha = np.array([0.5, 2.0]), np.array(-0.5)
    y, pullback = activations.soft_exponential_vjp(x, alpha)
    before = pullback(x)[1].copy()
    y[...] = 7
    assert pullback(x)[1] == before


def test_other_options_that_are_not_finite_or_no_number_are_refused() -> None:
    for elu in (activations.elu, activations.elu_vjp):
        with pytest.raises(DomainError, match="elu: alpha is nan, expected a finite number"):
            elu(np.ones(2), alpha=np.nan)
        with pytest.raises(DtypeError, match="elu: alpha is True, expected a number"):
            elu(np.ones(2), alpha=True)


@pytest.mark.parametrize(("x", "alpha"), [(-1e-300, 1e25), (-7.92e-314, 123.456), (-1e-3, 1e300)])
def test_celu_is_the_identity_where_its_quotient_has_no_digits(x: float, alpha: float) -> None:
    assert activations.celu(np.array(x), alpha=alpha) == x


def test_what_overflows_is_infinite_and_what_does_not_is_not() -> None:
    assert activations.selu(np.array(1.75e308)) == np.inf
    assert activations.selu_vjp(np.array(1.0))[1](np.array(1.75e308))[0] == np.inf
    _, pullback = activations.elu_vjp(np.array([-1.0, -700]), alpha=1e300)
    expected = [np.inf, 1e300 * np.exp(-700) * 1e20]
    np.testing.assert_allclose(pullback(np.array([1e200, 1e20]))[0], expected)


@pytest.mark.parametrize("alpha", [1e20, 1e154, 1e200, 1.7e308, -1e153, -1e154, -1e200])
def test_the_soft_exponential_of_an_alpha_far_out(alpha: float) -> None:
    rng = np.random.default_rng(0)
    if alpha > 0:
        x = np.append(rng.uniform(-700, 690, 20), [800, 1400]) / alpha
    else:
        x = -alpha * (1 + 10 ** rng.uniform(-15, -2, 20))
    with flint.ctx.workprec(3000):
        for z in x.tolist():
            y, pullback = activations.soft_exponential_vjp(np.array(z), np.array(alpha))
            for ours, right in zip(
                (y, *pullback(np.ones(()))), _soft_exponential(arb(z), arb(alpha)), strict=True
            ):
                truth = float(right)
                if np.isfinite(truth):
                    np.testing.assert_allclose(ours, truth, rtol=2e-15, atol=1e-307)
                else:
                    assert ours == truth


def test_the_soft_exponential_beyond_all_bounds() -> None:
    for alpha in (1e-300, 1.0, 1e200, 1e300):
        y, pullback = activations.soft_exponential_vjp(np.full(2, np.inf), np.array(alpha))
        assert y.tolist() == [np.inf, np.inf]
        dx, dalpha = pullback(np.array([1.0, 0.0]))
        assert (dx.tolist(), dalpha) == ([np.inf, 0], np.inf)
