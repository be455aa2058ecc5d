"""A step by plan and one without: the same bits, the same refusals, and nothing shared."""

import threading
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from purenn import layers, optimizers, random, training, tree
from purenn.errors import DomainError
from purenn.ops import losses
from purenn.optimizers import adam, sgd
from purenn.typing import Array
from tests.training.steps import (
    INTEGER_LABELS,
    MODEL,
    OBJECTIVE,
    OPTIMIZERS,
    PLAIN,
    batch,
    log_error,
    refusal,
    same,
)

ACTIVATIONS = ["relu", "tanh", "gelu", "sigmoid", "softplus"]


@settings(deadline=None)
@given(
    widths=st.lists(st.integers(1, 20), max_size=3), size=st.integers(1, 40),
    names=st.lists(st.sampled_from(ACTIVATIONS), min_size=3, max_size=3),
    nested=st.booleans(), dtype=st.sampled_from([np.float32, np.float64]),
    loss=st.sampled_from(["integer", "soft", "squared"]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_loss_and_gradient_have_the_same_bits(
    widths: Any, size: int, names: Any, nested: bool, dtype: Any, loss: str, seed: int
) -> None:
    parts: dict[str, Any] = {}
    for i, (width, name) in enumerate(zip(widths, names, strict=False)):
        pair = {"dense": layers.dense(width), "act": getattr(layers, name)}
        block = {f"block{i}": layers.serial(**pair)}
        parts |= block if nested else {f"{key}{i}": its for key, its in pair.items()}
    model = layers.serial(**parts, out=layers.dense(3))
    rule: Any = {
        "integer": INTEGER_LABELS,
        "soft": losses.softmax_cross_entropy,
        "squared": losses.squared_error,
    }[loss]
    objective = training.objective(model, rule)
    params, state, _ = model.init(random.key(seed), (4,), dtype)
    rng = np.random.default_rng(seed)
    for i in range(3):
        x, labels = batch(seed + i, size, dtype=dtype)
        targets: Any = {
            "integer": labels,
            "soft": rng.dirichlet(np.ones(3), size).astype(dtype),
            "squared": rng.normal(size=(size, 3)).astype(dtype),
        }[loss]
        given = x, targets
        # A plan is made by the first call with such arrays: that of a new objective has none yet.
        expected = training.objective(model, rule).value_and_grad(params, state, given)
        got = objective.value_and_grad(params, state, given)
        assert same(got, expected)
        params = tree.map(lambda p, g: (p - 0.1 * g).astype(dtype), params, got[1])


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_have_the_same_bits(name: str, donate: bool) -> None:
    optimizer = OPTIMIZERS[name](0.01)
    planned = training.train_step(OBJECTIVE, optimizer, donate=donate)
    plain = training.train_step(PLAIN, optimizer)
    a = b = training.init_state(MODEL, optimizer, random.key(0), (4,))
    for i in range(5):
        a, metrics = planned(a, batch(i))
        b, expected = plain(b, batch(i))
        assert same(a, b)
        assert metrics["loss"] == expected["loss"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.chain(optimizers.clip_by_global_norm(0.1), adam(0.01)),
        lambda: optimizers.multi_steps(adam(0.01), 3),
        lambda: optimizers.masked(adam(0.01), {"hidden": True, "out": False}),
        lambda: optimizers.inject_hyperparams(adam)(learning_rate=lambda count: 0.1 / (1 + count)),
        lambda: adam(0.01, mu_dtype=np.float16),
        lambda: optimizers.adamw(0.01, mask={"hidden": True, "out": False}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("donate", [False, True])
def test_what_tells_leaves_apart_is_done_by_a_sweep(make: Any, donate: bool) -> None:
    planned = training.train_step(OBJECTIVE, make(), donate=donate)
    plain = training.train_step(PLAIN, make())
    a = b = training.init_state(MODEL, make(), random.key(0), (4,))
    for i in range(7):
        a, b = planned(a, batch(i))[0], plain(b, batch(i))[0]
        assert same(a, b)


def test_gradients_and_kept_states_are_nobody_elses() -> None:
    params, state, _ = MODEL.init(random.key(0), (4,))
    found = [OBJECTIVE.value_and_grad(params, state, batch(i))[1] for i in range(4)]
    copies = [OBJECTIVE.grad(params, state, batch(i)) for i in range(4)]
    assert all(map(same, found, copies))
    step = training.train_step(OBJECTIVE, adam(0.01))
    states = [training.init_state(MODEL, adam(0.01), random.key(0), (4,))]
    kept = []
    for i in range(4):
        kept.append(tree.map(np.copy, states[-1]))
        states.append(step(states[-1], batch(i))[0])
    assert all(map(same, states, kept))


def test_a_donated_state_is_written_to_from_the_second_step_on() -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    first = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    before = tree.map(np.copy, first)
    states = [first]
    for i in range(4):
        states.append(step(states[-1], batch(i))[0])
    assert same(first, before)
    kernels = [state.params["out"]["kernel"] for state in states[-2:]]
    assert kernels[0] is kernels[1]


def test_states_take_turns_in_one_donating_step() -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    states = [training.init_state(MODEL, adam(0.01), random.key(i), (4,)) for i in range(3)]
    expected = [*states]
    for i in (0, 0, 0, 1, 0, 1, 1, 2, 0, 0, 2, 1):
        states[i], expected[i] = step(states[i], batch(i))[0], plain(expected[i], batch(i))[0]
        assert all(map(same, states, expected))


@pytest.mark.parametrize("where", ["params", "mu"])
def test_a_leaf_that_was_put_in_place_of_another_is_seen(where: str) -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    its = state.params if where == "params" else state.opt_state[0].mu
    old = its["out"]["kernel"]
    its["out"]["kernel"] = old + np.float32(1)
    kept = old.copy()
    expected, _ = plain(tree.map(np.copy, state), batch(3))
    state, _ = step(state, batch(3))
    assert same(state, expected)
    np.testing.assert_array_equal(old, kept)


@pytest.mark.usefixtures("unannotated")
def test_a_batch_that_does_not_fit_is_refused_as_ever_and_nothing_is_lost() -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    before = tree.map(np.copy, state)
    x, labels = batch(0)
    bad: list[Any] = [
        (x, labels + 3), (x, labels - 3), (x[:, :3], labels), (x, labels[:5]), (x[:0], labels[:0]),
        (x, labels.astype(np.float32)), (x.astype(np.float64), labels), (x, [*labels]), x, (x,),
        (x.tolist(), labels), (x, labels, np.ones(5, np.float32)),
    ]  # fmt: skip
    for one in bad:
        assert refusal(step, state, one) == refusal(plain, state, one)
        assert same(state, before)
    assert same(step(state, (x, labels))[0], plain(before, (x, labels))[0])


@pytest.mark.usefixtures("unannotated")
def test_a_state_that_does_not_fit_is_refused_as_ever() -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    plain = training.train_step(PLAIN, adam(0.01))
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    moments, rest = state.opt_state
    small = {"out": moments.mu["out"]}
    foreign = jax.tree.map(jax.numpy.asarray, moments.mu)
    cut = {**moments.mu, "out": {**moments.mu["out"], "bias": np.zeros(2, np.float32)}}
    bad: list[Any] = [
        state._replace(opt_state=sgd(0.1).init(state.params)),
        state._replace(opt_state=(moments._replace(mu=small), rest)),
        state._replace(opt_state=(moments._replace(nu=cut), rest)),
        state._replace(opt_state=(moments._replace(mu=foreign), rest)),
        state._replace(opt_state=(moments._replace(count=np.array(-1, np.int32)), rest)),
        state._replace(params={"out": state.params["out"]}),
        state._replace(params={**state.params, "more": {}}),
    ]
    for one in bad:
        assert refusal(step, one, batch(0)) == refusal(plain, one, batch(0))


def test_threads_do_not_disturb_each_other() -> None:
    params, state, _ = MODEL.init(random.key(0), (4,))
    expected = [OBJECTIVE.grad(params, state, batch(i, 64)) for i in range(4)]
    wrong = []

    def run(i: int) -> None:
        for _ in range(200):
            if not same(OBJECTIVE.grad(params, state, batch(i, 64)), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_large_or_cannot_be_planned_is_done_without() -> None:
    cases: list[tuple[Any, Any]] = [
        (layers.serial(out=layers.dense(3)), np.zeros((2**17, 4), np.float32)),
        (layers.serial(drop=layers.dropout(0.5), out=layers.dense(3)), batch(0)[0]),
        (layers.serial(norm=layers.batch_norm(), out=layers.dense(3)), batch(0)[0]),
        (layers.serial(block=layers.residual(layers.dense(4)), out=layers.dense(3)), batch(0)[0]),
        (MODEL, batch(0)[0].astype(np.float16)),
    ]
    for model, x in cases:
        objective = training.objective(model, INTEGER_LABELS)
        params, state, _ = model.init(random.key(0), (4,), x.dtype)
        labels: Array = np.zeros(len(x), np.int32)
        results = [
            objective.value_and_grad(params, state, (x, labels), random.key(1)) for _ in range(2)
        ]
        assert same(*results)
        assert objective.plans is None or not any(objective.plans._known.values())


def test_a_loss_of_somebody_else_sees_only_outputs_of_the_model() -> None:
    model = layers.serial(out=layers.dense(3), act=layers.softplus)
    objective = training.objective(model, log_error)
    params, state, _ = model.init(random.key(0), (4,))
    targets = np.ones((6, 3), np.float32)
    results = [objective.value_and_grad(params, state, (batch(0)[0], targets)) for _ in range(3)]
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_trees_that_stay_are_remembered_beside_one_that_is_new() -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    state = training.init_state(MODEL, adam(0.01), random.key(0), (4,))
    for i in range(3):
        state, _ = step(state, batch(i))
    state = state._replace(params=tree.map(np.copy, state.params))
    state, _ = step(state, batch(3))
    later, _ = step(state, batch(4))
    assert later.params is state.params
    assert later.opt_state[0].mu is state.opt_state[0].mu


def of_large(x: Array) -> Array:
    """log x, of somebody who refuses what has none."""
    return of_large_vjp(x)[0]


def of_large_vjp(x: Array) -> tuple[Array, Any]:
    if not (x > 0).all():
        raise DomainError("of_large: x is not positive")
    return np.log(x), lambda dy: (dy / x,)


@pytest.mark.parametrize("donate", [False, True])
def test_an_activation_of_somebody_else_sees_only_what_comes_to_it(donate: bool) -> None:
    model = layers.serial(
        hidden=layers.dense(5), act=layers.softplus, log=layers.activation(of_large),
        out=layers.dense(3),
    )  # fmt: skip
    plain = training.objective(model._replace(plan=None), INTEGER_LABELS)
    planned = training.objective(model, INTEGER_LABELS)
    a = b = training.init_state(model, adam(0.01), random.key(0), (4,))
    step = training.train_step(planned, adam(0.01), donate=donate)
    for i in range(4):
        a, _ = step(a, batch(i))
        b, _ = training.train_step(plain, adam(0.01))(b, batch(i))
        assert same(a, b)
    assert planned.plans is not None
    assert any(planned.plans._known.values())


def zero_log(outputs: Array, targets: Array) -> Array:
    """log 0, of somebody who wants to hear of it."""
    return zero_log_vjp(outputs, targets)[0]


def zero_log_vjp(outputs: Array, targets: Array) -> tuple[Array, Any]:
    return np.log(np.zeros(len(outputs), np.float32)), lambda dy: (outputs * 0, None)


@pytest.mark.parametrize("donate", [False, True])
def test_warnings_of_somebody_elses_loss_are_told_at_every_step(donate: bool) -> None:
    objective = training.objective(MODEL, zero_log)
    step = training.train_step(objective, sgd(0.01), donate=donate)
    state = training.init_state(MODEL, sgd(0.01), random.key(0), (4,))
    for i in range(4):
        with pytest.warns(RuntimeWarning, match="divide by zero encountered in log"):
            state, _ = step(state, batch(i))
    assert objective.plans is not None
    assert any(objective.plans._known.values())


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("kind", [">i2", ">i8", "uint64"])
def test_labels_of_rare_dtypes(kind: str) -> None:
    params, state, _ = MODEL.init(random.key(0), (4,))
    x, labels = batch(0)
    objective = training.objective(MODEL, INTEGER_LABELS)
    for _ in range(3):
        found = objective.value_and_grad(params, state, (x, labels.astype(kind)))
        assert same(found, PLAIN.value_and_grad(params, state, (x, labels)))
        with pytest.raises(DomainError, match=r"labels\[0\] is 256, expected 0 to 2"):
            objective.grad(params, state, (x, np.full(6, 256, kind)))


def test_a_program_that_would_keep_much_is_not_kept() -> None:
    model = layers.serial(hidden=layers.dense(2048), act=layers.relu, out=layers.dense(3))
    objective = training.objective(model, INTEGER_LABELS)
    params, state, _ = model.init(random.key(0), (4,))
    for _ in range(2):
        objective.grad(params, state, batch(0, 2048))
    assert objective.plans is not None
    assert [*objective.plans._known.values()] == [[]]
