"""Optimizers step by step beside optax and beside the reference."""

import inspect
import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given, settings

import reference.optimizers
from purenn import optimizers, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.optimizers import GradientTransformation, adam, apply_updates, sgd

SHAPES: Any = {"a": {"kernel": (3, 2), "bias": (2,)}, "b": {"scale": ()}, "empty": {"bias": (0,)}}

RATES = st.just(0.0) | st.floats(1e-3, 10)
DECAYS = st.just(0.0) | st.floats(1e-3, 0.999)
CALLS = st.one_of(
    st.tuples(st.just("sgd"), st.fixed_dictionaries({"learning_rate": RATES})),
    st.tuples(
        st.just("sgd"),
        st.fixed_dictionaries(
            {"learning_rate": RATES, "momentum": DECAYS}, optional={"nesterov": st.booleans()}
        ),
    ),
    st.tuples(
        st.just("adam"),
        st.fixed_dictionaries(
            {"learning_rate": RATES},
            optional={
                "b1": DECAYS,
                "b2": DECAYS,
                "eps": st.floats(1e-10, 1),
                "eps_root": st.just(0.0) | st.floats(1e-10, 1),
            },
        ),
    ),
)


def draw_trees(seed: int, dtype: Any, count: int) -> list[Any]:
    """Read-only trees over six orders of magnitude, each entry with one sign in all of them.

    So nothing cancels, and results can be compared relative to themselves.
    """
    rng = np.random.default_rng(seed)

    def leaf(shape: Any) -> Any:
        signs = rng.choice([-1, 1], shape)
        values = signs * 10.0 ** rng.uniform(-3, 3, (count, *shape))
        values = values.astype(dtype)
        values.setflags(write=False)
        return values

    leaves = {layer: {name: leaf(s) for name, s in its.items()} for layer, its in SHAPES.items()}
    return [tree.map(lambda values, i=i: values[i, ...], leaves) for i in range(count)]


def assert_trees_close(got: Any, expected: Any, rtol: float) -> None:
    for (path, a), (their_path, b) in zip(
        tree.leaves_with_paths(got), tree.leaves_with_paths(expected), strict=True
    ):
        assert path == their_path
        assert isinstance(a, np.ndarray), path
        assert (a.shape, a.dtype) == (b.shape, b.dtype), path
        np.testing.assert_allclose(a, b, rtol, err_msg=tree.show(path))


@settings(max_examples=40, deadline=None)
@given(CALLS, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32))
def test_every_step_is_that_of_optax(call: Any, dtype: Any, seed: int) -> None:
    name, arguments = call
    rtol = 16 * float(np.finfo(dtype).eps)
    # 1 − βᵗ magnifies an error of βᵗ by βᵗ/(1 − βᵗ), worst at t = 1, in whoever's telling.
    decays = [arguments.get("b1", 0.9), arguments.get("b2", 0.999)] if name == "adam" else [0.0]
    rtol_of_updates = rtol + sum(np.finfo(np.float64).eps * b / (1 - b) for b in decays)
    params, *every_grads = draw_trees(seed, dtype, 5)
    ours = getattr(optimizers, name)(**arguments)
    theirs = getattr(optax, name)(**arguments)
    independent = getattr(reference.optimizers, name)(**arguments)
    state = ours.init(params)
    their_state = theirs.init(params)
    independent_state = independent.init(params)
    for grads in every_grads:
        updates, state = ours.update(grads, state, params)
        their_updates, their_state = theirs.update(grads, their_state, params)
        independent_updates, independent_state = independent.update(grads, independent_state)
        assert_trees_close(updates, their_updates, rtol_of_updates)
        assert_trees_close(updates, independent_updates, rtol_of_updates)
        assert_trees_close(state, their_state[0], rtol)
        assert_trees_close(state, independent_state, rtol)
        assert type(state).__name__ == type(their_state[0]).__name__
        assert state._fields == their_state[0]._fields
        assert_trees_close(
            apply_updates(params, updates), optax.apply_updates(params, updates), rtol=0
        )
        for leaf in tree.leaves((updates, state)):
            leaf.setflags(write=False)


def test_a_numpy_rate_does_not_widen_float32() -> None:
    (grads,) = draw_trees(0, np.float32, 1)
    for optimizer in (sgd(np.float64(0.1)), adam(np.float64(0.1), np.float64(0.9))):
        updates, _ = optimizer.update(grads, optimizer.init(grads))
        assert {leaf.dtype for leaf in tree.leaves(updates)} == {np.dtype(np.float32)}


def test_the_first_steps_of_adam_are_the_rate() -> None:
    grads = {"a": np.array([1e-3, -5.0, 1e3])}
    optimizer = adam(0.1)
    updates, state = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_allclose(updates["a"], [-0.1, 0.1, -0.1], rtol=1e-4)
    assert state.count == 1
    assert state.count.dtype == np.int32


@pytest.mark.parametrize(
    "optimizer",
    [sgd(0.1, 0.9), sgd(0.1, 0.9, nesterov=True), adam(0.1)],
    ids=["momentum", "nesterov", "adam"],
)
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"w": np.ones(2)}, TreeError, "grads: trees differ at the root: got keys ['w'], expected"),
        (
            {"a": {"w": np.ones(2)}, "b": np.ones(1)},
            TreeError,
            "grads: trees differ at [\"a\"]: got keys ['w'], expected keys ['kernel']",
        ),
        (
            {"a": {"kernel": np.ones((1, 2))}, "b": np.ones(1)},
            ShapeError,
            'grads["a"]["kernel"] has shape (1, 2), expected (2,)',
        ),
        (
            {"a": {"kernel": np.ones(2)}, "b": np.ones(1, np.float32)},
            DtypeError,
            'grads["b"] has dtype float32, expected float64',
        ),
    ],
)
def test_gradients_of_another_tree_are_refused(
    optimizer: GradientTransformation, bad: Any, error: type[Exception], message: str
) -> None:
    params = {"a": {"kernel": np.ones(2)}, "b": np.ones(1)}
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update(bad, optimizer.init(params), params)
    with pytest.raises(error, match=re.escape(message.replace("grads", "updates"))):
        apply_updates(params, bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sgd(-0.1), "sgd: learning_rate is -0.1, expected finite and ≥ 0"),
        (lambda: sgd(float("nan")), "sgd: learning_rate is nan, expected finite and ≥ 0"),
        (lambda: adam(float("inf")), "adam: learning_rate is inf, expected finite and ≥ 0"),
        (lambda: sgd(0.1, 1.0), "sgd: momentum is 1.0, expected ≥ 0 and < 1"),
        (lambda: sgd(0.1, -0.1), "sgd: momentum is -0.1, expected ≥ 0 and < 1"),
        (lambda: sgd(0.1, nesterov=True), "sgd: nesterov looks ahead by the momentum, which is N"),
        (lambda: adam(0.1, b1=1.0), "adam: b1 is 1.0, expected ≥ 0 and < 1"),
        (lambda: adam(0.1, b2=float("nan")), "adam: b2 is nan, expected ≥ 0 and < 1"),
        (lambda: adam(0.1, eps=-1e-8), "adam: eps is -1e-08, expected finite and ≥ 0"),
        (lambda: adam(0.1, eps_root=-1.0), "adam: eps_root is -1.0, expected finite and ≥ 0"),
    ],
)
def test_arguments_outside_their_domain_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DomainError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("value", ["0.1", None, lambda step: 0.1])
def test_a_rate_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(DtypeError, match=r"adam: learning_rate is a .*, expected a number"):
        inspect.unwrap(adam)(value)


def test_the_state_of_another_optimizer_is_refused() -> None:
    params = {"w": np.ones(2)}
    makes = [sgd(0.1), sgd(0.1, 0.9), adam(0.1)]
    for ours in makes:
        for other in makes:
            if other is not ours:
                with pytest.raises(TreeError, match=r"opt_state is a .*State, expected .*State"):
                    inspect.unwrap(ours.update)(params, other.init(params))


def test_adam_refuses_half_precision_where_its_epsilon_is_0() -> None:
    with pytest.raises(DtypeError, match=r'params\["w"\] has dtype float16, in which ε is 0'):
        adam(0.1).init({"w": np.ones(2, np.float16)})
