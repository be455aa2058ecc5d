"""Steps of many parameters by a plan upon their own arrays: the same bits, nothing half done."""

import threading
from typing import Any

import numpy as np
import pytest

from purenn import layers, optimizers, random, training, tree
from purenn.errors import DomainError
from purenn.optimizers import adam, sgd
from purenn.training import _planned
from tests.training.steps import (
    INTEGER_LABELS,
    MODEL,
    OPTIMIZERS,
    PLAIN,
    batch,
    log_error,
    refusal,
    same,
)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Few parameters are taken for many; the programs that are made."""
    made = []
    original = _planned._program

    def program(*arguments: Any) -> Any:
        found = original(*arguments)
        made.extend([] if found is None else [found])
        return found

    for module in ("_planned", "step"):
        monkeypatch.setattr(f"purenn.training.{module}.PACK", 0)
    monkeypatch.setattr(_planned, "_program", program)
    return made


def fresh() -> training.Objective:
    return training.objective(MODEL, INTEGER_LABELS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_in_place_have_the_same_bits(name: str, many: list[Any]) -> None:
    optimizer = OPTIMIZERS[name](0.01)
    planned = training.train_step(fresh(), optimizer, donate=True)
    plain = training.train_step(PLAIN, optimizer)
    a = training.init_state(MODEL, optimizer, random.key(0), (4,))
    b = tree.map(np.copy, a)
    for i, size in enumerate([6, 6, 6, 5, 6, 6, 5, 5, 5, 6]):  # the last of an epoch is smaller
        a, metrics = planned(a, batch(i, size))
        b, expected = plain(b, batch(i, size))
        assert same(a, b)
        assert metrics["loss"] == expected["loss"]
    # Each at the second of its kind in a row: 6, 5; nothing for what comes once.
    assert [len(program.inputs) for program in many] == [6, 6, 5]


def test_states_take_turns_in_one_step_in_place(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    states = [training.init_state(MODEL, adam(0.01), random.key(i), (4,)) for i in range(2)]
    expected = tree.map(np.copy, states)
    for i in (0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0):
        states[i], expected[i] = step(states[i], batch(i))[0], plain(expected[i], batch(i))[0]
        assert all(map(same, states, expected))
    assert len(many) == 3


def test_a_leaf_in_place_of_another_is_seen_by_a_step_in_place(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    state.params["out"]["kernel"] = state.params["out"]["kernel"] + np.float32(1)
    expected, _ = plain(tree.map(np.copy, state), batch(3))
    assert same(step(state, batch(3))[0], expected)
    assert many


def test_what_keeps_a_gradient_has_it_for_itself(many: list[Any]) -> None:
    kept: list[Any] = []

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        kept.append((grads, tree.map(np.copy, grads)))
        return tree.map(lambda g: np.asarray(-0.01 * g), grads), state

    optimizer = optimizers.GradientTransformation(lambda params: (), update)
    step = training.train_step(fresh(), optimizer, donate=True)
    state = training.init_state(MODEL, optimizer, random.key(0), (4,))
    for i in range(5):
        state, _ = step(state, batch(i))
    assert many
    assert all(same(grads, copy) for grads, copy in kept)


@pytest.mark.usefixtures("unannotated")
def test_a_batch_that_does_not_fit_is_refused_by_a_step_in_place(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    before = tree.map(np.copy, state)
    x, labels = batch(0)
    for one in [(x, labels + 3), (x[:, :3], labels), (x, labels[:5]), (x.astype(float), labels)]:
        assert refusal(step, state, one) == refusal(plain, state, one)
        assert same(state, before)
    assert same(step(state, (x, labels))[0], plain(before, (x, labels))[0])
    assert many


def test_two_threads_with_states_of_their_own(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    a, b = (training.init_state(MODEL, adam(0.01), random.key(i), (4,)) for i in range(2))
    expected = training.train_step(PLAIN, adam(0.01))
    b_plain = tree.map(np.copy, b)
    for size in (6, 5):
        a, _ = step(a, batch(0, size))
    is_making, may_go_on = threading.Event(), threading.Event()
    original = _planned._made

    def slow(*arguments: Any) -> Any:
        found = original(*arguments)
        is_making.set()
        may_go_on.wait(60)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_planned, "_made", slow)
        thread = threading.Thread(target=step, args=(a, batch(1, 5)))
        thread.start()
        assert is_making.wait(60)
        b, _ = step(b, batch(2))  # while the program of the other thread is being made
        may_go_on.set()
        thread.join()
    b, _ = step(b, batch(3))
    for i in (2, 3):
        b_plain, _ = expected(b_plain, batch(i))
    assert same(b, b_plain)


def test_a_step_that_is_refused_has_written_nothing(many: list[Any]) -> None:
    model = layers.serial(out=layers.dense(3))
    objective = training.objective(model, log_error)
    plain = training.objective(model._replace(plan=None), log_error)
    given = np.abs(batch(0)[0]), np.full((6, 3), -5.0, np.float32)  # outputs are driven to 0
    step = training.train_step(objective, sgd(0.002), donate=True)
    expected = training.train_step(plain, sgd(0.002))
    a = training.init_state(model, sgd(0.002), random.key(0), (4,))
    a = a._replace(params=tree.map(np.abs, a.params))
    b = tree.map(np.copy, a)
    steps = 0
    while True:
        try:
            b, _ = expected(b, given)
        except DomainError:
            break
        a, _ = step(a, given)
        steps += 1
    assert same(a, b)
    assert steps > 1
    assert refusal(step, a, given) == refusal(expected, b, given)
    assert same(a, b)


@pytest.mark.usefixtures("unannotated")
def test_a_count_that_is_none_is_seen_before_anything_is_written(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    before = tree.map(np.copy, state)
    bad: list[Any] = [None, np.zeros(2, np.int32), np.array(2**31 - 1, np.int32)]
    for count in bad:
        with pytest.raises((TypeError, OverflowError)):
            step(state._replace(step=count), batch(3))
        assert same(state, before)
    assert many


@pytest.mark.usefixtures("unannotated")
def test_the_first_step_has_a_program_and_refuses_what_the_rules_refuse(many: list[Any]) -> None:
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    plain = training.train_step(PLAIN, adam(0.01))
    x, labels = batch(0)
    bad: list[Any] = [
        (state._replace(params={**state.params, "more": {}}), (x, labels)),
        (state._replace(params={"out": state.params["out"]}), (x, labels)),
        (state, (x, labels + 3)), (state, (x, labels[:5])), (state, (x[:0], labels[:0])),
        (state, (x[:, :3], labels)), (state, x), (state, (x, labels.astype(np.float32))),
    ]  # fmt: skip
    for its_state, its_batch in bad:
        step = training.train_step(fresh(), adam(0.01), donate=True)
        before = tree.map(np.copy, state)
        assert refusal(step, its_state, its_batch) == refusal(plain, its_state, its_batch)
        assert same(state, before)
    many.clear()
    expected, _ = plain(tree.map(np.copy, state), (x, labels))
    step = training.train_step(fresh(), adam(0.01), donate=True)
    assert same(step(state, (x, labels))[0], expected)
    assert len(many) == 1
