"""Rprop."""

import math
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import rprop, scale_by_rprop, sgd
from reference.optimizers import rprop as reference
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.bowl import assert_follows

HYPERPARAMS = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-2, 1),
        "eta_minus": st.floats(0.1, 1),
        "eta_plus": st.floats(1, 2),
        "min_step_size": st.floats(1e-6, 1e-2),
        "max_step_size": st.floats(1, 100),
    }
)
SEEDS = st.integers(0, 2**32)
GRADS = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e300, math.inf, -math.inf, math.nan]),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(HYPERPARAMS, SEEDS)
def test_it_is_that_of_optax(dtype: Any, hyperparams: dict[str, float], seed: int) -> None:
    assert_agrees(rprop, optax.rprop, hyperparams, seed, dtype, signed=True)


@given(HYPERPARAMS, SEEDS, st.booleans())
def test_without_delay_it_is_that_of_the_paper(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    assert_agrees(
        rprop, reference.rprop, hyperparams, seed, signed=signed, ours_static={"delayed": False}
    )


def test_the_first_steps_are_those_of_the_paper() -> None:
    def by_hand(p: float) -> Iterator[float]:
        size, before = 0.1, 0.0
        while True:
            g = 2 * p
            if g * before > 0:
                size = min(size * 1.2, 50.0)
            elif g * before < 0:
                size = max(size * 0.5, 1e-6)
                g = 0.0
            p -= math.copysign(size, g) if g else 0.0
            before = g
            yield p

    assert_follows(rprop(0.1, delayed=False), by_hand)


_their_step = jax.jit(optax.scale_by_rprop(0.1).update)


@given(GRADS)
def test_hard_numbers_pass_as_in_optax(grads: list[float]) -> None:
    ours = scale_by_rprop(0.1)
    params = {"w": np.zeros(1)}
    state, their_state = ours.init(params), optax.scale_by_rprop(0.1).init(params)
    for g in grads:
        got, state = ours.update({"w": np.array([g])}, state)
        expected, their_state = _their_step({"w": np.array([g])}, their_state)
        for a, b in zip(
            jax.tree.leaves((got, state)), jax.tree.leaves((expected, their_state)), strict=True
        ):
            np.testing.assert_allclose(a, b, 1e-14)


@given(st.lists(st.sampled_from([0.0, 1.0, -1.0]), min_size=2, max_size=20))
def test_the_delay_is_one_update_unless_the_gradient_turns(signs: list[float]) -> None:
    steps: list[list[float]] = []
    for delayed in (False, True):
        optimizer = scale_by_rprop(0.1, delayed=delayed)
        state = optimizer.init({"w": np.zeros(1)})
        steps.append([])
        for sign in signs:
            updates, state = optimizer.update({"w": np.array([sign])}, state)
            steps[-1].append(float(updates["w"][0]))
    prompt, late = steps
    assert late[0] == 0
    for sign, before, step in zip(signs[1:], prompt, late[1:], strict=False):
        assert step == (0 if sign * before < 0 else before)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (60.0,),
            DomainError,
            "learning_rate is 60.0, expected a finite number ≥ 1e-06 and ≤ 50.0",
        ),
        ((0.0,), DomainError, "learning_rate is 0.0, expected a finite number ≥ 1e-06 and ≤ 50.0"),
        ((0.1, 0.0), DomainError, "eta_minus is 0.0, expected a finite number > 0 and ≤ 1"),
        ((0.1, 1.1), DomainError, "eta_minus is 1.1, expected a finite number > 0 and ≤ 1"),
        ((0.1, 0.5, 0.9), DomainError, "eta_plus is 0.9, expected a finite number ≥ 1"),
        ((0.1, 0.5, 1.2, -1.0), DomainError, "min_step_size is -1.0, expected a finite number ≥ 0"),
        ((0.1, 0.5, 1.2, 1.0, 0.5), DomainError, "max_step_size is 0.5, expected .* ≥ 1.0"),
        ((lambda count: 0.1,), DtypeError, "learning_rate is <function .*>, expected a number"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"scale_by_rprop: {message}"):
        rprop(*arguments)


@pytest.mark.usefixtures("unannotated")
def test_another_state_is_refused() -> None:
    params = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="is a EmptyState, expected ScaleByRpropState"):
        scale_by_rprop(0.1).update(params, sgd(0.1).init(params)[0])
