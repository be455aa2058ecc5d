from typing import Any

import flint
import numpy as np
import optax
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, ShapeError
from purenn.ops import losses
from purenn.typing import Array

LOGARITHMS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-20, 3))
TARGETS = hnp.arrays(np.float64, (3, 4), elements=st.floats(0, 3, allow_subnormal=False))
BY_TARGETS = ["kl_divergence", "generalized_kl_divergence", "convex_kl_divergence"]


@given(log_p=LOGARITHMS, t=TARGETS, axis=st.sampled_from([-1, 0, (1, 0), None]))
def test_values_are_those_of_optax(log_p: Array, t: Array, axis: Any) -> None:
    for name in (*BY_TARGETS, "kl_divergence_with_log_targets"):
        second = np.log(t + 1e-3) if name == "kl_divergence_with_log_targets" else t
        theirs = name.replace("convex", "generalized")
        y, _ = getattr(losses, f"{name}_vjp")(log_p, second, axis=axis)
        np.testing.assert_array_equal(getattr(losses, name)(log_p, second, axis=axis), y)
        expected = getattr(optax.losses, theirs)(log_p, second, axis=axis)
        np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-11)


@given(log_p=LOGARITHMS, t=TARGETS)
def test_targets_and_their_logarithms_are_one_matter(log_p: Array, t: Array) -> None:
    t = t + 1e-3
    y, pullback = losses.kl_divergence_vjp(log_p, t)
    y_log, pullback_log = losses.kl_divergence_with_log_targets_vjp(log_p, np.log(t))
    np.testing.assert_allclose(y_log, y, rtol=1e-12, atol=1e-12)
    (dlog_p, dt), (dlog_p_log, dlog_t) = pullback(y), pullback_log(y)
    np.testing.assert_allclose(dlog_p_log, dlog_p, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dlog_t, t * dt, rtol=1e-9, atol=1e-12)


def test_the_divergence_of_distributions_is_that_of_the_text() -> None:
    """Kullback and Leibler's D(t‖p) for t = (1/2, 1/2) and p = (1/4, 3/4) is ½·log(4/3)."""
    log_p, t = np.log([0.25, 0.75]), np.array([0.5, 0.5])
    for name in BY_TARGETS:
        np.testing.assert_allclose(getattr(losses, name)(log_p, t), np.log(4 / 3) / 2, rtol=1e-14)


@pytest.mark.parametrize("name", BY_TARGETS)
def test_a_target_of_0_adds_nothing(name: str) -> None:
    constant = 0 if name == "kl_divergence" else 1
    log_p = np.array([[-1.0, -2.0], [-1.0, -np.inf]])
    t = np.array([[0.5, 0.0], [0.5, 0.0]])
    y, pullback = getattr(losses, f"{name}_vjp")(log_p, t)
    without = getattr(losses, name)(log_p[:, :1], t[:, :1])
    np.testing.assert_allclose(y, without + constant * np.exp(log_p[:, 1]))
    dlog_p, dt = pullback(np.ones(2))
    np.testing.assert_allclose(dlog_p[:, 1], constant * np.exp(log_p[:, 1]))
    np.testing.assert_array_equal(dt[:, 1], [2 - constant, np.inf])
    assert np.all(pullback(np.zeros(2))[1] == 0)


def test_a_log_target_of_minus_infinity_adds_nothing() -> None:
    log_t = np.array([0.0, -np.inf, -np.inf])
    log_p = np.array([-1.0, -2.0, -np.inf])
    y, pullback = losses.kl_divergence_with_log_targets_vjp(log_p, log_t)
    assert y == 1
    dlog_p, dlog_t = pullback(np.ones(()))
    np.testing.assert_array_equal(dlog_p, [-1, 0, 0])
    np.testing.assert_array_equal(dlog_t, [2, 0, 0])


@given(log_p=LOGARITHMS, t=TARGETS)
def test_the_generalized_divergence_is_never_negative(log_p: Array, t: Array) -> None:
    assert np.all(losses.generalized_kl_divergence(log_p, t) >= 0)
    assert np.all(losses.generalized_kl_divergence(log_p, np.exp(log_p)) < 1e-25)


@pytest.mark.parametrize("apart", [0.0, 1e-9, -1e-4, 0.3, -0.9999, 1.0001, 5.0, -700.0])
def test_a_good_prediction_keeps_the_digits_of_the_generalized_divergence(apart: float) -> None:
    """With t = 1 nothing is lost on the way to u = −log p, and the loss is e⁻ᵘ − 1 + u."""
    with flint.ctx.workprec(2000):
        exact = float((arb(apart).exp() - 1 - arb(apart)).mid())
    y = losses.generalized_kl_divergence(np.array([apart]), np.ones(1))
    np.testing.assert_allclose(y, exact, rtol=2e-15)


def test_what_is_finite_is_found_where_its_factors_are_not() -> None:
    x, dy = np.array([800.0, -740.0]), np.array(1e-300)
    with flint.ctx.workprec(300):
        exact = [float((arb(1e-300) * arb(one).exp()).mid()) for one in x.tolist()]
    _, pullback = losses.kl_divergence_with_log_targets_vjp(x - 1, x)
    dlog_p, dlog_t = pullback(dy)
    np.testing.assert_allclose(dlog_p, -np.array(exact), rtol=1e-15)
    np.testing.assert_allclose(dlog_t, 2 * np.array(exact), rtol=1e-15)
    _, pullback = losses.generalized_kl_divergence_vjp(x[:1], np.zeros(1))
    np.testing.assert_allclose(pullback(dy)[0], exact[:1], rtol=1e-15)


def test_sums_that_leave_the_range() -> None:
    huge = np.array([1e300])
    np.testing.assert_array_equal(losses.generalized_kl_divergence(huge, huge), np.inf)
    np.testing.assert_array_equal(losses.kl_divergence(np.array([-1e10]), huge), np.inf)
    with flint.ctx.workprec(300):
        for log_p, target in ((710.0, 0.8e308), (750.0, 1e308), (-5.0, 2.0), (3.0, 0.1)):
            p, t = arb(log_p).exp(), arb(target)
            exact = float((t * (t.log() - log_p) + p - t).mid())
            y = losses.generalized_kl_divergence(np.array([log_p]), np.array([target]))
            np.testing.assert_allclose(y, exact, rtol=1e-15)
        assert np.isfinite(losses.generalized_kl_divergence(np.array([710.0]), np.array([1e308])))
        small = float((arb(1e300) * arb(-740).exp()).mid())
    _, pullback = losses.generalized_kl_divergence_vjp(np.array([-740.0]), np.zeros(1))
    np.testing.assert_allclose(pullback(np.array(1e300))[0], [small], rtol=1e-15)


@pytest.mark.parametrize("name", [*BY_TARGETS, "kl_divergence_with_log_targets"])
def test_empty_batches_and_what_does_not_fit(name: str) -> None:
    loss, loss_vjp = getattr(losses, name), getattr(losses, f"{name}_vjp")
    y, pullback = loss_vjp(np.ones((0, 3)), np.ones((0, 3)))
    assert y.shape == (0,)
    assert [dx.shape for dx in pullback(y)] == [(0, 3)] * 2
    with pytest.raises(
        ShapeError, match=rf"{name}: axis is 2, but log_predictions has shape \(2, 3\)"
    ):
        loss(np.ones((2, 3)), np.ones((2, 3)), axis=2)
    if name in BY_TARGETS:
        with pytest.raises(DomainError, match=rf"{name}: targets\[0, 1\] is -1.0, expected ≥ 0"):
            loss(np.ones((1, 2)), np.array([[0.0, -1.0]]))
