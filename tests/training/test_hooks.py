"""What stands around a step."""

import os
import re
import signal
import threading
from typing import Any

import numpy as np
import pytest

from purenn import random, tree
from purenn.errors import DomainError, TreeError
from purenn.layers import dense, relu, serial
from purenn.ops.losses import squared_error
from purenn.optimizers import adam, inject_hyperparams, sgd
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
    with pytest.raises(TreeError, match=re.escape("got ['rate'], expected some of ['learning_rat")):
        with_hyperparams(start, rate=0.1)
    with pytest.raises(TreeError, match="inject_hyperparams puts them"):
        with_hyperparams(init_state(MODEL, adam(0.1), random.key(0), (4,)), learning_rate=0.1)


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


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[Any] = []

    def run() -> None:
        with interruptible() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]
