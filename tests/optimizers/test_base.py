"""Chains make one sweep, and give what their parts give one after the other."""

import re
import tracemalloc
from collections import OrderedDict
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from purenn import optimizers, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.optimizers import (
    GradientTransformation,
    adam,
    adamw,
    add_decayed_weights,
    apply_gradients,
    apply_updates,
    chain,
    ema,
    freeze,
    identity,
    masked,
    partition,
    scale,
    scale_by_adam,
    scale_by_schedule,
    sgd,
    trace,
)
from purenn.optimizers._blocks import BLOCK, PACK
from tests.optimizers.problems import bits, frozen


class Layer(NamedTuple):
    kernel: Any
    bias: Any


def big(dtype: Any, seed: int) -> Any:
    """A tree with leaves of several blocks, of a few elements, of none; in and out of order."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).astype(dtype)

    long = BLOCK // np.dtype(dtype).itemsize
    return {
        "blocks": draw(2 * long + 5),
        "rows": draw(3, long),
        "turned": draw(7, long // 2).T,
        "wide": draw(2, 2, long + 1)[:, ::-1],
        "block": draw(long),
        "small": {"b": draw(3, 4), "a": draw(5), "0-d": draw(), "empty": draw(2, 0)},
        "pair": (draw(2, 3), [draw(4, 5).T, None]),
        "named": Layer(draw(3, 3)[::2], draw(3)),
        "ordered": OrderedDict(z=draw(3), a={"kernel": draw(2)}),
    }


def other(factor: float) -> GradientTransformation:
    """A pair of the user's own, which knows nothing of sweeps."""
    return GradientTransformation(
        lambda params: (),
        lambda grads, state, params=None: (tree.map(lambda g: np.asarray(g * factor), grads), ()),
    )


def is_kernel(path: Any) -> bool:
    return "kernel" in path or "rows" in path or "b" in path


PARTS: dict[str, GradientTransformation] = {
    "scale": scale(-0.5),
    "trace": trace(0.9),
    "nesterov": trace(0.9, nesterov=True),
    "ema": ema(0.7),
    "adam": scale_by_adam(),
    "decay": add_decayed_weights(0.1),
    "masked": masked(scale_by_adam(b1=0.3), is_kernel),
    "decay-some": add_decayed_weights(lambda count: 0.1 * count, is_kernel),
    "freeze": freeze(is_kernel),
    "groups": partition({True: adam(0.1), False: sgd(0.1, 0.9)}, is_kernel),
    "chain": chain(trace(0.5), scale(2)),
    "identity": identity(),
    "other": other(1.5),
    "scheduled": sgd(lambda count: 0.1 / (1 + count)),
}
CHAINS = st.lists(st.sampled_from([*PARTS]), max_size=4)
DTYPES = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(names=CHAINS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_chain_is_its_parts_one_after_the_other(
    unannotated: None, names: list[str], dtype: Any
) -> None:
    parts = [PARTS[name] for name in names]
    whole = chain(*parts)
    params = frozen(big(dtype, 0))
    state = whole.init(params)
    assert bits(state) == bits(tuple(part.init(params) for part in parts))
    for seed in (1, 2):
        grads = frozen(big(dtype, seed))
        updates, next_state = whole.update(grads, frozen(state), params)
        after, state_after = apply_gradients(whole, grads, state, params)
        states, one_by_one = [], grads
        for part, its_state in zip(parts, state, strict=True):
            one_by_one, its_state = part.update(one_by_one, its_state, params)
            states.append(its_state)
        assert_same(updates, one_by_one)  # factors are multiplied before the arrays
        assert_same(next_state, tuple(states))
        assert bits(next_state) == bits(state_after)
        assert bits(after) == bits(apply_updates(params, updates))
        params, state = frozen(after), next_state


def assert_same(got: Any, expected: Any) -> None:
    """Up to a few roundings of what was added up."""
    for a, b in zip(tree.leaves(got), tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind == "f":
            eps = np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=8 * eps, atol=8 * eps * np.max(abs(b), initial=0))
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@given(names=CHAINS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_donated_arrays_are_reused_and_the_bits_are_the_same(
    unannotated: None, names: list[str], dtype: Any
) -> None:
    names = [name for name in names if dtype != np.float16 or name in ("scale", "trace", "decay")]
    optimizer = chain(*(PARTS[name] for name in names))
    params = frozen(big(dtype, 0))
    state = frozen(optimizer.init(params))
    mine, my_state = tree.map(np.copy, params), tree.map(np.copy, state)
    again, its_state = tree.map(np.copy, params), tree.map(np.copy, state)
    for seed in (1, 2):
        grads = big(dtype, seed)
        expected, next_state = optimizer.update(frozen(tree.map(np.copy, grads)), state, params)
        its_arrays = tree.leaves(its_state)
        got, its_state = optimizer.update(tree.map(np.copy, grads), its_state, again, donate=True)
        assert bits(got) == bits(expected)
        assert bits(its_state) == bits(next_state)
        for new, old in zip(tree.leaves(its_state), its_arrays, strict=True):
            assert new is old or new.dtype == np.int32
        expected, state = apply_gradients(optimizer, frozen(grads), state, params)
        arrays = tree.leaves(mine)
        mine, my_state = apply_gradients(optimizer, grads, my_state, mine, donate=True)
        assert bits(mine) == bits(expected)
        assert bits(my_state) == bits(state)
        assert all(new is old for new, old in zip(tree.leaves(mine), arrays, strict=True))
        params, again = expected, tree.map(np.copy, expected)


def test_updates_of_half_precision_are_those_of_single_rounded_once() -> None:
    ours = chain(add_decayed_weights(0.1), trace(0.9), scale(-0.3))
    params, grads = big(np.float16, 0), big(np.float16, 1)
    state = ours.init(params)
    wide = tree.map(lambda leaf: leaf.astype(np.float32), (grads, state, params))
    narrow = tree.map(lambda leaf: leaf.astype(np.float16), ours.update(*wide))
    assert bits(ours.update(grads, state, params)) == bits(narrow)


@pytest.mark.parametrize("make", [lambda: adam(0.1), lambda: adamw(0.1), lambda: sgd(0.1, 0.9)])
def test_nothing_of_the_size_of_the_parameters_is_allocated_when_donated(make: Any) -> None:
    optimizer = make()
    params = {"kernel": np.ones((1000, 1000), np.float32), "bias": np.ones(1000, np.float32)}
    grads, state = tree.map(np.copy, params), optimizer.init(params)
    for donating in ("update", "apply"):
        tracemalloc.start()
        if donating == "update":
            updates, state = optimizer.update(grads, state, params, donate=True)
            params = apply_updates(params, updates, donate=True)
        else:
            params, state = apply_gradients(optimizer, grads, state, params, donate=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.5e6, donating


def test_the_memory_of_small_leaves_is_not_shared_with_what_came_in() -> None:
    optimizer, params = adam(0.1), {"a": np.ones(3), "b": np.ones((2, 2))}
    new, state = apply_gradients(optimizer, params, optimizer.init(params), params)
    for leaf in tree.leaves(new):
        leaf += 1
    again, _ = apply_gradients(optimizer, params, optimizer.init(params), params)
    assert not np.array_equal(again["a"], new["a"])
    assert np.array_equal(params["a"], np.ones(3))
    assert not any(np.shares_memory(x, y) for x in tree.leaves(new) for y in tree.leaves(state))


@pytest.mark.parametrize(
    "optimizer",
    [sgd(0.1, 0.9), sgd(0.1, 0.9, nesterov=True), adam(0.1), masked(adam(0.1), lambda path: True)],
    ids=["momentum", "nesterov", "adam", "masked"],
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
        (
            {"a": {"kernel": np.ones(2)}, "b": np.ones(1, np.int64)},
            DtypeError,
            'grads["b"] has dtype int64, expected a floating dtype',
        ),
        (
            {"a": {"kernel": np.ones(2)}, "b": 1.0},
            DtypeError,
            'grads["b"] is a float, expected a NumPy array',
        ),
        (
            {"a": {"kernel": np.ones(2)}, "b": np.ones(1, ">f8")},
            DtypeError,
            'grads["b"] has dtype >f8, expected native byte order',
        ),
        ({"a": {"kernel": np.ones(2)}, "b": [np.ones(1)]}, TreeError, 'trees differ at ["b"]'),
    ],
)
@pytest.mark.parametrize("with_params", [False, True])
def test_gradients_of_another_tree_are_refused(
    optimizer: GradientTransformation,
    bad: Any,
    error: type[Exception],
    message: str,
    with_params: bool,
) -> None:
    params = {"a": {"kernel": np.ones(2)}, "b": np.ones(1)}
    state = optimizer.init(params)
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update(bad, state, params if with_params else None)
    with pytest.raises(error, match=re.escape(message)):
        apply_gradients(optimizer, bad, state, params)
    with pytest.raises(error, match=re.escape(message.replace("grads", "updates"))):
        apply_updates(params, bad)


def test_a_state_of_other_parameters_is_refused() -> None:
    params = {"a": np.ones(2), "b": np.ones(1)}
    state = adam(0.1).init({"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(ShapeError, match=r'opt_state\["b"\] has shape \(3,\), expected \(1,\)'):
        adam(0.1).update(params, state, params)
    with pytest.raises(ShapeError, match=r'grads\["b"\] has shape \(1,\), expected \(3,\)'):
        adam(0.1).update(params, state)


@pytest.mark.parametrize("make", [
    adam, adamw, sgd, lambda rate: sgd(rate, 0.9), add_decayed_weights,
    lambda rate: add_decayed_weights(lambda count: rate),
    lambda rate: scale_by_schedule(lambda count: rate),
])  # fmt: skip
def test_integer_parameters_are_refused(make: Any) -> None:
    for bad, told in (
        (np.ones(2, int), "has dtype int64"),
        (3, "is a int, expected a NumPy array"),
    ):
        with pytest.raises(DtypeError, match=re.escape(f'params["a"]["w"] {told}')):
            make(0.1).init({"a": {"w": bad}})


def test_updates_of_many_leaves_allocate_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {f"w{i}": np.ones((PACK // 32, 1)) for i in range(64)}
    optimizer = masked(adam(0.1), lambda path: path != ("w0",))
    state, sizes, empty = optimizer.init(params), [], np.empty

    def counted(*args: Any) -> Any:
        made = empty(*args)
        sizes.append(made.nbytes)
        return made

    monkeypatch.setattr(np, "empty", counted)
    optimizer.update(params, state)
    size = sum(leaf.nbytes for leaf in params.values())
    assert sum(sizes) < 8 * size  # two of the state, the updates, and three blocks of each unit


@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (np.array(-1, np.int32), DomainError, "opt_state.count is -1, expected at least 0"),
        (np.array(1, np.uint32), DtypeError, "expected a 0-d array of int32"),
        (np.array(1.5), DtypeError, "expected a 0-d array of int32"),
        (np.ones(2, np.int32), DtypeError, "expected a 0-d array of int32"),
        (None, DtypeError, "expected a 0-d array of int32"),
    ],
)
def test_a_count_that_is_none_is_refused(
    count: Any, error: type[Exception], message: str, unannotated: None
) -> None:
    params = {"w": np.ones(2)}
    state, empty = adam(0.1).init(params)
    with pytest.raises(error, match=message):
        adam(0.1).update(params, (state._replace(count=count), empty))


def test_a_count_ends_where_int32_does() -> None:
    params = {"w": np.ones(2)}
    state, empty = adam(0.1).init(params)
    last = state._replace(count=np.array(2**31 - 1, np.int32))
    _, (after, _) = adam(0.1).update(params, (last, empty))
    assert after.count == 2**31 - 1
    assert after.count.dtype == np.int32


def test_the_state_of_another_optimizer_is_refused(unannotated: None) -> None:
    params = {"w": np.ones(2)}
    makes = [sgd(0.1), sgd(0.1, 0.9), adam(0.1), adamw(0.1), ema(0.9), masked(ema(0.9), is_kernel)]
    for ours in makes:
        for theirs in makes:
            if theirs is not ours:
                with pytest.raises(TreeError, match=r"opt_state is a .*, expected "):
                    ours.update(params, theirs.init(params), params)


def test_a_chain_of_something_else_is_refused(unannotated: None) -> None:
    with pytest.raises(
        DtypeError, match=r"chain: transformations\[1\] is a float, expected a Grad"
    ):
        chain(identity(), 0.1)  # type: ignore[arg-type]


def test_everything_that_is_named_is_there() -> None:
    assert [*optimizers.__all__] == sorted(optimizers.__all__)
    assert all(hasattr(optimizers, name) for name in optimizers.__all__)
