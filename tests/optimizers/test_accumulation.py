"""Gathered gradients beside optax, and beside the step that one large batch makes."""

from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import adam, multi_steps, sgd
from purenn.schedules import piecewise_constant_schedule
from tests.optimizers.beside_optax import assert_agrees

SEEDS = st.integers(0, 2**32)


def ours(learning_rate: float, first: float, then: float, use_grad_mean: bool) -> Any:
    """``first`` batches for each of three steps, and ``then`` more for the others."""
    schedule = lambda step: first if step < 3 else first + then  # noqa: E731
    return multi_steps(adam(learning_rate), schedule, use_grad_mean)


def theirs(learning_rate: Any, first: Any, then: Any, use_grad_mean: bool) -> Any:
    def schedule(step: Any) -> Any:
        return jnp.where(step < 3, first, first + then).astype(jnp.int32)

    wrapped = optax.MultiSteps(
        optax.adam(learning_rate), schedule, use_grad_mean, accumulator_dtype=jnp.float64
    )
    return wrapped.gradient_transformation()


@pytest.mark.parametrize("use_grad_mean", [True, False])
@given(
    rate=st.floats(1e-4, 1),
    first=st.integers(1, 5).map(float),
    then=st.integers(0, 5).map(float),
    seed=SEEDS,
)
def test_steps_are_those_of_optax(
    rate: float, first: float, then: float, seed: int, use_grad_mean: bool
) -> None:
    hyperparams = {"learning_rate": rate, "first": first, "then": then}
    assert_agrees(ours, theirs, hyperparams, seed, static={"use_grad_mean": use_grad_mean})


@given(
    k=st.integers(1, 6),
    use_grad_mean=st.booleans(),
    donate=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=SEEDS,
)
def test_k_batches_are_as_good_as_a_large_one(
    k: int, use_grad_mean: bool, donate: bool, dtype: Any, seed: int
) -> None:
    rng, combined = np.random.default_rng(seed), np.mean if use_grad_mean else np.sum
    params = {"w": rng.normal(size=(3, 2)).astype(dtype), "b": np.ones(2, dtype)}
    optimizer = multi_steps(sgd(0.5, 0.9), k, use_grad_mean)
    state, plain = optimizer.init(params), sgd(0.5, 0.9)
    plain_state: Any = plain.init(params)
    assert all(a.dtype == np.promote_types(dtype, np.float32) for a in state.acc_grads.values())
    for step in range(2):
        batches = [
            {key: rng.normal(size=p.shape).astype(dtype) for key, p in params.items()}
            for _ in range(k)
        ]
        whole = tree.map(lambda *g: combined(g, axis=0, dtype=np.float64).astype(dtype), *batches)
        expected, plain_state = plain.update(whole, plain_state)
        for i, grads in enumerate(batches):
            before = [x.copy() for x in tree.leaves(state.inner_opt_state)]
            updates, state = optimizer.update(grads, state, donate=donate)
            if i < k - 1:
                assert not any(np.any(u) for u in updates.values())
                for x, y in zip(tree.leaves(state.inner_opt_state), before, strict=True):
                    np.testing.assert_array_equal(x, y)
        assert (state.mini_step, state.gradient_step) == (0, step + 1)
        assert not any(np.any(a) for a in state.acc_grads.values())
        for key, update in updates.items():
            rounding = 64 * float(np.finfo(dtype).eps)
            np.testing.assert_allclose(update, expected[key], rtol=rounding, atol=rounding)


def test_a_schedule_may_give_whole_floats() -> None:
    params = {"w": np.ones(2)}
    optimizer = multi_steps(sgd(0.5), piecewise_constant_schedule(1.0, {1: 2.0}))
    state = optimizer.init(params)
    moved = []
    for _ in range(5):
        updates, state = optimizer.update(params, state)
        moved.append(float(updates["w"][0]))
    assert moved == [-0.5, 0, -0.5, 0, -0.5]


def test_what_is_not_finite_lasts_for_one_step() -> None:
    """In optax it stays for good: 0·NaN is what is gathered next."""
    params = {"w": np.ones(2)}
    optimizer = multi_steps(sgd(0.5), 2)
    state = optimizer.init(params)
    moved = []
    for g in (np.nan, 1.0, 1.0, 1.0):
        updates, state = optimizer.update({"w": np.full(2, g)}, state)
        moved.append(float(updates["w"][0]))
    np.testing.assert_array_equal(moved, [0, np.nan, 0, -0.5])


@pytest.mark.usefixtures("unannotated")
def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DomainError, match="every_k_schedule is 0, expected at least 1"):
        multi_steps(sgd(0.1), 0)
    with pytest.raises(DtypeError, match=r"every_k_schedule is 2\.0, expected an int"):
        multi_steps(sgd(0.1), 2.0)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="inner is a int, expected a GradientTransformation"):
        multi_steps(2, 2)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, DomainError, r"every_k_schedule\(3\) is 0, expected at least 1"),
        (1.5, DtypeError, r"every_k_schedule\(3\) is 1\.5, expected an int"),
        (np.inf, DtypeError, r"every_k_schedule\(3\) is inf, expected an int"),
        (2, DomainError, r"opt_state\.mini_step is 2, expected less than k = 2"),
    ],
)
def test_schedules_and_states_that_are_wrong_are_refused(
    k: float, error: type[Exception], message: str
) -> None:
    grads = {"w": np.ones(2)}
    optimizer = multi_steps(sgd(0.1), lambda step: k)
    state = optimizer.init(grads)
    count = np.array(3, np.int32)
    with pytest.raises(error, match=f"multi_steps: {message}"):
        optimizer.update(
            grads, state._replace(mini_step=np.array(2, np.int32), gradient_step=count)
        )
    with pytest.raises(DomainError, match=r"opt_state\.gradient_step is -3, expected at least 0"):
        optimizer.update(grads, state._replace(gradient_step=-count))
    with pytest.raises(TreeError, match="multi_steps: opt_state is a tuple, expected MultiSteps"):
        optimizer.update(grads, ())
