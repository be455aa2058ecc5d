"""AdaMax."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import ScaleByBeliefState, adamax, scale_by_adamax
from reference.optimizers import adamax as reference
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)
HYPERPARAMS = {"b1": DECAYS, "b2": DECAYS, "eps": st.floats(1e-10, 1)}


@given(
    st.fixed_dictionaries({"learning_rate": st.floats(1e-5, 1), **HYPERPARAMS}),
    st.integers(0, 2**32),
    DTYPES,
    st.booleans(),
)
def test_it_is_that_of_optax(hyperparams: Any, seed: int, dtype: Any, signed: bool) -> None:
    assert_agrees(adamax, optax.adamax, hyperparams, seed, dtype, signed=signed)


@given(st.fixed_dictionaries(HYPERPARAMS), st.integers(0, 2**32), st.booleans())
def test_eps_is_beside_the_maximum_in_keras(hyperparams: Any, seed: int, signed: bool) -> None:
    assert_agrees(
        scale_by_adamax,
        reference.scale_by_adamax,
        hyperparams,
        seed,
        signed=signed,
        ours_static={"eps_in_max": False},
    )


def test_a_constant_gradient_moves_by_the_rate() -> None:
    grads = {"a": np.array([1e-3, -5.0, 1e3])}
    optimizer = adamax(0.1, eps=0)
    state = optimizer.init(grads)
    for _ in range(5):
        updates, state = optimizer.update(grads, state)
        np.testing.assert_allclose(updates["a"], [-0.1, 0.1, -0.1], rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adamax(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (lambda: adamax(0.1, b1=1), DomainError, "scale_by_adamax: b1 is 1, expected a finite"),
        (lambda: adamax(0.1, b2=-0.1), DomainError, "scale_by_adamax: b2 is -0.1, expected"),
        (lambda: adamax(0.1, eps=np.nan), DomainError, "scale_by_adamax: eps is nan, expected"),
        (lambda: scale_by_adamax("0.9"), DtypeError, "b1 is '0.9', expected a number"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_of_another_is_refused() -> None:
    params = {"w": np.ones(2)}
    state = ScaleByBeliefState(np.zeros((), np.int32), params, params)
    message = "scale_by_adamax: opt_state is a ScaleByBeliefState, expected ScaleByAdamState"
    with pytest.raises(TreeError, match=message):
        scale_by_adamax().update(params, state)
