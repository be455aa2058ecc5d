from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError
from purenn.ops import losses
from purenn.typing import Array

LOGITS = hnp.arrays(np.float64, 6, elements=st.floats(-30, 30))
OPTIONS: list[dict[str, Any]] = [{}, {"gamma": 0.0, "alpha": 0.3}, {"gamma": 3.5, "alpha": 1.0}]


@pytest.mark.parametrize("static", OPTIONS, ids=str)
@given(logits=LOGITS, labels=hnp.arrays(np.float64, 6, elements=st.floats(0, 1)))
def test_values_are_those_of_optax(static: dict[str, Any], logits: Array, labels: Array) -> None:
    y = losses.sigmoid_focal_loss(logits, labels, **static)
    expected = optax.losses.sigmoid_focal_loss(logits, labels, **static)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-13)


@given(logits=LOGITS, labels=hnp.arrays(np.float64, 6, elements=st.floats(0, 1)))
def test_without_gamma_it_is_the_cross_entropy(logits: Array, labels: Array) -> None:
    y, pullback = losses.sigmoid_focal_loss_vjp(logits, labels, gamma=0.0)
    expected, cross_entropy = losses.sigmoid_binary_cross_entropy_vjp(logits, labels)
    np.testing.assert_array_equal(y, expected)
    dy = np.cos(np.arange(6.0))
    for ours, theirs in zip(pullback(dy), cross_entropy(dy), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hard_labels_keep_their_digits_in_saturation(dtype: type, gamma: float) -> None:
    """Value and derivative within 8 ULP, on the right side and on the wrong one."""
    x = np.array([-300, -80, -20, -3, -1e-30, 0, 1e-9, 2, 30, 200, 1e30]) / (1 + gamma)
    x = x.astype(dtype)
    for label, sign in ((0, 1), (1, -1)):
        labels = np.full_like(x, label)
        y, pullback = losses.sigmoid_focal_loss_vjp(sign * x, labels, gamma=gamma)
        (dlogits, dlabels) = pullback(np.ones_like(x))
        values, slopes = [], []
        with flint.ctx.workprec(2000):
            for one in map(arb, x.astype(np.float64).tolist()):
                m = 1 / (1 + (-one).exp())
                c = (-one).exp().log1p() + one if one < 1e4 else one
                values.append(c * m ** arb(gamma))
                slopes.append(m ** arb(gamma) * (arb(gamma) * c * (1 - m) + m))
        for ours, exact in ((y, values), (sign * dlogits, slopes)):
            expected = np.array([float(one.mid()) for one in exact])
            unit = np.spacing(np.maximum(np.abs(expected), np.finfo(dtype).tiny).astype(dtype))
            assert np.max(np.abs(ours - expected) / unit) <= 8
        assert np.all(np.isfinite(dlabels))


@pytest.mark.parametrize(
    ("logit", "gamma", "dtype"),
    [(900.0, 0.01, "float32"), (744.0, 0.1, "float64"), (20.0, 20.0, "float64")],
)
def test_the_focus_is_there_where_what_is_missing_underflows(
    logit: float, gamma: float, dtype: str
) -> None:
    x, one = np.array([logit], dtype), np.ones(1, dtype)
    (_, dlabels) = losses.sigmoid_focal_loss_vjp(x, one, gamma=gamma)[1](one)
    with flint.ctx.workprec(3000):
        c = (-arb(logit)).exp().log1p()
        m = 1 / (1 + arb(logit).exp())
        exact = -(m ** arb(gamma)) * (arb(logit) + arb(gamma) * c / m * (arb(logit) / 2).tanh())
    np.testing.assert_allclose(dlabels, [float(exact.mid())], rtol=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_infinite_logits_have_the_limits(gamma: float) -> None:
    logits, labels = np.array([np.inf, -np.inf] * 2), np.array([1.0, 0.0, 0.0, 1.0])
    y, pullback = losses.sigmoid_focal_loss_vjp(logits, labels, gamma=gamma)
    np.testing.assert_array_equal(y, [0, 0, np.inf, np.inf])
    dlogits, dlabels = pullback(np.full(4, 1e300))
    np.testing.assert_array_equal(dlogits, [0, 0, 1e300, -1e300])
    right = np.inf if gamma == 0 else 0
    np.testing.assert_array_equal(dlabels, [-right, right, -np.inf, np.inf])


def test_what_is_right_counts_less_the_larger_gamma() -> None:
    logits, labels = np.array([2.0, -2.0]), np.array([1.0, 1.0])
    y = [losses.sigmoid_focal_loss(logits, labels, gamma=gamma) for gamma in (0.0, 2.0)]
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(y[1] / y[0], (1 - p) ** 2)


def test_gradients_of_soft_labels_are_those_of_jax_on_the_definition() -> None:
    rng = np.random.default_rng(0)
    logits, labels, dy = rng.normal(size=20) * 4, rng.random(20), rng.normal(size=20)

    def definition(x: Any, q: Any) -> Any:
        m = (1 - q) * jax.nn.sigmoid(x) + q * jax.nn.sigmoid(-x)
        c = q * jax.nn.softplus(-x) + (1 - q) * jax.nn.softplus(x)
        return (0.3 * q + 0.7 * (1 - q)) * m**2.5 * c

    _, theirs = jax.vjp(definition, logits, labels)
    _, pullback = losses.sigmoid_focal_loss_vjp(logits, labels, alpha=0.3, gamma=2.5)
    for ours, rival in zip(pullback(dy), theirs(jnp.asarray(dy)), strict=True):
        np.testing.assert_allclose(ours, rival, rtol=1e-11, atol=1e-14)


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, q = np.zeros(2), np.zeros(2)
    with pytest.raises(
        DomainError, match=r"sigmoid_focal_loss: alpha is 1.5, expected a finite number ≥ 0"
    ):
        losses.sigmoid_focal_loss(x, q, alpha=1.5)
    with pytest.raises(
        DomainError, match=r"sigmoid_focal_loss: gamma is -1.0, expected a finite number ≥ 0"
    ):
        losses.sigmoid_focal_loss_vjp(x, q, gamma=-1.0)
    with pytest.raises(DomainError, match=r"labels\[1\] is 1.5, expected ≥ 0 and ≤ 1"):
        losses.sigmoid_focal_loss(x, q + np.array([0, 1.5]))
