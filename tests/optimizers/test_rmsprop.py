"""RMSProp, centered or not."""

import math
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import rmsprop, scale_by_rms, scale_by_stddev, sgd
from reference.optimizers import rmsprop as reference
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.bowl import assert_follows

HYPERPARAMS = {
    "learning_rate": st.floats(1e-5, 1),
    # v times 1/β is what the rounding of v − m² is relative to, in whoever's telling.
    "decay": st.floats(0.1, 0.9999),
    "eps": st.floats(1e-10, 1),
}
START = {"initial_scale": st.just(0.0) | st.floats(1e-3, 1e3)}
MOMENTUM = {"momentum": st.just(0.0) | st.floats(1e-3, 0.999)}
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.fixed_dictionaries(HYPERPARAMS | START | MOMENTUM), SEEDS, st.booleans())
def test_it_is_that_of_optax(
    dtype: Any, hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    assert_agrees(rmsprop, optax.rmsprop, hyperparams, seed, dtype, signed=signed)


@given(st.fixed_dictionaries(HYPERPARAMS | START | MOMENTUM), SEEDS, st.booleans())
def test_corrected_with_epsilon_outside_and_nesterov_it_is_that_of_optax(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    static = {"eps_in_sqrt": False, "bias_correction": True, "nesterov": True}
    assert_agrees(rmsprop, optax.rmsprop, hyperparams, seed, signed=signed, static=static)


@given(st.fixed_dictionaries(HYPERPARAMS | START), SEEDS, st.booleans())
def test_centered_it_is_that_of_optax(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    static = {"centered": True}
    assert_agrees(rmsprop, optax.rmsprop, hyperparams, seed, signed=signed, static=static)


# From 0, v − m² is nothing but rounding after one step: the start has to keep it away from there.
FAR = {"decay": st.floats(0.5, 0.999), "initial_scale": st.floats(1e5, 1e6)}


@given(st.fixed_dictionaries(HYPERPARAMS | FAR), SEEDS, st.booleans())
def test_centered_and_corrected_it_is_that_of_optax(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    static = {"centered": True, "bias_correction": True}
    assert_agrees(rmsprop, optax.rmsprop, hyperparams, seed, signed=signed, static=static)


@given(st.fixed_dictionaries(HYPERPARAMS | MOMENTUM), SEEDS, st.booleans())
def test_centered_with_the_rate_outside_of_the_momentum_it_is_that_of_the_reference(
    hyperparams: dict[str, float], seed: int, signed: bool
) -> None:
    assert_agrees(
        rmsprop, reference.rmsprop, hyperparams, seed, signed=signed,
        ours_static={"centered": True, "eps_in_sqrt": False, "rate_in_momentum": False},
    )  # fmt: skip


def test_the_first_steps_are_those_of_the_lecture() -> None:
    def by_hand(p: float) -> Iterator[float]:
        mean_square = 0.0
        while True:
            g = 2 * p
            mean_square = 0.9 * mean_square + 0.1 * g**2
            p -= 0.001 * g / math.sqrt(mean_square)
            yield p

    assert_follows(rmsprop(0.001, eps=0.0), by_hand)


def test_the_first_steps_are_those_of_graves() -> None:
    def by_hand(p: float) -> Iterator[float]:
        n, mean, step = 0.0, 0.0, 0.0
        while True:
            g = 2 * p
            n = 0.95 * n + 0.05 * g**2
            mean = 0.95 * mean + 0.05 * g
            step = 0.9 * step - 1e-4 * g / math.sqrt(n - mean**2 + 1e-4)
            p += step
            yield p

    assert_follows(rmsprop(1e-4, 0.95, 1e-4, centered=True, momentum=0.9), by_hand)


@pytest.mark.parametrize("eps_in_sqrt", [False, True])
def test_gradients_that_are_alike_have_no_negative_spread(eps_in_sqrt: bool) -> None:
    grads = {"w": np.linspace(0.1, 100, 1000, dtype=np.float32)}
    optimizer = scale_by_stddev(eps=1e-12, eps_in_sqrt=eps_in_sqrt)
    state = optimizer.init(grads)
    was_rounded_below = False
    for _ in range(200):
        updates, state = optimizer.update(grads, state)
        was_rounded_below |= bool(np.any(state.nu["w"] < state.mu["w"] ** 2))
        assert np.isfinite(updates["w"]).all()
    assert was_rounded_below


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"learning_rate": -0.1},
            DomainError,
            "learning_rate is -0.1, expected a finite number ≥ 0",
        ),
        ({"decay": 1.0}, DomainError, "decay is 1.0, expected a finite number ≥ 0 and < 1"),
        ({"eps": -1e-8}, DomainError, "eps is -1e-08, expected a finite number ≥ 0"),
        ({"initial_scale": -1.0}, DomainError, "initial_scale is -1.0, expected a finite number ≥"),
        ({"decay": "0.9"}, DtypeError, "decay is '0.9', expected a number"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, centered: bool
) -> None:
    with pytest.raises(error, match=message):
        rmsprop(**{"learning_rate": 0.1} | arguments, centered=centered)


def test_bad_momentum_is_refused() -> None:
    with pytest.raises(
        DomainError, match=r"rmsprop: momentum is 1.0, expected a finite number ≥ 0 and"
    ):
        rmsprop(0.1, momentum=1.0)
    with pytest.raises(DomainError, match=r"rmsprop: nesterov looks ahead by the momentum, which"):
        rmsprop(0.1, nesterov=True)


def test_float16_is_refused() -> None:
    with pytest.raises(DtypeError, match=r'rms: params\["w"\] has dtype float16, in which squares'):
        rmsprop(0.1).init({"w": np.ones(2, np.float16)})


@pytest.mark.usefixtures("unannotated")
def test_another_state_is_refused() -> None:
    params = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="rms: opt_state is a EmptyState, expected ScaleByRmsState"):
        scale_by_rms().update(params, sgd(0.1).init(params)[0])
    corrected = scale_by_stddev(bias_correction=True)
    with pytest.raises(TreeError, match="DevState, expected ScaleByRStdDevWithCountState"):
        corrected.update(params, scale_by_stddev().init(params))
    state = corrected.init(params)._replace(count=np.array(-1))
    with pytest.raises(DomainError, match=r"stddev: opt_state.count is -1, expected at least 0"):
        corrected.update(params, state)
