from importlib import import_module

import flint
import jax
import numpy as np
import pytest
from flint import arb

from purenn.ops import activations


@pytest.mark.parametrize("approximate", [False, True])
def test_limits_at_infinity(approximate: bool) -> None:
    y, pullback = activations.gelu_vjp(np.array([-np.inf, np.inf]), approximate=approximate)
    np.testing.assert_array_equal(y, [0, np.inf])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0, 1])


@pytest.mark.parametrize("approximate", [False, True])
def test_as_jax(approximate: bool) -> None:
    x = np.random.default_rng(0).normal(0, 2, 100)
    y, pullback = activations.gelu_vjp(x, approximate=approximate)
    expected, jax_pullback = jax.vjp(lambda x: jax.nn.gelu(x, approximate), x)
    np.testing.assert_allclose(y, expected, rtol=1e-9)
    np.testing.assert_allclose(pullback(x)[0], jax_pullback(x)[0], rtol=1e-8)


def test_constants_are_what_they_are_said_to_be() -> None:
    gelu = import_module("purenn.ops.activations.gelu")  # a function of that name hides it
    with flint.ctx.workprec(300):
        tiny, rounding = arb(2) ** -100, arb(2) ** -74
        pi = arb.pi()
        a = 2 * (2 / pi).sqrt()
        b = a * 44715 / 1000000

        def parts(pair: tuple[float, float]) -> arb:
            return arb(pair[0]) + arb(pair[1])

        assert abs(parts(gelu._A) - a) < rounding
        assert abs(parts(gelu._B) - b) < rounding
        r = parts(gelu._GELU_TANH_ROOT)
        v = a * r + b * r**3
        assert abs(1 + a * r + 3 * b * r**3 + v.exp()) < tiny
        assert abs(arb(gelu._GELU_TANH_EXP_ROOT) - v.exp()) < arb(2) ** -54
        r = parts(gelu._GELU_ROOT)
        mills = (pi / 2).sqrt() * (r * r / 2).exp() * (-r / arb(2).sqrt()).erfc()
        assert abs(mills + r) < tiny
