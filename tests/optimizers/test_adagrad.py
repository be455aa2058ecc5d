"""Adagrad."""

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
from purenn.optimizers import adagrad, scale_by_rss, sgd
from reference.optimizers import adagrad as reference
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.bowl import assert_follows

HYPERPARAMS = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-5, 1),
        "initial_accumulator_value": st.just(0.0) | st.floats(1e-3, 1e3),
        "eps": st.just(0.0) | st.floats(1e-10, 1),
    }
)
SEEDS = st.integers(0, 2**32)
# Their squares overflow, underflow, or are not finite.
HARD = st.lists(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-200, 1e200, math.inf, -math.inf, math.nan]),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(HYPERPARAMS, SEEDS, st.booleans())
def test_it_is_that_of_optax(
    dtype: Any, hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    assert_agrees(adagrad, optax.adagrad, hyperparams, seed, dtype, signed=signed)


@given(HYPERPARAMS, SEEDS, st.booleans())
def test_epsilon_outside_the_root_is_that_of_the_paper(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    assert_agrees(
        adagrad, reference.adagrad, hyperparams, seed, signed=signed,
        ours_static={"eps_in_sqrt": False},
    )  # fmt: skip


def test_the_first_steps_are_those_of_the_paper() -> None:
    def by_hand(p: float) -> Iterator[float]:
        a = 0.0
        while True:
            g = 2 * p
            a += g**2
            p -= 0.01 * g / (math.sqrt(a) + 1e-10)
            yield p

    assert_follows(adagrad(0.01, 0.0, 1e-10, eps_in_sqrt=False), by_hand)


_their_step = jax.jit(lambda start, eps, g, a: optax.scale_by_rss(start, eps).update(g, a))


@given(HARD, st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 1e-7]))
def test_hard_numbers_pass_as_in_optax(grads: list[float], start: float, eps: float) -> None:
    ours = scale_by_rss(start, eps)
    params = {"w": np.zeros(1)}
    state, their_state = ours.init(params), optax.scale_by_rss(start, eps).init(params)
    for g in grads:
        got, state = ours.update({"w": np.array([g])}, state)
        expected, their_state = _their_step(start, eps, {"w": np.array([g])}, their_state)
        np.testing.assert_allclose(got["w"], expected["w"], 1e-14)
        np.testing.assert_allclose(state.sum_of_squares["w"], their_state.sum_of_squares["w"])


@pytest.mark.parametrize("eps_in_sqrt", [False, True])
@pytest.mark.parametrize("eps", [0.0, 1e-7])
def test_what_never_had_a_gradient_stays(eps: float, eps_in_sqrt: bool) -> None:
    optimizer = adagrad(1.0, 0.0, eps, eps_in_sqrt=eps_in_sqrt)
    grads = {"w": np.array([0.0, 2.0])}
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_allclose(updates["w"], [0.0, -1.0], 1e-7)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-0.1,), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        ((0.1, -1.0), DomainError, "rss: initial_accumulator_value is -1.0, expected a finite"),
        ((0.1, 0.1, -1e-7), DomainError, "rss: eps is -1e-07, expected a finite number ≥ 0"),
        ((0.1, 0.1, math.nan), DomainError, "rss: eps is nan, expected a finite number ≥ 0"),
        ((0.1, 0.1, "0"), DtypeError, "rss: eps is '0', expected a number"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adagrad(*arguments)


def test_float16_is_refused() -> None:
    with pytest.raises(DtypeError, match=r'params\["w"\] has dtype float16, in which squares'):
        adagrad(0.1).init({"w": np.ones(2, np.float16)})


@pytest.mark.usefixtures("unannotated")
def test_another_state_is_refused() -> None:
    params = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="opt_state is a EmptyState, expected ScaleByRssState"):
        scale_by_rss().update(params, sgd(0.1).init(params)[0])
