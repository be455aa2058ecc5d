import inspect
import re
from typing import Any

import flint
import numpy as np
import optax
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import losses
from purenn.ops.losses import regression
from purenn.typing import Array

NAMES = ["squared_error", "l2_loss", "absolute_error", "huber_loss", "log_cosh"]
NUMBERS = hnp.arrays(np.float64, (3, 4), elements=st.floats(-30, 30))


@given(predictions=NUMBERS, targets=NUMBERS, delta=st.sampled_from([0.1, 1.0, 2.5, 100.0]))
def test_values_are_those_of_optax(predictions: Array, targets: Array, delta: float) -> None:
    options: dict[str, dict[str, Any]] = {"huber_loss": {"delta": delta}}
    for name in ("squared_error", "l2_loss", "huber_loss", "log_cosh"):
        static = options.get(name, {})
        y = getattr(losses, name)(predictions, targets, **static)
        expected = getattr(optax.losses, name)(predictions, targets, **static)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_and_targets_are_opposite(name: str) -> None:
    rng = np.random.default_rng(0)
    predictions, targets, dy = rng.normal(size=(3, 20))
    y, pullback = getattr(losses, f"{name}_vjp")(predictions, targets)
    swapped, swapped_pullback = getattr(losses, f"{name}_vjp")(targets, predictions)
    np.testing.assert_array_equal(y, swapped)
    dpredictions, dtargets = pullback(dy)
    np.testing.assert_array_equal(dpredictions, -dtargets)
    np.testing.assert_array_equal(swapped_pullback(dy)[0], dtargets)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_right_costs_nothing_and_has_no_gradient(name: str, dtype: type) -> None:
    x: Array = np.array([0.0, 1e-30, -3.0, 1e30], dtype)
    y, pullback = getattr(losses, f"{name}_vjp")(x, x)
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pullback(np.ones(4, dtype))[0], 0)


def test_huber_is_half_a_square_up_to_delta_and_straight_beyond() -> None:
    errors = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    y, pullback = losses.huber_loss_vjp(errors, np.zeros(7))
    np.testing.assert_array_equal(y, [2.5, 0.5, 0.125, 0, 0.125, 0.5, 2.5])
    np.testing.assert_array_equal(pullback(np.ones(7))[0], [-1, -1, -0.5, 0, 0.5, 1, 1])


def test_squares_overflow_only_where_the_loss_does() -> None:
    huge, zero = np.array([1e200]), np.zeros(1)
    np.testing.assert_array_equal(losses.huber_loss(huge, zero), [1e200])
    np.testing.assert_array_equal(losses.huber_loss(huge, zero, delta=1e200), [np.inf])
    for name in ("squared_error", "l2_loss"):
        y, pullback = getattr(losses, f"{name}_vjp")(huge, zero)
        np.testing.assert_array_equal(y, [np.inf])
        assert np.isfinite(pullback(np.ones(1))[0]).all()
    # 1.5e154² overflows, half of it does not.
    np.testing.assert_allclose(losses.l2_loss(np.array([1.5e154]), zero), [1.125e308], rtol=1e-15)


def test_log_cosh_keeps_its_digits_near_0_and_does_not_overflow_far_out() -> None:
    x = np.array([1e-150, 1e-10, 1e-4, 1e3, 1e300])
    y, pullback = losses.log_cosh_vjp(x, np.zeros(5))
    expected = [5e-301, 5e-21, 5e-9 * (1 - 1e-8 / 6), 1e3 - np.log(2), 1e300]
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    expected = [1e-150, 1e-10, 1e-4 * (1 - 1e-8 / 3), 1, 1]
    np.testing.assert_allclose(pullback(np.ones(5))[0], expected, rtol=1e-15)


def test_where_the_forms_of_log_cosh_meet_they_agree() -> None:
    with flint.ctx.workprec(100):
        for x in (np.nextafter(2, 0), 2.0, np.nextafter(2, 3)):
            truth = float(arb(float(x)).cosh().log().mid())
            np.testing.assert_allclose(losses.log_cosh(np.array(x), np.array(0.0)), truth, 4e-16)


def test_the_constant_of_log_cosh_is_log_2() -> None:
    (constant,) = re.findall(r"0\.\d{8,}", inspect.getsource(regression))
    assert float(constant) == np.log(2)


@pytest.mark.parametrize("name", NAMES)
def test_infinities_are_numbers_and_what_has_no_limit_is_nan(name: str) -> None:
    predictions, targets = np.array([np.inf, np.inf, 1e308]), np.array([0.0, np.inf, -1e308])
    y, pullback = getattr(losses, f"{name}_vjp")(predictions, targets)
    assert y[0] == y[2] or name in ("huber_loss", "absolute_error", "log_cosh")
    np.testing.assert_array_equal(np.isnan(y), [False, True, False])
    for cotangent in pullback(np.full(3, 1e300)):
        np.testing.assert_array_equal(np.isnan(cotangent), [False, True, False])


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan, np.inf])
def test_a_delta_that_is_none_is_refused(delta: float) -> None:
    x = np.ones(2)
    for f in (losses.huber_loss, losses.huber_loss_vjp):
        with pytest.raises(
            DomainError, match=rf"huber_loss: delta is {delta}, expected a finite number > 0"
        ):
            f(x, x, delta=delta)


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    f = getattr(losses, name)
    with pytest.raises(ShapeError, match=rf"{name}: targets has shape \(3, 1\).*shape = \(3,\)"):
        f(np.ones(3), np.ones((3, 1)))
    with pytest.raises(DtypeError, match=rf"{name}: targets has dtype float64 and predictions fl"):
        f(np.ones(3, np.float32), np.ones(3))
