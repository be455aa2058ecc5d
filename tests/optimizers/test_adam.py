"""Adam and AdamW."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.optimizers import adam, adamw
from tests.optimizers.beside_optax import assert_agrees

RATES = st.floats(1e-5, 1)
DECAYS = st.just(0.0) | st.floats(1e-3, 0.9999)
EPS = st.floats(1e-10, 1)
ROOTS = st.just(0.0) | st.floats(1e-10, 1)
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nesterov", [False, True])
@given(rate=RATES, b1=DECAYS, b2=DECAYS, eps=EPS, eps_root=ROOTS, seed=SEEDS, signed=st.booleans())
def test_adam_is_that_of_optax(
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    eps_root: float,
    seed: int,
    signed: bool,
    nesterov: bool,
    dtype: Any,
) -> None:
    hyperparams = {"learning_rate": rate, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    assert_agrees(
        adam, optax.adam, hyperparams, seed, dtype, signed=signed, static={"nesterov": nesterov}
    )
