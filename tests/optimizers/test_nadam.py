"""NAdam, its schedule of the momentum, and NAdamW."""

import re
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import nadam, nadamw, scale_by_adam, scale_by_nadam
from reference.optimizers import nadam as reference
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
HYPERPARAMS = {
    "b1": st.just(0.0) | st.floats(1e-3, 0.9999),
    "b2": st.floats(1e-3, 0.9999),
    "eps": st.floats(1e-10, 1),
    "eps_root": st.just(0.0) | st.floats(1e-10, 1),
}
RATES = {"learning_rate": st.floats(1e-5, 1)}


@given(
    st.fixed_dictionaries({**RATES, **HYPERPARAMS}), st.integers(0, 2**32), DTYPES, st.booleans()
)
def test_without_a_schedule_it_is_that_of_optax(
    hyperparams: Any, seed: int, dtype: Any, signed: bool
) -> None:
    assert_agrees(nadam, optax.nadam, hyperparams, seed, dtype, signed=signed)


@given(
    st.fixed_dictionaries({**RATES, **HYPERPARAMS, "weight_decay": st.floats(1e-4, 1)}),
    st.integers(0, 2**32),
)
def test_nadamw_is_that_of_optax(hyperparams: Any, seed: int) -> None:
    assert_agrees(nadamw, optax.nadamw, hyperparams, seed, signed=True)


@given(
    st.booleans(),
    st.fixed_dictionaries({**HYPERPARAMS, "momentum_decay": st.just(0.0) | st.floats(1e-3, 2)}),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_the_momentum_is_scheduled(
    as_published: bool, hyperparams: Any, seed: int, signed: bool
) -> None:
    assert_agrees(
        scale_by_nadam,
        reference.scale_by_nadam,
        hyperparams,
        seed,
        signed=signed,
        static={"as_published": as_published},
    )


def test_nadamw_has_the_schedule_too() -> None:
    params, grads = {"w": np.array([2.0, -3.0])}, {"w": np.array([0.5, 0.25])}
    plain = nadam(0.1, momentum_decay=1, as_published=True)
    decayed = nadamw(0.1, weight_decay=0.5, momentum_decay=1, as_published=True)
    expected, _ = plain.update(grads, plain.init(params))
    got, _ = decayed.update(grads, decayed.init(params), params)
    np.testing.assert_allclose(got["w"], expected["w"] - 0.1 * 0.5 * params["w"], rtol=1e-14)


@pytest.mark.parametrize("momentum_decay", [None, 0.004])
def test_the_average_has_a_dtype_of_its_own(momentum_decay: float | None) -> None:
    grads = {"w": np.array([0.3, -70.0], np.float32)}
    optimizer = scale_by_nadam(mu_dtype=jnp.bfloat16, momentum_decay=momentum_decay)
    updates, state = optimizer.update(grads, optimizer.init(grads))
    assert (updates["w"].dtype, state.nu["w"].dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(
        state.mu["w"], (np.float32(0.1) * grads["w"]).astype(jnp.bfloat16)
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nadam(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (
            lambda: nadam(0.1, momentum_decay=-1),
            DomainError,
            "scale_by_nadam: momentum_decay is -1, expected a finite number ≥ 0",
        ),
        (
            lambda: nadam(0.1, b1=1, momentum_decay=1),
            DomainError,
            "scale_by_nadam: b1 is 1, expected a finite number ≥ 0 and < 1",
        ),
        (
            lambda: nadam(0.1, b2=0, momentum_decay=1, as_published=True),
            DomainError,
            "scale_by_nadam: b2 is 0.0, expected a finite number > 0",
        ),
        (
            lambda: nadam(0.1, as_published=True),
            DomainError,
            "scale_by_nadam: as_published is True, but momentum_decay is None",
        ),
        (
            lambda: nadamw(0.1, weight_decay=-1),
            DomainError,
            "add_decayed_weights: weight_decay is -1, expected a finite number ≥ 0",
        ),
        (lambda: nadam(0.1, momentum_decay=True), DtypeError, "momentum_decay is True, expected"),
    ],
)
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_without_a_schedule_is_refused() -> None:
    params = {"w": np.ones(2)}
    message = "scale_by_nadam: opt_state is a ScaleByAdamState, expected ScaleByNadamState"
    with pytest.raises(TreeError, match=message):
        scale_by_nadam(momentum_decay=1).update(params, scale_by_adam().init(params))
