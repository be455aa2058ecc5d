"""What stands around a step."""

import os
import re
import signal
import threading
from typing import Any

import numpy as np
import pytest

from purenn import random, tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.layers import dense, relu, serial
from purenn.ops.losses import squared_error
from purenn.optimizers import (
    adam,
    apply_if_finite,
    chain,
    clip,
    identity,
    inject_hyperparams,
    masked,
    multi_steps,
    partition,
    scale,
    sgd,
)
from purenn.training import (
    fit,
    init_state,
    interruptible,
    objective,
    stop_at_nonfinite,
    train_step,
    with_hyperparams,
)

MODEL = serial(hidden=dense(3), act=relu, out=dense(2))
OBJECTIVE = objective(MODEL, squared_error)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=(5, 2)).astype(np.float32)


def test_another_learning_rate_is_as_if_it_had_been_there() -> None:
    optimizer = inject_hyperparams(sgd)(learning_rate=0.1)
    step = train_step(OBJECTIVE, optimizer)
    start = init_state(MODEL, optimizer, random.key(0), (4,))
    changed, _ = step(with_hyperparams(start, learning_rate=0.01), (X, Y))
    plain = sgd(0.01)
    expected = init_state(MODEL, plain, random.key(0), (4,))
    expected, _ = train_step(OBJECTIVE, plain)(expected, (X, Y))
    tree.map(np.testing.assert_array_equal, changed.params, expected.params)
    assert start.opt_state.hyperparams["learning_rate"] == np.float32(0.1)


def test_a_hyperparameter_that_is_not_there_is_refused() -> None:
    start = init_state(MODEL, inject_hyperparams(sgd)(0.1), random.key(0), (4,))
    with pytest.raises(TreeError, match=re.escape("got 'rate', expected some of ['learning_rat")):
        with_hyperparams(start, rate=0.1)
    with pytest.raises(TreeError, match="inject_hyperparams puts them"):
        with_hyperparams(init_state(MODEL, adam(0.1), random.key(0), (4,)), learning_rate=0.1)


INJECTED = inject_hyperparams(sgd)
WRAPPED: dict[str, Any] = {
    "chain": lambda optimizer: chain(clip(9.0), optimizer),
    "multi_steps": lambda optimizer: multi_steps(optimizer, 1),
    "apply_if_finite": lambda optimizer: chain(identity(), apply_if_finite(optimizer, 3)),
    "partition": lambda optimizer: partition({1: optimizer, "x": adam(0.1)}, lambda path: 1),
    "masked": lambda optimizer: masked(optimizer, True),
    "injected": lambda optimizer: inject_hyperparams(lambda k: multi_steps(optimizer, k))(1),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_hyperparameter_is_found_in_any_part(name: str) -> None:
    wrap, batch = WRAPPED[name], (X, Y)
    start, expected = (
        init_state(MODEL, wrap(INJECTED(rate)), random.key(0), (4,)) for rate in (0.1, 0.01)
    )
    before = tree.map(np.copy, start.opt_state)
    step = train_step(OBJECTIVE, wrap(INJECTED(0.1)))
    changed = with_hyperparams(start, learning_rate=0.01)
    tree.map(np.testing.assert_array_equal, changed, expected)
    got, after = step(changed, batch)[0], step(expected, batch)[0]
    tree.map(np.testing.assert_array_equal, got, after)
    assert not np.array_equal(
        step(start, batch)[0].params["out"]["bias"], got.params["out"]["bias"]
    )
    tree.map(np.testing.assert_array_equal, start.opt_state, before)


def test_a_hyperparameter_that_several_parts_have_is_refused() -> None:
    twice = chain(INJECTED(0.1), INJECTED(0.2))
    state = init_state(MODEL, twice, random.key(0), (4,))
    with pytest.raises(
        TreeError, match="with_hyperparams: 2 parts of the optimizer have 'learning"
    ):
        with_hyperparams(state, learning_rate=0.5)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5), 1, np.int64(2)])
def test_a_rate_that_was_an_int_may_become_a_fraction(value: Any) -> None:
    optimizer = INJECTED(1)
    state = init_state(MODEL, optimizer, random.key(0), (4,))
    changed = with_hyperparams(state, learning_rate=value)
    assert changed.opt_state.hyperparams["learning_rate"] == value
    got, _ = train_step(OBJECTIVE, optimizer)(changed, (X, Y))
    expected, _ = train_step(OBJECTIVE, sgd(float(value)))(
        init_state(MODEL, sgd(0.1), random.key(0), (4,)), (X, Y)
    )
    tree.map(np.testing.assert_array_equal, got.params, expected.params)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        ("x", DtypeError, "learning_rate is 'x', expected a number"),
        (None, DtypeError, "learning_rate is None, expected a number"),
        (True, DtypeError, "learning_rate is True, expected a number"),
        (np.ones(2), DtypeError, r"learning_rate is array\(.*, expected a number"),
        (np.nan, DomainError, "learning_rate is nan, expected a finite number"),
    ],
)
def test_values_that_are_no_numbers_are_refused(
    value: Any, error: type[Exception], expected: str
) -> None:
    state = init_state(MODEL, INJECTED(0.1), random.key(0), (4,))
    with pytest.raises(error, match=f"^with_hyperparams: {expected}"):
        with_hyperparams(state, learning_rate=value)


def test_what_the_optimizer_itself_refuses_is_refused_by_the_step() -> None:
    """Only it knows what a hyperparameter may be: a factor may be negative, a rate may not."""
    state = init_state(MODEL, INJECTED(0.1), random.key(0), (4,))
    step = train_step(OBJECTIVE, INJECTED(0.1), donate=True)
    before = tree.map(np.copy, state.params)
    with pytest.raises(DomainError, match=r"learning_rate is -1\.0, expected a finite number ≥ 0"):
        step(with_hyperparams(state, learning_rate=-1.0), (X, Y))
    tree.map(np.testing.assert_array_equal, state.params, before)
    turned = init_state(MODEL, inject_hyperparams(scale)(0.1), random.key(0), (4,))
    assert with_hyperparams(turned, step_size=-0.1).opt_state.hyperparams["step_size"] < 0


def test_what_has_a_schedule_is_not_set() -> None:
    state = init_state(MODEL, INJECTED(lambda count: 0.1, momentum=0.9), random.key(0), (4,))
    with pytest.raises(DomainError, match="with_hyperparams: learning_rate has a schedule"):
        with_hyperparams(state, learning_rate=0.5)
    with_hyperparams(state, momentum=0.5)


@pytest.mark.usefixtures("unannotated")
def test_only_a_train_state_has_hyperparameters() -> None:
    with pytest.raises(
        DtypeError, match="with_hyperparams: state is a dict, expected a TrainState"
    ):
        with_hyperparams({"w": np.ones(2)}, learning_rate=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    step = stop_at_nonfinite(train_step(OBJECTIVE, sgd(0.1)))
    start = init_state(MODEL, sgd(0.1), random.key(0), (4,))
    state, _ = step(start, (X, Y))
    inputs, targets, params = X.copy(), Y.copy(), tree.map(np.copy, state.params)
    inputs[3, 2] = targets[1, 0] = params["out"]["kernel"][2, 1] = bad
    told = re.escape(f"{bad}")
    with np.errstate(all="ignore"):
        with pytest.raises(
            DomainError, match=rf"step 1: the loss is .*; batch: inputs\[3, 2\] is {told}"
        ):
            step(state, (inputs, targets))
        with pytest.raises(DomainError, match=rf"; batch: targets\[1, 0\] is {told}"):
            step(state, (X, targets))
        where = rf'; params\["out"\]\["kernel"\]\[2, 1\] is {told}'
        with pytest.raises(DomainError, match=where):
            step(state._replace(params=params), (X, Y))


def test_a_loss_that_overflows_is_told_from_bad_data() -> None:
    step = stop_at_nonfinite(train_step(OBJECTIVE, sgd(0.1)))
    start = init_state(MODEL, sgd(0.1), random.key(0), (4,))
    with (
        np.errstate(all="ignore"),
        pytest.raises(DomainError, match="batch and parameters are finite, after the step params"),
    ):
        step(start, (X * np.float32(1e30), Y))


@pytest.mark.parametrize("donate", [False, True])
def test_where_no_gradient_came_through_the_parameters_are_finite(donate: bool) -> None:
    optimizer = chain(apply_if_finite(sgd(0.1), 3))
    step = stop_at_nonfinite(train_step(OBJECTIVE, optimizer, donate=donate))
    start = init_state(MODEL, optimizer, random.key(0), (4,))
    expected = "; batch and parameters are finite, after the step the parameters are finite too"
    with np.errstate(all="ignore"), pytest.raises(DomainError, match=expected):
        step(start, (X * np.float32(1e30), Y))


def test_with_donation_old_parameters_are_not_blamed() -> None:
    step = stop_at_nonfinite(train_step(OBJECTIVE, sgd(0.1), donate=True))
    start = init_state(MODEL, sgd(0.1), random.key(0), (4,))
    for _ in range(3):
        start, _ = step(start, (X, Y))
    with (
        np.errstate(all="ignore"),
        pytest.raises(DomainError, match=r"inf; batch is finite, after the step params\["),
    ):
        step(start, (X * np.float32(1e30), Y))


def test_an_ordinary_step_is_the_same() -> None:
    plain = train_step(OBJECTIVE, sgd(0.1))
    start = init_state(MODEL, sgd(0.1), random.key(0), (4,))
    for batch in ((X, Y), (X, Y, np.ones(5, np.float32))):
        got, expected = stop_at_nonfinite(plain)(start, batch), plain(start, batch)
        tree.map(np.testing.assert_array_equal, got, expected)


def test_ctrl_c_ends_the_loop_after_its_step() -> None:
    step = train_step(OBJECTIVE, sgd(0.1))
    start = init_state(MODEL, sgd(0.1), random.key(0), (4,))
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupted:
        for state, _ in fit(step, start, [(X, Y)] * 10):
            if int(state.step) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            if interrupted():
                break
        assert int(state.step) == 3
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            assert not interrupted()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[Any] = []

    def run() -> None:
        with interruptible() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]


def test_ctrl_c_within_another_loop_ends_both() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as outer:
        with interruptible() as inner:
            assert not inner()
            os.kill(os.getpid(), signal.SIGINT)
            assert inner()
        assert outer()
        with interruptible() as again:
            assert again()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with interruptible() as interrupted:
        assert not interrupted()
