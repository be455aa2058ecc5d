"""AMSGrad."""

import re
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import amsgrad, scale_by_adam, scale_by_amsgrad
from reference.optimizers import amsgrad as reference
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)
HYPERPARAMS = {
    "b1": DECAYS,
    "b2": DECAYS,
    "eps": st.floats(1e-10, 1),
    "eps_root": st.just(0.0) | st.floats(1e-10, 1),
}


@given(
    st.fixed_dictionaries({"learning_rate": st.floats(1e-5, 1), **HYPERPARAMS}),
    st.fixed_dictionaries(
        {"bias_correction_mu": st.booleans(), "bias_correction_nu": st.booleans()}
    ),
    st.integers(0, 2**32),
    DTYPES,
    st.booleans(),
)
def test_it_is_that_of_optax(
    hyperparams: Any, static: Any, seed: int, dtype: Any, signed: bool
) -> None:
    assert_agrees(amsgrad, optax.amsgrad, hyperparams, seed, dtype, signed=signed, static=static)


@given(st.booleans(), st.fixed_dictionaries(HYPERPARAMS), st.integers(0, 2**32), st.booleans())
def test_the_maximum_is_corrected_in_pytorch_and_keras(
    eps_before_correction: bool, hyperparams: Any, seed: int, signed: bool
) -> None:
    static = {"eps_before_correction": eps_before_correction}
    assert_agrees(
        scale_by_amsgrad,
        reference.scale_by_amsgrad,
        hyperparams,
        seed,
        signed=signed,
        static=static,
        ours_static={**static, "max_before_correction": True},
    )


@given(st.integers(0, 2**32))
def test_without_corrections_no_rate_grows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    optimizer = scale_by_amsgrad(b1=0, bias_correction_mu=False, bias_correction_nu=False)
    state, last = optimizer.init({"w": np.ones(5)}), np.full(5, np.inf)
    for _ in range(20):
        g = rng.normal(size=5)
        updates, state = optimizer.update({"w": g}, state)
        rate = updates["w"] / g
        assert np.all(rate <= last * (1 + 1e-14))
        last = rate


def test_the_average_has_a_dtype_of_its_own() -> None:
    grads = {"w": np.array([0.3, -70.0], np.float32)}
    optimizer = scale_by_amsgrad(mu_dtype=jnp.bfloat16)
    updates, state = optimizer.update(grads, optimizer.init(grads))
    assert (updates["w"].dtype, state.nu["w"].dtype) == (np.float32, np.float32)
    assert state.nu_max["w"].dtype == np.float32
    np.testing.assert_array_equal(
        state.mu["w"], (np.float32(0.1) * grads["w"]).astype(jnp.bfloat16)
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: amsgrad(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (lambda: amsgrad(0.1, b1=1), DomainError, "scale_by_amsgrad: b1 is 1, expected a finite"),
        (lambda: amsgrad(0.1, b2=2), DomainError, "scale_by_amsgrad: b2 is 2, expected a finite"),
        (lambda: amsgrad(0.1, eps=-1), DomainError, "scale_by_amsgrad: eps is -1, expected"),
        (lambda: amsgrad(0.1, eps_root=-1), DomainError, "eps_root is -1, expected a finite"),
        (
            lambda: amsgrad(0.1, eps_before_correction=True),
            DomainError,
            "scale_by_amsgrad: eps_before_correction is True, but max_before_correction is not",
        ),
        (
            lambda: amsgrad(0.1).init({"w": np.ones(2, np.float16)}),
            DtypeError,
            'scale_by_amsgrad: params["w"] has dtype float16, in which squares below 6e-8 are 0',
        ),
    ],
)
def test_what_is_wrong_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_of_adam_is_refused() -> None:
    params = {"w": np.ones(2)}
    message = "scale_by_amsgrad: opt_state is a ScaleByAdamState, expected ScaleByAmsgradState"
    with pytest.raises(TreeError, match=message):
        scale_by_amsgrad().update(params, scale_by_adam().init(params))
