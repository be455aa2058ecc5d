"""What is not finite is skipped and zeroed as in optax, or refused by path."""

import re
from functools import cache
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import (
    adam,
    apply_gradients,
    apply_if_finite,
    chain,
    masked,
    raise_if_not_finite,
    sgd,
    trace,
    zero_nans,
)

STEPS = 12
SHAPES: Any = {"a": {"kernel": (3, 2)}, "b": {"scale": (), "bias": (0,)}}
BAD = st.sampled_from([np.nan, np.inf, -np.inf])


@cache
def compiled(name: str) -> Any:
    """All updates and states of optax, from gradients and the number of errors."""
    makers: Any = {
        "apply_if_finite": lambda most: optax.apply_if_finite(optax.adam(0.1), most),
        "zero_nans": lambda most: optax.chain(optax.zero_nans(), optax.trace(0.9)),
    }

    @jax.jit
    def run(every_grads: Any, most: Any) -> Any:
        optimizer = makers[name](most)

        def step(state: Any, grads: Any) -> Any:
            updates, state = optimizer.update(grads, state)
            return state, (updates, state)

        start = optimizer.init(jax.tree.map(lambda g: g[0], every_grads))
        return jax.lax.scan(step, start, every_grads)[1]

    return run


def draw(seed: int, dtype: Any, bad: dict[int, float]) -> Any:
    """Gradients, some of which have an entry that is not finite."""
    rng = np.random.default_rng(seed)
    grads = {
        layer: {name: rng.normal(size=(STEPS, *s)).astype(dtype) for name, s in its.items()}
        for layer, its in SHAPES.items()
    }
    for step, value in bad.items():
        leaf = grads["a"]["kernel"] if step % 3 else grads["b"]["scale"]
        entries = leaf[step, ...].reshape(-1)  # a view, of a number too
        entries[step % entries.size] = value
    return grads


@pytest.mark.parametrize("name", ["apply_if_finite", "zero_nans"])
@given(
    bad=st.dictionaries(st.integers(0, STEPS - 1), BAD),
    most=st.integers(0, 4),
    seed=st.integers(0, 2**32),
    donate=st.booleans(),
)
def test_what_is_not_finite_is_met_as_in_optax(
    name: str, bad: Any, most: int, seed: int, donate: bool
) -> None:
    every_grads = draw(seed, np.float64, bad)
    expected = jax.device_get(compiled(name)(every_grads, most))
    optimizer = {
        "apply_if_finite": apply_if_finite(adam(0.1), most),
        "zero_nans": chain(zero_nans(), trace(0.9)),
    }[name]
    state = optimizer.init(tree.map(lambda g: g[0, ...], every_grads))
    for i in range(STEPS):
        grads = tree.map(lambda g, i=i: g[i, ...].copy(), every_grads)
        updates, state = optimizer.update(grads, state, donate=donate)
        got, theirs = jax.tree.leaves((updates, state)), jax.tree.leaves(expected)
        for a, b in zip(got, theirs, strict=True):
            assert (a.shape, a.dtype) == (b[i].shape, b.dtype)
            np.testing.assert_allclose(a, b[i], rtol=1e-12, atol=1e-12)


def test_a_skipped_step_leaves_the_inner_state_as_it_is() -> None:
    params = {"w": np.ones(3)}
    optimizer = apply_if_finite(adam(0.1), 1)
    state = optimizer.init(params)
    updates, after = optimizer.update({"w": np.array([1, np.nan, 2])}, state)
    np.testing.assert_array_equal(updates["w"], 0)
    assert all(a is b for a, b in zip(
        tree.leaves(after.inner_state), tree.leaves(state.inner_state), strict=True
    ))  # fmt: skip
    assert (after.notfinite_count, after.last_finite, after.total_notfinite) == (1, False, 1)


@given(
    values=st.lists(st.floats(width=32), max_size=6),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_nans_alone_become_0(values: list[float], dtype: Any) -> None:
    with np.errstate(over="ignore"):
        grads = {"w": np.array(values, dtype)}
    optimizer = zero_nans()
    updates, state = optimizer.update(grads, optimizer.init(grads))
    is_nan = np.isnan(grads["w"])
    np.testing.assert_array_equal(updates["w"], np.where(is_nan, 0, grads["w"]))
    assert state.found_nan["w"] == is_nan.any()
    assert updates["w"].dtype == dtype
    assert is_nan.any() or updates["w"] is grads["w"]


@given(bad=BAD, count=st.integers(1, 6), position=st.integers(0, 5), donate=st.booleans())
def test_it_is_refused_by_path_before_anything_is_written(
    bad: float, count: int, position: int, donate: bool
) -> None:
    params = {"fine": np.full(2, 1e308), "layer": {"kernel": np.ones((2, 3))}}
    grads: Any = {"fine": np.full(2, 1e308), "layer": {"kernel": np.ones((2, 3))}}
    bad_entries = sorted({(position + i) % 6 for i in range(count)})
    grads["layer"]["kernel"].reshape(-1)[bad_entries] = bad
    index = [bad_entries[0] // 3, bad_entries[0] % 3]
    optimizer = chain(raise_if_not_finite(), adam(0.1))
    state = optimizer.init(params)
    arrays = tree.leaves((params, grads, state))
    before = [x.copy() for x in arrays]
    message = (
        f'raise_if_not_finite: updates["layer"]["kernel"]{index} is {bad}, expected finite '
        f"numbers; {count} of 6 are not"
    )
    with pytest.raises(DomainError, match=re.escape(message)):
        apply_gradients(optimizer, grads, state, params, donate=donate)
    for x, y in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_scalar_has_a_path_and_what_is_masked_is_not_looked_at() -> None:
    grads = {"scale": np.array(np.inf), "w": np.ones(2)}
    with pytest.raises(DomainError, match=r'updates\["scale"\] is inf, expected finite'):
        raise_if_not_finite().update(grads, raise_if_not_finite().init(grads))
    optimizer = masked(raise_if_not_finite(), lambda path: path == ("w",))
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    assert all(updates[key] is grads[key] for key in grads)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_sum_that_overflows_is_no_error(dtype: Any) -> None:
    grads = {"w": np.full(1000, np.finfo(dtype).max)}
    optimizer = raise_if_not_finite()
    assert optimizer.update(grads, optimizer.init(grads))[0]["w"] is grads["w"]
    safe = apply_if_finite(sgd(0.5), 3)
    updates, state = safe.update(grads, safe.init(grads))
    np.testing.assert_array_equal(updates["w"], -grads["w"] / 2)
    assert state.last_finite


@pytest.mark.usefixtures("unannotated")
def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="max_consecutive_errors is -1, expected at least 0"):
        apply_if_finite(sgd(0.1), -1)
    with pytest.raises(DtypeError, match=r"max_consecutive_errors is 1\.5, expected an int"):
        apply_if_finite(sgd(0.1), 1.5)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="inner is a float, expected a GradientTransformation"):
        apply_if_finite(0.1, 1)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unannotated")
def test_states_that_are_wrong_are_refused() -> None:
    grads = {"w": np.ones(2)}
    optimizer = apply_if_finite(sgd(0.1), 1)
    state = optimizer.init(grads)
    with pytest.raises(TreeError, match="apply_if_finite: opt_state is a tuple, expected"):
        optimizer.update(grads, ())
    for field in ("notfinite_count", "total_notfinite"):
        backwards = state._replace(**{field: np.array(-1, np.int32)})
        with pytest.raises(DomainError, match=f"opt_state.{field} is -1, expected at least 0"):
            optimizer.update(grads, backwards)
    with pytest.raises(TreeError, match="zero_nans: opt_state is a EmptyState, expected ZeroNans"):
        zero_nans().update(grads, sgd(0.1).init(grads)[0])
    with pytest.raises(DtypeError, match=r'zero_nans: params\["w"\] has dtype int64'):
        zero_nans().init({"w": np.ones(2, np.int64)})
