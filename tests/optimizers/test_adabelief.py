"""AdaBelief."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import adabelief, scale_by_adam, scale_by_belief
from tests.optimizers.beside_optax import assert_agrees, draw_trees, taken

HYPERPARAMS = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-5, 1),
        "b1": st.just(0.0) | st.floats(1e-3, 0.9999),
        "b2": st.just(0.0) | st.floats(1e-3, 0.9999),
        "eps": st.floats(1e-10, 1),
        "eps_root": st.floats(1e-16, 1),
    }
)


@given(
    st.booleans(),
    HYPERPARAMS,
    st.integers(0, 2**32),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_it_is_that_of_optax(
    nesterov: bool, hyperparams: Any, seed: int, dtype: Any, signed: bool
) -> None:
    # In optax g − m loses a factor of 1/β₁ where m is nearly g.
    b1 = hyperparams["b1"]
    rtol = None
    if dtype == np.float32 and b1:
        rtol = float(np.finfo(dtype).eps) * max(64, 4 / b1)
    assert_agrees(
        adabelief,
        optax.adabelief,
        hyperparams,
        seed,
        dtype,
        rtol,
        signed=signed,
        static={"nesterov": nesterov},
    )


@given(st.floats(1e-3, 0.1), st.integers(0, 2**32))
def test_a_small_b1_costs_no_digits(b1: float, seed: int) -> None:
    every_grads = draw_trees(seed, np.float32, 5, signed=True)
    optimizer = scale_by_belief(b1, 0.9, 1e-8, 1e-8)
    params = taken(every_grads, 0)
    state = optimizer.init(params)
    m = s = np.float64(0)
    b1_s = np.float64(b1)
    for i in range(5):
        grads = taken(every_grads, i)
        _, state = optimizer.update(grads, state)
        g = grads["a"]["kernel"].astype(np.float64)
        m = b1_s * m + (1 - b1_s) * g
        s = 0.9 * s + 0.1 * (g - m) ** 2 + 1e-8
        np.testing.assert_allclose(state.nu["a"]["kernel"], s, rtol=2e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adabelief(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥"),
        (lambda: adabelief(0.1, b1=1), DomainError, "scale_by_belief: b1 is 1, expected a finite"),
        (lambda: adabelief(0.1, b2=1), DomainError, "scale_by_belief: b2 is 1, expected a finite"),
        (lambda: adabelief(0.1, eps=-1), DomainError, "scale_by_belief: eps is -1, expected"),
        (lambda: adabelief(0.1, eps_root=-1), DomainError, "eps_root is -1, expected a finite"),
        (
            lambda: adabelief(0.1).init({"w": np.ones(2, np.float16)}),
            DtypeError,
            'scale_by_belief: params["w"] has dtype float16, in which squares below 6e-8 are 0',
        ),
    ],
)
def test_what_is_wrong_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_of_adam_is_refused() -> None:
    params = {"w": np.ones(2)}
    message = "scale_by_belief: opt_state is a ScaleByAdamState, expected ScaleByBeliefState"
    with pytest.raises(TreeError, match=message):
        scale_by_belief().update(params, scale_by_adam().init(params))
