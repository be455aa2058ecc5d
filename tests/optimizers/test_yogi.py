"""Yogi."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import scale_by_belief, scale_by_yogi, yogi
from reference.optimizers import yogi as reference
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)
HYPERPARAMS = {"b1": DECAYS, "b2": DECAYS, "eps": st.floats(1e-10, 1)}
STARTS = st.just(0.0) | st.floats(1e-8, 10)


@given(
    st.fixed_dictionaries(
        {
            **HYPERPARAMS,
            "eps_root": st.just(0.0) | st.floats(1e-10, 1),
            "initial_accumulator_value": STARTS,
        }
    ),
    st.integers(0, 2**32),
    DTYPES,
)
def test_it_is_that_of_optax(hyperparams: Any, seed: int, dtype: Any) -> None:
    # Signed: m starts above 0, and a negative gradient cancels it.
    assert_agrees(scale_by_yogi, optax.scale_by_yogi, hyperparams, seed, dtype, signed=True)


@given(
    st.booleans(),
    st.fixed_dictionaries(
        {**HYPERPARAMS, "initial_accumulator_value": STARTS, "initial_mu": st.floats(-1, 1)}
    ),
    st.integers(0, 2**32),
)
def test_it_is_as_published_and_as_in_tensorflow_addons(
    bias_correction: bool, hyperparams: Any, seed: int
) -> None:
    static = {"bias_correction": bias_correction}
    assert_agrees(
        scale_by_yogi,
        reference.scale_by_yogi,
        hyperparams,
        seed,
        signed=True,
        static=static,
        ours_static={**static, "eps_before_correction": True},
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"initial_accumulator_value": 2.0},
        {"initial_mu": 0.0, "eps_before_correction": True},
        {"bias_correction": False},
    ],
)
def test_yogi_goes_down_at_the_rate(options: Any) -> None:
    grads = {"w": np.array([0.5, -2.0])}
    inner, optimizer = scale_by_yogi(0.8, 0.9, 0.1, **options), yogi(0.25, 0.8, 0.9, 0.1, **options)
    expected, expected_state = inner.update(grads, inner.init(grads))
    updates, (state, _) = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_array_equal(updates["w"], -0.25 * expected["w"])
    np.testing.assert_array_equal(state.mu["w"], expected_state.mu["w"])
    np.testing.assert_array_equal(state.nu["w"], expected_state.nu["w"])


def test_the_defaults_are_those_of_optax() -> None:
    grads = {"w": np.array([0.5, -2.0])}
    theirs = optax.yogi(0.1)
    expected, _ = theirs.update(grads, theirs.init(grads))
    updates, _ = yogi(0.1).update(grads, yogi(0.1).init(grads))
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-13)


def test_the_average_stays_where_it_is_the_square() -> None:
    optimizer = scale_by_yogi(initial_accumulator_value=4)
    _, state = optimizer.update({"w": np.full(2, 2.0)}, optimizer.init({"w": np.ones(2)}))
    np.testing.assert_array_equal(state.nu["w"], [4, 4])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: yogi(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (lambda: yogi(0.1, b1=1), DomainError, "scale_by_yogi: b1 is 1, expected a finite"),
        (lambda: yogi(0.1, b2=1), DomainError, "scale_by_yogi: b2 is 1, expected a finite"),
        (lambda: yogi(0.1, eps=-1), DomainError, "scale_by_yogi: eps is -1, expected"),
        (lambda: scale_by_yogi(eps_root=-1), DomainError, "eps_root is -1, expected a finite"),
        (
            lambda: yogi(0.1, initial_accumulator_value=-1),
            DomainError,
            "scale_by_yogi: initial_accumulator_value is -1, expected a finite number ≥ 0",
        ),
        (lambda: yogi(0.1, initial_mu=np.inf), DomainError, "initial_mu is inf, expected a finite"),
        (lambda: yogi(0.1, initial_mu=True), DtypeError, "initial_mu is True, expected a number"),
    ],
)
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_of_another_is_refused() -> None:
    params = {"w": np.ones(2)}
    message = "scale_by_yogi: opt_state is a ScaleByBeliefState, expected ScaleByAdamState"
    with pytest.raises(TreeError, match=message):
        scale_by_yogi().update(params, scale_by_belief().init(params))
