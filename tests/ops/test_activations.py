from functools import partial
from typing import Any

import flint
import jax
import ml_dtypes
import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference.ops.activations
from purenn import verify
from purenn.ops import activations
from purenn.typing import Array
from purenn.verify import Rule
from tests.ops import sweeps

RULES = verify.discover(activations, against=reference.ops.activations)
VARIANTS = [
    pytest.param(rule, static, id=" ".join([rule.name, *map(str, dict(static).values())]))
    for rule in RULES
    for static in (
        [(("approximate", False),), (("approximate", True),)] if rule.name == "gelu" else [()]
    )
]
ELEMENTWISE = [variant for variant in VARIANTS if "softmax" not in str(variant.id)]
Static = tuple[tuple[str, Any], ...]
DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_against_the_truth_and_jax(rule: Rule, device: jax.Device) -> None:
    verify.check(rule, devices=[device])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "static"), ELEMENTWISE)
def test_within_8_ulp_and_no_worse_than_jax(
    rule: Rule, static: Static, dtype: str, device: jax.Device
) -> None:
    ours, theirs = sweeps.measure(rule, dtype, device, static)
    for error, rival in zip(ours, theirs, strict=True):
        assert error <= 8
        assert error <= max(rival, 2)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_autodiff_loses_in_saturation_what_the_rule_keeps(name: str, device: jax.Device) -> None:
    (rule,) = (rule for rule in RULES if rule.name == name)
    ours, theirs = sweeps.measure(rule, "float32", device)
    assert ours.derivative <= 1
    assert theirs.derivative > 1e6


@pytest.mark.parametrize(("rule", "static"), ELEMENTWISE)
def test_at_a_kink_the_derivative_is_that_of_jax(rule: Rule, static: Static) -> None:
    zero = np.zeros(1)
    reference = rule.reference
    assert reference is not None
    _, pullback = rule.f_vjp(zero, **dict(static))
    expected = jax.grad(lambda x: reference(x, **dict(static)).sum())(zero)
    np.testing.assert_allclose(pullback(np.ones(1))[0], expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(("rule", "static"), VARIANTS)
def test_half_precision_computes_in_float32(rule: Rule, static: Static, dtype: type) -> None:
    x: Array = np.linspace(-9, 9, 60).reshape(10, 6).astype(dtype)
    dy: Array = np.cos(np.arange(60.0)).reshape(10, 6).astype(dtype)
    y, pullback = rule.f_vjp(x, **dict(static))
    y32, pullback32 = rule.f_vjp(x.astype(np.float32), **dict(static))
    (dx,), (dx32,) = pullback(dy), pullback32(dy.astype(np.float32))
    assert y.dtype == dx.dtype == dtype
    for half, single in ((y, y32), (dx, dx32)):
        spacing = 2.0**-10 if dtype is np.float16 else 2.0**-7
        np.testing.assert_allclose(half.astype(np.float32), single, rtol=spacing, atol=1e-6)


@pytest.mark.parametrize(("rule", "static"), VARIANTS)
def test_infinities_and_nan_as_in_jax_where_jax_is_finite(rule: Rule, static: Static) -> None:
    assert rule.f is not None
    assert rule.reference is not None
    x = np.array([[np.inf, 0.5, -1.0], [-np.inf, 0.5, -1.0], [np.nan, 0.5, -1.0]])
    with np.errstate(invalid="ignore"):
        y = rule.f(x, **dict(static))
    expected = np.asarray(rule.reference(x, **dict(static)))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(y[finite], expected[finite], rtol=1e-14)


@pytest.mark.parametrize("name", ["relu", "softplus", "silu", "gelu", "sigmoid", "tanh"])
def test_limits_at_infinity(name: str) -> None:
    y, pullback = getattr(activations, f"{name}_vjp")(np.array([-np.inf, np.inf]))
    bounded = name in ("sigmoid", "tanh")
    np.testing.assert_array_equal(y, [-1 if name == "tanh" else 0, 1 if bounded else np.inf])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0, 0 if bounded else 1])


@given(
    x=hnp.arrays(np.float64, (4, 3), elements=st.floats(-50, 50)),
    axis=st.sampled_from([0, 1, -1, -2]),
)
def test_softmax_and_its_logarithm_along_any_axis(x: Array, axis: int) -> None:
    for name in ("softmax", "log_softmax"):
        y, pullback = getattr(activations, f"{name}_vjp")(x, axis=axis)
        np.testing.assert_array_equal(getattr(activations, name)(x, axis=axis), y)
        expected = getattr(jax.nn, name)(x, axis=axis)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
        dy = np.cos(np.arange(12.0)).reshape(4, 3)
        _, jax_pullback = jax.vjp(partial(getattr(jax.nn, name), axis=axis), x)
        np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0], rtol=1e-9, atol=1e-12)


@given(
    slope=st.floats(-2, 2, width=32, allow_subnormal=False),
    x=hnp.arrays(np.float64, 5, elements=st.floats(-9, 9, width=32, allow_subnormal=False)),
)
def test_leaky_relu_with_any_slope(slope: float, x: Array) -> None:
    y, pullback = activations.leaky_relu_vjp(x, negative_slope=slope)
    np.testing.assert_array_equal(y, jax.nn.leaky_relu(x, slope))
    np.testing.assert_array_equal(pullback(x)[0], np.where(x >= 0, x, slope * x))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_distribution_over_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(3, 0\), expected an entry along axis -1"):
        getattr(activations, name)(np.ones((3, 0)))


def test_constants_are_what_they_are_said_to_be() -> None:
    with flint.ctx.workprec(300):
        tiny, rounding = arb(2) ** -100, arb(2) ** -74
        pi = arb.pi()
        a = 2 * (2 / pi).sqrt()
        b = a * 44715 / 1000000

        def parts(pair: tuple[float, float]) -> arb:
            return arb(pair[0]) + arb(pair[1])

        assert abs(parts(activations._A) - a) < rounding
        assert abs(parts(activations._B) - b) < rounding
        r = parts(activations._SILU_ROOT)
        assert abs(1 + r + r.exp()) < tiny
        assert abs(arb(activations._SILU_EXP_ROOT) - r.exp()) < arb(2) ** -54
        r = parts(activations._GELU_TANH_ROOT)
        v = a * r + b * r**3
        assert abs(1 + a * r + 3 * b * r**3 + v.exp()) < tiny
        assert abs(arb(activations._GELU_TANH_EXP_ROOT) - v.exp()) < arb(2) ** -54
        r = parts(activations._GELU_ROOT)
        mills = (pi / 2).sqrt() * (r * r / 2).exp() * (-r / arb(2).sqrt()).erfc()
        assert abs(mills + r) < tiny
