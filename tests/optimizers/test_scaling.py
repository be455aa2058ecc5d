"""Constant and scheduled factors."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import schedules
from purenn.errors import DomainError, DtypeError
from purenn.optimizers import (
    adam,
    add_decayed_weights,
    inject_hyperparams,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    sgd,
)
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.problems import bits

SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(step_size=st.floats(-10, 10), seed=SEEDS)
def test_scale_is_that_of_optax(step_size: float, seed: int, dtype: Any) -> None:
    assert_agrees(scale, optax.scale, {"step_size": step_size}, seed, dtype)


def ours_dropping(rate: float, drop: float) -> Any:
    return scale_by_schedule(schedules.exponential_decay(rate, 3, drop, staircase=True))


def theirs_dropping(rate: Any, drop: Any) -> Any:
    return optax.scale_by_schedule(lambda count: rate * drop ** (count // 3))


@given(rate=st.floats(1e-3, 10), drop=st.floats(0.1, 1), seed=SEEDS)
def test_a_schedule_is_asked_for_the_number_of_steps_before(
    rate: float, drop: float, seed: int
) -> None:
    assert_agrees(ours_dropping, theirs_dropping, {"rate": rate, "drop": drop}, seed)


@pytest.mark.parametrize("flip_sign", [True, False])
def test_a_rate_turns_gradients_around(flip_sign: bool) -> None:
    static = {"flip_sign": flip_sign}
    for ours, theirs in (
        (scale_by_learning_rate, optax.scale_by_learning_rate),
        (
            lambda learning_rate, **static: scale_by_learning_rate(
                lambda count: learning_rate / (1 + count), **static
            ),
            lambda learning_rate, **static: optax.scale_by_learning_rate(
                lambda count: learning_rate / (1 + count), **static
            ),
        ),
    ):
        assert_agrees(ours, theirs, {"learning_rate": 0.3}, 5, static=static)


def test_no_rate_leaves_updates_as_they_are() -> None:
    grads = {"w": np.array([1.0, -2.0])}
    optimizer = scale_by_learning_rate()
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_array_equal(updates["w"], grads["w"])


def test_a_numpy_rate_does_not_widen_float32() -> None:
    grads = {"w": np.ones(3, np.float32), "0-d": np.ones((), np.float32)}
    for optimizer in (sgd(np.float64(0.1)), adam(np.float64(0.1), np.float64(0.9))):
        updates, _ = optimizer.update(grads, optimizer.init(grads))
        assert {leaf.dtype for leaf in updates.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("value", ["0.1", None, True, np.ones(2)])
def test_what_is_no_number_is_refused(value: Any, unannotated: None) -> None:
    with pytest.raises(DtypeError, match=r"scale: step_size is .*, expected a number"):
        scale(value)
    with pytest.raises(DtypeError, match=r"step_size_fn is .*, expected a function"):
        scale_by_schedule(value)
    if value is not None:
        with pytest.raises(DtypeError, match=r"learning_rate is .*, expected a number"):
            adam(value)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_rate_may_be_an_array_without_dimensions(dtype: Any) -> None:
    rate: Any = np.array(2, dtype)
    grads = {"w": np.ones(2, np.float32)}
    for make in (sgd, lambda rate: sgd(lambda count: rate), adam, add_decayed_weights):
        optimizer, expected = make(rate), make(2.0)
        got, _ = optimizer.update(grads, optimizer.init(grads), grads)
        assert bits(got) == bits(expected.update(grads, expected.init(grads), grads)[0])
    got, _ = scale_by_schedule(lambda count: rate).update(grads, scale_by_schedule(abs).init(grads))
    np.testing.assert_array_equal(got["w"], 2)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("make", [adam, add_decayed_weights, inject_hyperparams(sgd)])
def test_a_rate_that_follows_a_score_is_none(make: Any) -> None:
    with pytest.raises(DtypeError, match=r"is a ValidationSchedule, .* training\.with_hyperp"):
        make(schedules.reduce_on_plateau(0.1))
    with pytest.raises(DtypeError, match=r"is '0\.1', expected a number or a schedule"):
        make("0.1")


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_rate_outside_its_domain_is_refused(rate: float) -> None:
    with pytest.raises(DomainError, match=f"learning_rate is {rate}, expected"):
        sgd(rate)
    scheduled = sgd(lambda count: 0.1 if count < 1 else rate)
    grads = {"w": np.ones(2)}
    updates, state = scheduled.update(grads, scheduled.init(grads))
    assert updates["w"][0] == -0.1
    with pytest.raises(DomainError, match=rf"learning_rate\(1\) is {rate}, expected"):
        scheduled.update(grads, state)
