"""A step by plan and one without: the same bits, the same refusals, and nothing shared."""

import inspect
import threading
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from purenn import layers, optimizers, random, training, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import losses
from purenn.optimizers import adam, sgd
from purenn.training import _planned
from purenn.typing import Array

ACTIVATIONS = ["relu", "tanh", "gelu", "sigmoid", "softplus"]
INTEGER_LABELS = losses.softmax_cross_entropy_with_integer_labels
MODEL = layers.serial(hidden=layers.dense(5), act=layers.relu, out=layers.dense(3))
OBJECTIVE = training.objective(MODEL, INTEGER_LABELS)
OPTIMIZERS: dict[str, Any] = {
    name: member
    for name, member in vars(optimizers).items()
    if inspect.isfunction(member)
    and next(iter(inspect.signature(member).parameters), "") == "learning_rate"
    and name != "lbfgs"
}


def same(a: Any, b: Any) -> bool:
    def bits(x: Any) -> list[Any]:
        return [(path, leaf.dtype, leaf.tobytes()) for path, leaf in tree.leaves_with_paths(x)]

    return bits(a) == bits(b)


def batch(seed: int, size: int = 6, features: int = 4, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, features)).astype(dtype), rng.integers(0, 3, size)


def refusal(step: Any, state: Any, batch: Any) -> tuple[type, str]:
    with pytest.raises((DomainError, ShapeError, DtypeError, TreeError)) as refused:
        step(state, batch)
    return refused.type, str(refused.value)


def without_plans(objective: training.Objective) -> training.Objective:
    """A model that has none is computed by its ``vjp``."""
    assert objective.plans is not None
    return objective._replace(plans=None)


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
    plain = training.train_step(without_plans(OBJECTIVE), optimizer)
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
    plain = training.train_step(without_plans(OBJECTIVE), make())
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
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
    states = [training.init_state(MODEL, adam(0.01), random.key(i), (4,)) for i in range(3)]
    expected = [*states]
    for i in (0, 0, 0, 1, 0, 1, 1, 2, 0, 0, 2, 1):
        states[i], expected[i] = step(states[i], batch(i))[0], plain(expected[i], batch(i))[0]
        assert all(map(same, states, expected))


@pytest.mark.parametrize("where", ["params", "mu"])
def test_a_leaf_that_was_put_in_place_of_another_is_seen(where: str) -> None:
    step = training.train_step(OBJECTIVE, adam(0.01), donate=True)
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
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
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
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
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
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


def log_error(outputs: Array, targets: Array) -> Array:
    """Σ(log y − t)², of somebody who refuses what has no logarithm."""
    return log_error_vjp(outputs, targets)[0]


def log_error_vjp(outputs: Array, targets: Array) -> tuple[Array, Any]:
    if not (outputs > 0).all():
        raise DomainError("log_error: outputs are not positive")
    off = np.log(outputs) - targets
    return np.sum(off**2, axis=-1), lambda dy: (2 * off / outputs * dy[:, None], None)


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


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Few parameters are taken for many; the programs that are made."""
    made = []
    original = _planned._program

    def program(*arguments: Any) -> Any:
        made.append(original(*arguments))
        return made[-1]

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
    plain = training.train_step(without_plans(OBJECTIVE), optimizer)
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
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
    states = [training.init_state(MODEL, adam(0.01), random.key(i), (4,)) for i in range(2)]
    expected = tree.map(np.copy, states)
    for i in (0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0):
        states[i], expected[i] = step(states[i], batch(i))[0], plain(expected[i], batch(i))[0]
        assert all(map(same, states, expected))
    assert len(many) == 3


def test_a_leaf_in_place_of_another_is_seen_by_a_step_in_place(many: list[Any]) -> None:
    step = training.train_step(fresh(), adam(0.01), donate=True)
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
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
    plain = training.train_step(without_plans(OBJECTIVE), adam(0.01))
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
