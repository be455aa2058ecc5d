"""The step and the loop: pure, complete, resumable."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from purenn import random, tree
from purenn.errors import DomainError, DtypeError
from purenn.layers import Layer, dense, relu, residual, serial
from purenn.ops import losses
from purenn.optimizers import adam, sgd
from purenn.training import TrainState, batches, fit, init_state, objective, train_step
from purenn.typing import Array

KEY = random.key(0)
MODEL = serial(hidden=dense(5), act=relu, block=residual(dense(5)), out=dense(3))
INTEGER_LABELS = losses.softmax_cross_entropy_with_integer_labels
X = np.ones((4, 4), np.float32)


def frozen(x: Any) -> Any:
    """A tree whose arrays nobody can write to."""
    for leaf in tree.leaves(x):
        leaf.setflags(write=False)
    return x


def draw_run(optimizer: Any) -> tuple[Any, TrainState, list[Any]]:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 3, 10)
    step = train_step(objective(MODEL, INTEGER_LABELS), optimizer)
    start = frozen(init_state(MODEL, optimizer, KEY, (4,)))
    return step, start, list(batches(KEY, (frozen(inputs), frozen(labels)), 4))


@pytest.mark.parametrize("optimizer", [sgd(0.1), sgd(0.1, 0.9), adam(0.01)])
def test_a_run_is_pure_and_goes_on_bit_for_bit(optimizer: Any) -> None:
    step, start, epoch = draw_run(optimizer)
    run = []
    for state, metrics in fit(step, start, epoch * 3):
        run.append((frozen(state), metrics["loss"]))
    assert [int(state.step) for state, _ in run] == [*range(1, 10)]
    assert run[-1][1] < run[0][1]
    assert {leaf.dtype for leaf in tree.leaves(run[-1][0].params)} == {np.dtype(np.float32)}
    assert all(isinstance(leaf, np.ndarray) for leaf in tree.leaves(run[-1][0]))

    later = fit(step, run[3][0], (epoch * 3)[4:])
    for (state, loss), (again, metrics) in zip(run[4:], later, strict=True):
        assert loss == metrics["loss"]
        tree.map(np.testing.assert_array_equal, state, again)


def test_a_run_starts_from_two_keys_made_of_one() -> None:
    start = init_state(MODEL, adam(0.1), KEY, (4,))
    init_key, train_key = random.split(KEY)
    tree.map(np.testing.assert_array_equal, start.params, MODEL.init(init_key, (4,))[0])
    np.testing.assert_array_equal(start.key, train_key)
    np.testing.assert_array_equal(start.step, np.zeros((), np.int32), strict=True)


def test_the_caller_owns_the_loop() -> None:
    step, start, epoch = draw_run(sgd(0.1))
    asked = []

    def endless() -> Iterator[Any]:
        while True:
            asked.append(1)
            yield epoch[0]

    for state, _ in fit(step, start, endless()):
        if state.step == 3:
            break
    assert len(asked) == 3


def test_a_loop_over_no_batches_is_refused() -> None:
    step, start, epoch = draw_run(sgd(0.1))
    used = iter(epoch)
    assert len(list(fit(step, start, used))) == 3
    with pytest.raises(DomainError, match="fit: no batches, expected at least one"):
        list(fit(step, start, used))


def test_each_step_draws_from_its_own_key() -> None:
    seen: list[Any] = []

    def vjp(params: Any, state: Any, x: Array, key: Any = None) -> Any:
        seen.append(key)
        return x, lambda dy, *, input_cotangent=True: ({}, None), {"calls": state["calls"] + 1}

    spy = Layer(
        lambda key, shape, dtype=np.float32: ({}, {"calls": np.zeros(())}, shape),
        lambda params, state, x: x,
        vjp,
        stochastic=True,
    )
    optimizer = sgd(0.1)
    step = train_step(objective(spy, losses.squared_error), optimizer)
    start = init_state(spy, optimizer, KEY, (4,))
    states = [state for state, _ in fit(step, start, [(X, X)] * 2)]
    expected = [random.fold_in(start.key, t) for t in range(2)]
    np.testing.assert_array_equal(seen, expected)
    assert [state.state["calls"] for state in states] == [1, 2]
    assert not np.array_equal(start.key, KEY)


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    model = serial(out=dense(2))
    loss = losses.squared_error
    with pytest.raises(DtypeError, match="train_step: objective is a GradientTransformation, exp"):
        inspect.unwrap(train_step)(sgd(0.1), objective(model, loss))
    with pytest.raises(DtypeError, match=r"train_step: optimizer is a .*; did you mean adam\("):
        inspect.unwrap(train_step)(objective(model, loss), adam)
    with pytest.raises(DtypeError, match=r"init_state: optimizer is a .*; did you mean adam\("):
        inspect.unwrap(init_state)(model, adam, random.key(0), (4,))
    with pytest.raises(DtypeError, match="train_step: donate is 'no', expected a bool"):
        inspect.unwrap(train_step)(objective(model, loss), sgd(0.1), donate="no")
    with pytest.raises(DtypeError, match="input_shape is a int, expected a tuple"):
        inspect.unwrap(init_state)(model, sgd(0.1), random.key(0), 4)


def test_a_step_from_parameters_alone_is_refused(unannotated: None) -> None:
    step, start, epoch = draw_run(sgd(0.1))
    with pytest.raises(DtypeError, match="step: state is a dict, expected a TrainState"):
        step(start.params, epoch[0])
