"""Adadelta."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

import reference.optimizers.adadelta
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import adadelta, apply_gradients, scale_by_adadelta, sgd
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.bowl import assert_follows

HYPERPARAMS = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-5, 1),
        "rho": st.just(0.0) | st.floats(1e-3, 0.9999),
        "eps": st.floats(1e-10, 1),
        "weight_decay": st.floats(1e-6, 1),
    }
)
SEEDS = st.integers(0, 2**32)
MASK = {"a": {"kernel": True, "bias": False}, "b": True, "empty": False}
MASKED, THEIRS_MASKED = (
    partial(make, weight_decay_mask=MASK) for make in (adadelta, optax.adadelta)
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(HYPERPARAMS, SEEDS)
def test_it_is_that_of_optax(dtype: Any, hyperparams: dict[str, float], seed: int) -> None:
    # Gradients and decay have different signs: what cancels is relative to the largest.
    assert_agrees(adadelta, optax.adadelta, hyperparams, seed, dtype, signed=True)


@given(HYPERPARAMS, SEEDS, st.booleans())
def test_without_rate_and_decay_it_is_that_of_optax(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    its = {name: hyperparams[name] for name in ("rho", "eps")}
    assert_agrees(adadelta, optax.adadelta, its, seed, signed=signed)


@given(HYPERPARAMS, SEEDS)
def test_masked_decay_is_that_of_optax(hyperparams: dict[str, float], seed: int) -> None:
    assert_agrees(MASKED, THEIRS_MASKED, hyperparams, seed, signed=True)


@given(HYPERPARAMS, SEEDS)
def test_epsilon_may_stand_outside_the_roots(hyperparams: dict[str, float], seed: int) -> None:
    its = {name: hyperparams[name] for name in ("learning_rate", "rho", "eps")}
    ours = {"eps_in_sqrt": False}
    assert_agrees(
        adadelta, reference.optimizers.adadelta.adadelta, its, seed, static={}, ours_static=ours
    )


def test_the_first_steps_are_those_of_the_paper() -> None:
    def by_hand(p: float) -> Iterator[float]:
        rho, eps, squares, squared_steps = 0.95, 1e-6, 0.0, 0.0
        while True:
            g = 2 * p
            squares = rho * squares + (1 - rho) * g**2
            step = -math.sqrt(squared_steps + eps) / math.sqrt(squares + eps) * g
            squared_steps = rho * squared_steps + (1 - rho) * step**2
            p += step
            yield p

    assert_follows(adadelta(1.0, 0.95), by_hand)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_steps_do_not_depend_on_the_units_of_the_loss(p: float, unit: float) -> None:
    """As the paper has it: ε apart, only a parameter's own units count."""
    optimizer = adadelta(1.0, 0.95, 0.0)
    grads = {"w": np.array([p or 1.0])}
    state = optimizer.init(grads)
    # With ε = 0 nothing would ever move: let it start from a step of 1.
    state = (state[0], state[1]._replace(e_x={"w": np.ones(1)}), state[2])
    steps = []
    for factor in (1.0, unit):
        scaled = {"w": grads["w"] * factor}
        new, _ = apply_gradients(optimizer, scaled, state, {"w": np.zeros(1)})
        steps.append(new["w"])
    np.testing.assert_allclose(steps[1], steps[0], 1e-14)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-0.1,), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        ((1.0, 1.0), DomainError, "adadelta: rho is 1.0, expected a finite number ≥ 0 and < 1"),
        ((1.0, -0.1), DomainError, "adadelta: rho is -0.1, expected a finite number ≥ 0 and < 1"),
        ((1.0, 0.9, math.inf), DomainError, "adadelta: eps is inf, expected a finite number ≥ 0"),
        ((1.0, 0.9, 1e-6, -1.0), DomainError, "decayed_weights: weight_decay is -1.0, expected"),
        (("1",), DtypeError, "learning_rate is '1', expected a number"),
        ((1.0, None), DtypeError, "adadelta: rho is None, expected a number"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adadelta(*arguments)


def test_it_wants_parameters() -> None:
    params = {"w": np.ones(2)}
    optimizer = adadelta(1.0)
    with pytest.raises(TreeError, match="update: params is None, expected the parameters"):
        optimizer.update(params, optimizer.init(params))


def test_float16_is_refused() -> None:
    with pytest.raises(DtypeError, match=r'params\["w"\] has dtype float16, in which squares'):
        adadelta(1.0).init({"w": np.ones(2, np.float16)})


@pytest.mark.usefixtures("unannotated")
def test_another_state_is_refused() -> None:
    params = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="is a EmptyState, expected ScaleByAdaDeltaState"):
        scale_by_adadelta().update(params, sgd(0.1).init(params)[0])
