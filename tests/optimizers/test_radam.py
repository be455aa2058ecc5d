"""RAdam."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import example, given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import ema, radam, scale_by_lion, scale_by_radam
from reference.optimizers import radam as reference
from tests.optimizers.beside_optax import assert_agrees

DTYPES = st.sampled_from([np.float32, np.float64])
HYPERPARAMS = {
    "b1": st.just(0.0) | st.floats(1e-3, 0.9999),
    # Below 0.6 no ρ is above 4; ρ cancels as 1/(1 − β₂)², in whoever's telling.
    "b2": st.just(0.5) | st.floats(0.7, 0.999),
    "eps": st.floats(1e-10, 1),
    "threshold": st.floats(4.1, 10),
}


@given(
    st.booleans(),
    st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-5, 1),
            "eps_root": st.just(0.0) | st.floats(1e-10, 1),
            **HYPERPARAMS,
        }
    ),
    st.integers(0, 2**32),
    DTYPES,
    st.booleans(),
)
def test_it_is_that_of_optax(
    nesterov: bool, hyperparams: Any, seed: int, dtype: Any, signed: bool
) -> None:
    static = {"nesterov": nesterov}
    assert_agrees(radam, optax.radam, hyperparams, seed, dtype, signed=signed, static=static)


@given(st.fixed_dictionaries(HYPERPARAMS), st.integers(0, 2**32), st.booleans())
def test_eps_is_before_the_correction_in_pytorch(hyperparams: Any, seed: int, signed: bool) -> None:
    assert_agrees(
        scale_by_radam,
        reference.scale_by_radam,
        hyperparams,
        seed,
        signed=signed,
        ours_static={"eps_before_correction": True},
    )


def test_the_first_steps_are_those_of_momentum() -> None:
    """ρ is just below t where β₂ is near 1: it passes 5 with the sixth step."""
    optimizer = scale_by_radam()
    state = optimizer.init({"w": np.ones(1)})
    found = []
    for _ in range(7):
        updates, state = optimizer.update({"w": np.full(1, 100.0)}, state)
        found.append(updates["w"][0])
    np.testing.assert_allclose(found[:5], 100, rtol=1e-14)
    assert np.all(np.array(found[5:]) < 1)
    assert found[6] > found[5]


@example(0.6, 4.0, 500)  # where the limit of ρ is 4
@given(st.floats(0, 0.6), st.floats(4, 10), st.integers(0, 2**31 - 2))
def test_where_the_variance_is_never_finite_momentum_remains(
    b2: float, threshold: float, count: int
) -> None:
    grads = {"w": np.ones(2)}
    optimizer, mean = scale_by_radam(b2=b2, threshold=threshold), ema(0.9)
    at = np.array(count, np.int32)
    updates, _ = optimizer.update(grads, optimizer.init(grads)._replace(count=at))
    expected, _ = mean.update(grads, mean.init(grads)._replace(count=at))
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: radam(-0.1), DomainError, "learning_rate is -0.1, expected a finite number ≥ 0"),
        (lambda: radam(0.1, b1=1), DomainError, "scale_by_radam: b1 is 1, expected a finite"),
        (lambda: radam(0.1, b2=1), DomainError, "scale_by_radam: b2 is 1, expected a finite"),
        (lambda: radam(0.1, eps=-1), DomainError, "scale_by_radam: eps is -1, expected"),
        (lambda: radam(0.1, eps_root=-1), DomainError, "eps_root is -1, expected a finite"),
        (
            lambda: radam(0.1, threshold=3.9),
            DomainError,
            "scale_by_radam: threshold is 3.9, expected a finite number ≥ 4",
        ),
        (lambda: radam(0.1, threshold=None), DtypeError, "threshold is None, expected a number"),  # type: ignore[arg-type]
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
    message = "scale_by_radam: opt_state is a ScaleByLionState, expected ScaleByAdamState"
    with pytest.raises(TreeError, match=message):
        scale_by_radam().update(params, scale_by_lion().init(params))
