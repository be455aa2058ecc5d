"""Quantiles of the normal distribution, against arbitrary precision."""

import hypothesis.strategies as st
import numpy as np
import pytest
from flint import arb
from hypothesis import given

from purenn import _quantile
from purenn._quantile import normal_quantile

UNIFORM = st.one_of(
    st.floats(-1, 1, exclude_min=True, exclude_max=True),
    st.floats(-16, 0).map(lambda e: 1 - 10**e).filter(lambda u: abs(u) < 1),
    st.sampled_from([0.85, -0.85, np.nextafter(0.85, 1), 1 - 2.0**-53, 1 - 2 * np.exp(-25.0)]),
)


def off(z: float, u: float, ulp: float) -> float:
    return abs(float((arb(z) - arb(u).erfinv() * arb(2).sqrt()) / arb(ulp)))


@given(u=UNIFORM)
def test_float64(u: float) -> None:
    z = float(normal_quantile(np.array(u)))
    assert off(z, u, np.spacing(abs(z))) < 6


@given(u=st.floats(-1, 1, width=32, exclude_min=True, exclude_max=True))
def test_float32_is_rounded_once(u: float) -> None:
    z = normal_quantile(np.array(u, np.float32))
    assert z.dtype == np.float32
    assert off(float(z), u, float(np.spacing(np.abs(z)))) < 0.501


@given(u=UNIFORM)
def test_it_is_odd(u: float) -> None:
    lower, upper = normal_quantile(np.array([-u, u]))
    assert lower == -upper


def test_the_ends_and_what_is_no_number() -> None:
    z = normal_quantile(np.array([-1, 1, np.nan, 0.0]))
    np.testing.assert_array_equal(z, [-np.inf, np.inf, np.nan, 0])


def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    u = np.random.default_rng(0).uniform(-1, 1, (30, 7))
    whole = normal_quantile(u.T)
    monkeypatch.setattr(_quantile, "_BLOCK", 11)
    np.testing.assert_array_equal(normal_quantile(u.T), whole, strict=True)
    assert normal_quantile(np.zeros((0, 3))).shape == (0, 3)
