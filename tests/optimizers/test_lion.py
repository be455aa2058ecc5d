"""Lion."""

import math
import re
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import lion, scale_by_adam, scale_by_lion
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)


@given(
    st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-5, 1),
            "b1": DECAYS,
            "b2": DECAYS,
            "weight_decay": st.floats(1e-4, 1),
        }
    ),
    st.integers(0, 2**32),
    DTYPES,
)
def test_it_is_that_of_optax(hyperparams: Any, seed: int, dtype: Any) -> None:
    assert_agrees(lion, optax.lion, hyperparams, seed, dtype, signed=True)


@given(
    st.sampled_from(["smooth", "refined"]),
    st.fixed_dictionaries({"b1": DECAYS, "b2": DECAYS, "smooth_beta": st.floats(1e-3, 10)}),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_other_signs_are_those_of_optax(
    mode: str, hyperparams: Any, seed: int, signed: bool
) -> None:
    static = {"mode": mode}
    assert_agrees(
        scale_by_lion, optax.scale_by_lion, hyperparams, seed, signed=signed, static=static
    )


def test_the_average_has_a_dtype_of_its_own() -> None:
    grads = {"w": np.array([0.3, -70.0], np.float32)}
    optimizer = scale_by_lion(0.5, 0.75, jnp.bfloat16)
    updates, state = optimizer.update(grads, optimizer.init(grads))
    assert updates["w"].dtype == np.float32
    np.testing.assert_array_equal(state.mu["w"], (grads["w"] / 4).astype(jnp.bfloat16))


@given(st.lists(st.floats(width=32), min_size=1), DTYPES)
@example([1e-45, -1e-45, math.inf, math.nan, 0.0], np.float32)
@example([5e-324, -5e-324, math.inf, math.nan, 0.0], np.float64)
def test_the_sign_is_right_for_every_number(values: list[float], dtype: Any) -> None:
    grads = {"w": np.array(values, dtype)}
    optimizer = scale_by_lion(b1=0)
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_array_equal(updates["w"], np.sign(grads["w"]))


def test_the_mask_says_what_decays() -> None:
    params = {"kernel": np.ones(1), "bias": np.ones(1)}
    optimizer = lion(0.1, weight_decay=0.5, mask=lambda path: path[-1] == "kernel")
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.15, rtol=1e-15)
    np.testing.assert_allclose(updates["bias"], -0.1, rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lion(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (lambda: lion(0.1, b1=1), DomainError, "scale_by_lion: b1 is 1, expected a finite"),
        (lambda: lion(0.1, b2=-1), DomainError, "scale_by_lion: b2 is -1, expected a finite"),
        (lambda: lion(0.1, weight_decay=-1), DomainError, "weight_decay is -1, expected a finite"),
        (
            lambda: scale_by_lion(mode="soft"),  # type: ignore[arg-type]
            DomainError,
            "scale_by_lion: mode is 'soft', expected one of ['hard', 'smooth', 'refined']",
        ),
        (lambda: scale_by_lion(smooth_beta=0), DomainError, "smooth_beta is 0, expected a finite"),
        (lambda: lion(0.1, b1="0.9"), DtypeError, "b1 is '0.9', expected a number"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.usefixtures("unannotated")
def test_the_state_of_adam_is_refused() -> None:
    params = {"w": np.ones(2)}
    message = "scale_by_lion: opt_state is a ScaleByAdamState, expected ScaleByLionState"
    with pytest.raises(TreeError, match=message):
        scale_by_lion().update(params, scale_by_adam().init(params))


def test_decay_needs_the_parameters() -> None:
    grads = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="params is None, expected the parameters"):
        lion(0.1).update(grads, lion(0.1).init(grads))
