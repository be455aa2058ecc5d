"""Scheduled and hand-set hyperparameters beside optax."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    adam,
    adamw,
    add_decayed_weights,
    apply_gradients,
    chain,
    clip,
    inject_hyperparams,
    keep_max_norm,
    lbfgs,
    sgd,
)
from purenn.schedules import linear_schedule
from tests.optimizers.beside_optax import assert_agrees
from tests.optimizers.problems import bits, quadratic

SEEDS = st.integers(0, 2**32)
RATES = st.floats(1e-3, 1)
DECAYS = st.just(0.0) | st.floats(1e-3, 0.99)


def scheduled(factories: Any, wide: Any, rate: Any, decay: Any, b1: Any, least: Any) -> Any:
    """Adam whose rate and β₁ change, after clipping at a bound that does."""
    injected, clipped, adaptive, chained = factories
    return chained(
        injected(clipped)(lambda count: least + 1 / (1 + wide(count))),
        injected(adaptive)(
            lambda count: rate / (1 + decay * wide(count)),
            b1=lambda count: b1 / (1 + wide(count)),
            b2=0.9,
        ),
    )


def ours(**hyperparams: float) -> Any:
    return scheduled((inject_hyperparams, clip, adam, chain), float, **hyperparams)


def theirs(**hyperparams: Any) -> Any:
    factories = (optax.inject_hyperparams, optax.clip, optax.adam, optax.chain)
    return scheduled(factories, lambda count: count.astype(float), **hyperparams)


@given(rate=RATES, decay=st.floats(0, 1), b1=DECAYS, least=RATES, seed=SEEDS)
def test_schedules_are_those_of_optax(
    rate: float, decay: float, b1: float, least: float, seed: int
) -> None:
    hyperparams = {"rate": rate, "decay": decay, "b1": b1, "least": least}
    assert_agrees(ours, theirs, hyperparams, seed)


OUR_SGD, THEIR_SGD = inject_hyperparams(sgd), optax.inject_hyperparams(optax.sgd)


@given(rate=RATES, mu=DECAYS, seed=SEEDS)
def test_numbers_in_float32_are_those_of_optax(rate: float, mu: float, seed: int) -> None:
    hyperparams = {"learning_rate": rate, "momentum": mu}
    assert_agrees(OUR_SGD, THEIR_SGD, hyperparams, seed, np.float32)


@given(
    rates=st.lists(RATES, min_size=2, max_size=4),
    donate=st.booleans(),
    as_array=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_a_number_may_be_changed_by_hand(
    rates: list[float], donate: bool, as_array: bool, dtype: Any
) -> None:
    params = {"w": np.ones(3, dtype)}
    optimizer = inject_hyperparams(sgd)(rates[0])
    state = optimizer.init(params)
    for rate in rates:
        state.hyperparams["learning_rate"] = np.asarray(rate) if as_array else rate
        grads = {"w": np.full(3, 2, dtype)}
        params_before = params["w"].copy()
        params, state = apply_gradients(optimizer, grads, state, params, donate=donate)
        kept = state.hyperparams["learning_rate"]
        assert (kept.dtype, kept.shape) == (np.promote_types(dtype, np.float32), ())
        update, _ = sgd(float(kept)).update({"w": np.full(3, 2, dtype)}, sgd(0.1).init(params))
        np.testing.assert_allclose(
            params["w"], params_before + update["w"], rtol=2 * np.finfo(dtype).eps
        )
    assert state.count == len(rates)


def test_what_is_scheduled_cannot_be_changed_by_hand() -> None:
    params = {"w": np.ones(2)}
    optimizer = inject_hyperparams(sgd)(linear_schedule(1.0, 0.0, 4))
    state = optimizer.init(params)
    for rate in (1.0, 0.75, 0.5, 0.25, 0.0, 0.0):
        state.hyperparams["learning_rate"] = 7.0
        updates, state = optimizer.update(params, state, params)
        np.testing.assert_array_equal(updates["w"], -rate)
        assert state.hyperparams["learning_rate"] == rate


def test_a_state_is_not_written_to() -> None:
    params = {"w": np.ones(2)}
    optimizer = inject_hyperparams(sgd)(linear_schedule(1.0, 0.0, 4))
    state = optimizer.init(params)
    for _ in range(2):
        updates, _ = optimizer.update(params, state)
        np.testing.assert_array_equal(updates["w"], -1.0)


def test_what_is_no_number_goes_to_the_factory_as_it_is() -> None:
    params = {"kernel": np.ones(2), "bias": np.ones(2)}
    seen = []

    def factory(rate: Any, mask: Any, dtype: Any, flag: Any, nothing: Any, times: Any) -> Any:
        seen.append((rate, mask, dtype, flag, nothing, times))
        return add_decayed_weights(rate, mask)

    def mask(path: Any) -> bool:
        return bool(path[-1] == "kernel")

    optimizer = inject_hyperparams(factory, static_args="mask")(
        np.float32(0.5), mask, np.float32, flag=True, nothing=None, times=3
    )
    state = optimizer.init(params)
    assert {k: (v.dtype.kind, float(v)) for k, v in state.hyperparams.items()} == {
        "rate": ("f", 0.5), "times": ("i", 3.0)
    }  # fmt: skip
    updates, _ = optimizer.update(params, state, params)
    np.testing.assert_array_equal(updates["kernel"], 1.5)
    np.testing.assert_array_equal(updates["bias"], 1.0)
    assert seen == [(0.5, mask, np.float32, True, None, 3)] * 3
    assert [type(value) for value in seen[0]][::5] == [float, int]


def test_the_dtype_may_be_chosen() -> None:
    params = {"w": np.ones(2, np.float32)}
    optimizer = inject_hyperparams(adam, hyperparam_dtype=np.float64)(0.1)
    state = optimizer.init(params)
    _, state = optimizer.update(params, state)
    assert {x.dtype for x in state.hyperparams.values()} == {np.dtype(np.float64)}
    assert state.hyperparams["b2"] == 0.999


@pytest.mark.usefixtures("unannotated")
def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"inner_factory is 0\.1, expected a function"):
        inject_hyperparams(0.1)  # type: ignore[arg-type]
    message = "inject_hyperparams: static_args has ['masks'], expected some of ['learning_rate',"
    with pytest.raises(DomainError, match=re.escape(message)):
        inject_hyperparams(sgd, static_args=["masks", "momentum"])
    with pytest.raises(DtypeError, match="hyperparam_dtype has dtype int64, expected a floating"):
        inject_hyperparams(sgd, hyperparam_dtype=int)
    for names in (3, [["mask"]], None, ("b1", 2)):
        with pytest.raises(DtypeError, match=r"static_args is .*, expected names of arguments"):
            inject_hyperparams(sgd, static_args=names)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="hyperparam_dtype is 'zzz', expected a floating dtype"):
        inject_hyperparams(sgd, hyperparam_dtype="zzz")
    for wrong in (np.ones(2), np.array([0.1])):
        with pytest.raises(DtypeError, match=r"inject_hyperparams: learning_rate is .*a number"):
            inject_hyperparams(sgd)(wrong)
    with pytest.raises(DtypeError, match=r'inject_hyperparams: params\["w"\] has dtype int64'):
        inject_hyperparams(sgd)(0.1).init({"w": np.ones(2, np.int64)})
    with pytest.raises(DomainError, match=r"learning_rate is -1\.0, expected a finite number ≥ 0"):
        inject_hyperparams(sgd)(-1.0).init({"w": np.ones(2)})


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (lambda path: path[-1] == "w", r"mask\(0\) raises TypeError\("),
        (lambda path: path.index("w") == 0, r"mask\(0\) raises AttributeError\("),
        (lambda path: path == ("w",), r"mask\(0\) is False, expected a number"),
    ],
)
def test_a_mask_that_is_a_function_is_told_from_a_schedule(mask: Any, told: str) -> None:
    message = (
        rf"^inject_hyperparams: {told}.*; a function is a schedule of .* static_args has 'mask'"
    )
    with pytest.raises(DtypeError, match=message):
        inject_hyperparams(adamw)(0.1, mask=mask)
    params = {"w": np.ones((2, 2))}
    for names in ("mask", iter(["mask"])):
        state = inject_hyperparams(adamw, names)(0.1, mask=lambda path: True).init(params)
        assert "mask" not in state.hyperparams


@pytest.mark.usefixtures("unannotated")
def test_states_that_are_wrong_are_refused() -> None:
    grads = {"w": np.ones(2)}
    optimizer = inject_hyperparams(sgd)(lambda count: 0.1 if count < 3 else np.nan, momentum=0.9)
    state = optimizer.init(grads)
    with pytest.raises(TreeError, match="inject_hyperparams: opt_state is a tuple, expected Inj"):
        optimizer.update(grads, ())
    numbers = state.hyperparams
    for wrong, error, message in (
        ({"hyperparams": {}}, TreeError, "opt_state.hyperparams has [], expected ['learning_"),
        ({"hyperparams": {**numbers, "momentum": "1"}}, DtypeError, "momentum is '1', expected"),
        ({"hyperparams": {**numbers, "momentum": np.nan}}, DomainError, "momentum is nan, expec"),
        ({"hyperparams": {**numbers, "momentum": 1.5}}, DomainError, "momentum is 1.5, expected"),
        ({"hyperparams_states": {}}, TreeError, "opt_state.hyperparams_states has [], expected"),
        ({"count": np.array(-1)}, DomainError, "opt_state.count is -1, expected at least 0"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            optimizer.update(grads, state._replace(**wrong))
    at = {"learning_rate": state.hyperparams_states["learning_rate"]._replace(count=np.array(3))}
    with pytest.raises(DomainError, match=r"learning_rate\(3\) is nan, expected a finite number"):
        optimizer.update(grads, state._replace(hyperparams_states=at))
    at = {"learning_rate": state.hyperparams_states["learning_rate"]._replace(count=np.array(-3))}
    message = 'opt_state.hyperparams_states["learning_rate"].count is -3, expected at least 0'
    with pytest.raises(DomainError, match=re.escape(message)):
        optimizer.update(grads, state._replace(hyperparams_states=at))


@given(SEEDS, st.integers(1, 5))
def test_a_line_search_may_be_injected(seed: int, memory_size: int) -> None:
    """Its type is kept, and so is the function that is its default."""
    value_and_grad, start = quadratic(6, seed)
    plain = lbfgs(0.5, memory_size)
    injected = inject_hyperparams(lbfgs)(lambda count: 0.5, memory_size=memory_size)
    assert isinstance(injected, GradientTransformationExtraArgs)
    assert {*injected.init(start).hyperparams} == {"learning_rate", "memory_size"}
    found = []
    for optimizer in (plain, injected):
        params, state = start, optimizer.init(start)
        for _ in range(3):
            value, grads = value_and_grad(params)
            params, state = apply_gradients(
                optimizer, grads, state, params, value=value, value_and_grad_fn=value_and_grad
            )
        found.append(params)
    assert bits(found[0]) == bits(found[1])


def test_a_default_that_is_a_function_is_no_schedule() -> None:
    params = {"kernel": np.ones((2, 2)), "bias": np.full(2, 9.0)}
    optimizer = inject_hyperparams(keep_max_norm)()
    assert {*optimizer.init(params).hyperparams} == {"max_norm"}
    assert type(optimizer) is GradientTransformation
