"""What is given away is written to only if nothing else is in its memory, and told before."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from purenn import tree
from purenn.errors import DomainError
from purenn.optimizers import (
    GradientTransformationExtraArgs,
    adam,
    apply_gradients,
    apply_updates,
    chain,
    lamb,
    lbfgs,
    scale_by_lbfgs,
    sgd,
    value_and_grad_from_state,
)
from tests.optimizers.problems import bits, draw_tree, frozen, quadratic

# A place: one of three pieces of memory, the last of which is not NumPy's, where in it, and how.
PLACES = st.tuples(st.integers(0, 2), st.integers(0, 17), st.sampled_from([1, 2, -1, -2]))
OPTIMIZER = sgd(0.1, 0.5)


def taken(memory: list[Any], place: tuple[int, int, int]) -> Any:
    """Three entries of it."""
    number, start, stride = place
    return memory[number][start : start + 6][::stride][:3]


def share(*groups: Any) -> bool:
    """Whether any two leaves of the first tree share memory, or one with a leaf of another."""
    first, *rest = [tree.leaves(group) for group in groups]
    pairs = [(x, y) for i, x in enumerate(first) for y in first[:i]]
    pairs += [(x, y) for x in first for group in rest for y in group]
    return any(np.shares_memory(x, y) for x, y in pairs)


@settings(max_examples=10 * settings().max_examples)
@given(places=st.lists(PLACES, min_size=6, max_size=6), kept=st.booleans())
def test_memory_that_is_shared_is_refused_or_left_alone(places: Any, kept: bool) -> None:
    memory = [np.linspace(1, 2, 24), np.linspace(3, 4, 24), np.frombuffer(bytearray(192))]
    memory[2][:] = 5
    a, b, c, d, e, f = (taken(memory, place) for place in places)
    params, grads, state = {"x": a, "y": b}, {"x": c, "y": d}, {"x": e, "y": f}
    opt_state = (OPTIMIZER.init(params)[0]._replace(trace=state), OPTIMIZER.init(params)[1])
    before = [m.copy() for m in memory]
    if kept:
        is_bad = share(state, params)
        expected = OPTIMIZER.update(grads, opt_state, params)
    else:
        is_bad = share((state, params))
        expected = apply_gradients(OPTIMIZER, grads, opt_state, params)

    def step() -> Any:
        if kept:
            return OPTIMIZER.update(grads, opt_state, params, donate=True)
        return apply_gradients(OPTIMIZER, grads, opt_state, params, donate=True)

    if is_bad:
        with pytest.raises(DomainError, match=r"donate: (opt_state|params)\S* is donated twice"):
            step()
        assert all(np.array_equal(x, y) for x, y in zip(memory, before, strict=True))
    else:
        held = bits(params)
        got = step()
        assert bits(got) == bits(expected)
        assert got[1][0].trace["x"] is e
        assert bits(params) == held if kept else got[0]["x"] is a


@given(places=st.lists(PLACES, min_size=4, max_size=4))
def test_updates_may_be_in_the_memory_of_parameters(places: Any) -> None:
    memory = [np.linspace(i, i + 1, 24) for i in range(3)]
    a, b, c, d = (taken(memory, place) for place in places)
    params, updates = {"x": a, "y": b}, {"x": c, "y": d}
    expected = apply_updates(params, updates)
    if share(params):
        with pytest.raises(DomainError, match=r'donate: params\["[xy]"\] is donated twice'):
            apply_updates(params, updates, donate=True)
    else:
        assert bits(apply_updates(params, updates, donate=True)) == bits(expected)


def test_parts_of_one_array_are_disjoint() -> None:
    params = draw_tree(np.random.default_rng(0), {"a": (2, 3), "b": (4,), "c": ()})
    params, state = apply_gradients(OPTIMIZER, params, OPTIMIZER.init(params), params)
    assert params["a"].base is params["b"].base
    expected = apply_gradients(OPTIMIZER, tree.map(np.copy, params), state, params)
    got = apply_gradients(OPTIMIZER, tree.map(np.copy, params), state, params, donate=True)
    assert bits(got) == bits(expected)


LIKE = {"a": np.ones(3), "b": {"kernel": np.ones((2, 2))}}
OPTIMIZERS: dict[str, Any] = {
    "lamb": lamb(0.1),
    "adam": chain(adam(0.1), sgd(0.1, 0.9)),
    "lbfgs": lbfgs(),
    "chain": chain(sgd(0.1, 0.9), lbfgs()),
    "scale_by_lbfgs": scale_by_lbfgs(),
}
DONATED = [
    (name, path)
    for name, optimizer in OPTIMIZERS.items()
    for path, _ in tree.leaves_with_paths({"opt_state": optimizer.init(LIKE), "params": LIKE})
]


@pytest.mark.parametrize(("name", "path"), DONATED)
def test_what_is_read_only_is_refused_before_anything_is_written(name: str, path: Any) -> None:
    optimizer = OPTIMIZERS[name]
    params = draw_tree(np.random.default_rng(0), {"a": (3,), "b": {"kernel": (2, 2)}})
    grads = tree.map(np.copy, params)
    given_up = {"opt_state": optimizer.init(params), "params": params}
    for its_path, leaf in tree.leaves_with_paths(given_up):
        if its_path == path:
            leaf.setflags(write=False)
    before = bits((given_up, grads))
    is_searching = isinstance(optimizer, GradientTransformationExtraArgs)
    search: Any = {"value": 1.0, "value_and_grad_fn": lambda p: (1.0, p)}
    extra: Any = search if is_searching else {}
    message = re.escape(f"donate: {path[0]}{tree.show(path[1:])} is read-only")
    with pytest.raises(DomainError, match=message):
        apply_gradients(optimizer, grads, given_up["opt_state"], params, donate=True, **extra)
    if path[0] == "opt_state":
        with pytest.raises(DomainError, match=message):
            optimizer.update(grads, given_up["opt_state"], params, donate=True, **extra)
    assert bits((given_up, grads)) == before


def test_gradients_that_the_state_remembers_are_no_gift() -> None:
    """As :func:`value_and_grad_from_state` gives them."""
    value_and_grad, params = quadratic(5, 0)
    optimizer = chain(sgd(1.0), lbfgs())
    evaluate, state, its_state = (
        value_and_grad_from_state(value_and_grad), optimizer.init(params), optimizer.init(params)
    )  # fmt: skip
    mine = tree.map(np.copy, params)
    for _ in range(4):
        value, grads = evaluate(params, state=state[1])
        call: Any = {"value": value, "value_and_grad_fn": value_and_grad}
        params, state = apply_gradients(optimizer, grads, frozen(state), params, **call)
        value, grads = evaluate(mine, state=its_state[1])
        mine, its_state = apply_gradients(optimizer, grads, its_state, mine, donate=True, **call)
        assert bits((mine, its_state)) == bits((params, state))
