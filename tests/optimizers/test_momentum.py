"""Plain descent, momentum in its forms, and moving averages."""

from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given

import reference.optimizers.momentum
from purenn.errors import DomainError, DtypeError
from purenn.optimizers import ema, lars, sgd, trace
from tests.optimizers.beside_optax import assert_agrees

RATES = st.just(0.0) | st.floats(1e-5, 10)
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rate=RATES, seed=SEEDS)
def test_plain_descent_is_that_of_optax(rate: float, seed: int, dtype: Any) -> None:
    assert_agrees(sgd, optax.sgd, {"learning_rate": rate}, seed, dtype, signed=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nesterov", [False, True])
@given(rate=RATES, momentum=DECAYS, seed=SEEDS, signed=st.booleans())
def test_momentum_is_that_of_optax(
    rate: float, momentum: float, seed: int, signed: bool, nesterov: bool, dtype: Any
) -> None:
    hyperparams = {"learning_rate": rate, "momentum": momentum}
    assert_agrees(
        sgd, optax.sgd, hyperparams, seed, dtype, signed=signed, static={"nesterov": nesterov}
    )


@pytest.mark.parametrize("nesterov", [False, True])
@given(rate=RATES, momentum=DECAYS, seed=SEEDS)
def test_momentum_of_steps_is_that_of_sutskever(
    rate: float, momentum: float, seed: int, nesterov: bool
) -> None:
    assert_agrees(
        sgd,
        reference.optimizers.momentum.sutskever,
        {"learning_rate": rate, "momentum": momentum},
        seed,
        static={"nesterov": nesterov},
        ours_static={"nesterov": nesterov, "rate_in_momentum": True},
    )


def test_the_two_forms_differ_when_the_rate_does() -> None:
    """η = 1, 0, 1: a step of 0 leaves a sum of steps as it was, a sum of gradients it silences."""
    grads = {"w": np.ones(())}
    taken: dict[bool, list[float]] = {}
    for inside in (False, True):
        optimizer = sgd(lambda count: (1.0, 0.0, 1.0)[count], 0.5, rate_in_momentum=inside)
        state, taken[inside] = optimizer.init(grads), []
        for _ in range(3):
            updates, state = optimizer.update(grads, state)
            taken[inside].append(float(updates["w"]))
    assert taken == {False: [-1, 0, -1.75], True: [-1, -0.5, -1.25]}


@pytest.mark.parametrize("make", ["trace", "ema"])
def test_an_accumulator_may_have_a_dtype_of_its_own(make: str) -> None:
    ours, theirs = {"trace": (trace, optax.trace), "ema": (ema, optax.ema)}[make]
    static = {"accumulator_dtype": np.float32}
    assert_agrees(ours, theirs, {"decay": 0.75}, 3, static=static, rtol=1e-5)
    state = ours(0.75, accumulator_dtype=jnp.bfloat16).init({"w": np.ones(2, np.float32)})
    _, after = ours(0.75, accumulator_dtype=jnp.bfloat16).update(
        {"w": np.ones(2, np.float32)}, state
    )
    assert after[-1]["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("debias", [False, True])
@given(decay=DECAYS, seed=SEEDS, signed=st.booleans())
def test_ema_is_that_of_optax(decay: float, seed: int, signed: bool, debias: bool) -> None:
    assert_agrees(ema, optax.ema, {"decay": decay}, seed, signed=signed, static={"debias": debias})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sgd(-0.1), DomainError, "learning_rate is -0.1, expected"),
        (lambda: sgd(float("nan")), DomainError, "learning_rate is nan, expected"),
        (lambda bad="0.1": sgd(bad), DtypeError, "learning_rate is '0.1', expected a number"),
        (lambda: sgd(0.1, 1.0), DomainError, "sgd: momentum is 1.0, expected"),
        (lambda: sgd(0.1, -0.1), DomainError, "sgd: momentum is -0.1, expected"),
        (lambda: sgd(0.1, nesterov=True), DomainError, "sgd: nesterov looks ahead by the momentum"),
        (lambda: lars(0.1, momentum=1.0), DomainError, "lars: momentum is 1.0, expected"),
        (lambda: ema(1.0), DomainError, "ema: decay is 1.0, expected"),
        (lambda bad=None: trace(bad), DtypeError, "trace: decay is None, expected a number"),
    ],
)
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str, unannotated: None
) -> None:
    with pytest.raises(error, match=message):
        make()
