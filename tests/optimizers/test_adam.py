"""Adam and AdamW."""

from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

import reference.optimizers.adam
from purenn.errors import DomainError, DtypeError
from purenn.optimizers import adam, adamw
from purenn.regularizers import is_weight
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


def kernels(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def theirs_masked(**hyperparams: Any) -> Any:
    return optax.adamw(mask=kernels, **hyperparams)


def ours_masked(**hyperparams: Any) -> Any:
    return adamw(mask=is_weight, **hyperparams)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(adamw, optax.adamw), (ours_masked, theirs_masked)], ids=["all", "masked"]
)
@given(rate=RATES, b1=DECAYS, b2=DECAYS, eps=EPS, decay=st.floats(1e-4, 0.5), seed=SEEDS)
def test_adamw_is_that_of_optax(
    rate: float, b1: float, b2: float, eps: float, decay: float, seed: int, ours: Any, theirs: Any
) -> None:
    hyperparams = {"learning_rate": rate, "b1": b1, "b2": b2, "eps": eps, "weight_decay": decay}
    assert_agrees(ours, theirs, hyperparams, seed, signed=True)


@given(
    rate=RATES,
    b1=DECAYS,
    b2=DECAYS,
    eps=EPS,
    decay=st.none() | st.floats(1e-4, 0.5),
    seed=SEEDS,
    signed=st.booleans(),
)
def test_epsilon_may_be_added_before_the_correction(
    rate: float, b1: float, b2: float, eps: float, decay: float | None, seed: int, signed: bool
) -> None:
    hyperparams = {"learning_rate": rate, "b1": b1, "b2": b2, "eps": eps}
    make: Any = adam if decay is None else adamw
    theirs = getattr(reference.optimizers.adam, make.__name__)
    if decay is not None:
        hyperparams["weight_decay"] = decay
    ours = {"eps_before_correction": True}
    assert_agrees(make, theirs, hyperparams, seed, signed=signed, ours_static=ours)


def test_the_average_of_gradients_may_have_a_dtype_of_its_own() -> None:
    static = {"mu_dtype": np.float32}
    assert_agrees(adam, optax.adam, {"learning_rate": 0.1}, 3, rtol=1e-5, static=static)


def test_the_first_steps_of_adam_are_the_rate() -> None:
    grads = {"a": np.array([1e-3, -5.0, 1e3])}
    optimizer = adam(0.1)
    updates, _ = optimizer.update(grads, optimizer.init(grads))
    np.testing.assert_allclose(updates["a"], [-0.1, 0.1, -0.1], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adam(float("inf")), DomainError, "learning_rate is inf, expected"),
        (lambda: adam(0.1, b1=1.0), DomainError, "b1 is 1.0, expected"),
        (lambda: adam(0.1, b2=float("nan")), DomainError, "b2 is nan, expected"),
        (lambda: adam(0.1, eps=-1e-8), DomainError, "eps is -1e-08, expected"),
        (lambda: adam(0.1, eps_root=-1.0), DomainError, "eps_root is -1.0, expected"),
        (lambda bad="0.9": adam(0.1, b1=bad), DtypeError, "b1 is '0.9', expected a number"),
        (lambda: adamw(0.1, weight_decay=-1.0), DomainError, "weight_decay is -1.0, expected"),
        (
            lambda: adam(0.1).init({"w": np.ones(2, np.float16)}),
            DtypeError,
            r'params\["w"\] has dty',
        ),
    ],
)
def test_arguments_outside_their_domain_are_refused(
    make: Any, error: type[Exception], message: str, unannotated: None
) -> None:
    with pytest.raises(error, match=message):
        make()
