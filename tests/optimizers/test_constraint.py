"""Max-norm beside the paper's rule in JAX, and what must hold after any step."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given, settings

import reference.optimizers.constraint
from purenn import tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.optimizers import apply_gradients, chain, keep_max_norm, sgd
from tests.optimizers.beside_optax import assert_agrees

SEEDS = st.integers(0, 2**32)


def ours(learning_rate: float, max_norm: float) -> Any:
    return chain(sgd(learning_rate), keep_max_norm(max_norm, lambda path: path[0] == "a"))


def theirs(learning_rate: Any, max_norm: Any) -> Any:
    rule = reference.optimizers.constraint.keep_max_norm(max_norm)
    return optax.chain(
        optax.sgd(learning_rate), optax.masked(rule, {"a": True, "b": False, "empty": False})
    )


@given(rate=st.floats(1e-4, 10), bound=st.floats(1e-2, 1e2), seed=SEEDS)
def test_steps_are_those_of_the_reference(rate: float, bound: float, seed: int) -> None:
    hyperparams = {"learning_rate": rate, "max_norm": bound}
    # u′ is what p, of at most 100, is brought to, less p: it is rounded relative to these.
    rounding = 8 * float(np.finfo(np.float64).eps) * 1e2
    assert_agrees(ours, theirs, hyperparams, seed, signed=True, tiny=rounding)


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple) | st.just((4000, 30)),
    bound=st.floats(1e-3, 1e3),
    donate=st.booleans(),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=SEEDS,
)
def test_each_unit_ends_within_the_bound_and_those_inside_are_left_alone(
    shape: Any, bound: float, donate: bool, dtype: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    params = {"kernel": rng.normal(size=shape).astype(dtype), "bias": np.ones(3, dtype)}
    grads = {"kernel": rng.normal(size=shape).astype(dtype), "bias": np.ones(3, dtype)}
    plain, _ = apply_gradients(sgd(0.5), grads, sgd(0.5).init(params), params)
    optimizer = chain(sgd(0.5), keep_max_norm(bound))
    got, _ = apply_gradients(optimizer, grads, optimizer.init(params), params, donate=donate)
    np.testing.assert_array_equal(got["bias"], plain["bias"])
    units = (*range(len(shape) - 1),)

    def norms(w: Any) -> Any:
        return np.sqrt(np.sum(np.square(w.astype(np.float64)), axis=units))

    before = norms(plain["kernel"])
    expected = np.minimum(before, bound)
    rounding = 16 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(norms(got["kernel"]), expected, rtol=rounding, atol=rounding)
    inside = before <= bound * (1 - rounding)
    np.testing.assert_array_equal(got["kernel"][..., inside], plain["kernel"][..., inside])


def test_weights_are_constrained_and_biases_and_scales_are_not() -> None:
    params = {k: np.full((4, 2), 9.0) for k in ("kernel", "embedding", "bias", "scale")}
    optimizer = keep_max_norm()
    grads = {k: np.full((4, 2), 1e-17) for k in params}
    for leaf in tree.leaves((params, grads)):
        leaf.setflags(write=False)
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    for key, update in updates.items():
        moved = 1.0 - 9.0 if key in ("kernel", "embedding") else 1e-17
        np.testing.assert_allclose(update, np.full((4, 2), moved), rtol=1e-14)
    assert tree.leaves(state) == []
    wide = keep_max_norm(18.5)
    updates, _ = wide.update(grads, wide.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], grads["kernel"])


@pytest.mark.parametrize("size", [1e-300, 1e200, 1e307])
def test_norms_have_no_range(size: float) -> None:
    params = {"kernel": np.full((4, 2), size)}
    optimizer = keep_max_norm(1e-2 * size)
    updates, _ = optimizer.update(tree.zeros_like(params), optimizer.init(params), params)
    np.testing.assert_allclose(params["kernel"] + updates["kernel"], 5e-3 * size, rtol=1e-12)


@given(st.floats(max_value=0) | st.just(np.inf) | st.just(np.nan))
def test_a_bound_out_of_its_domain_is_refused(wrong: float) -> None:
    message = f"keep_max_norm: max_norm is {wrong}, expected a finite number > 0"
    with pytest.raises(DomainError, match=re.escape(message)):
        keep_max_norm(wrong)


@pytest.mark.usefixtures("unannotated")
def test_a_bound_that_is_no_number_is_refused() -> None:
    with pytest.raises(DtypeError, match="keep_max_norm: max_norm is '1', expected a number"):
        keep_max_norm("1")  # type: ignore[arg-type]


def test_a_scalar_has_no_units_and_parameters_are_needed() -> None:
    optimizer = keep_max_norm(1.0)
    params = {"a": {"kernel": np.array(1.0)}}
    with pytest.raises(ShapeError, match=r'keep_max_norm: params\["a"\]\["kernel"\] has no axes'):
        optimizer.update(params, optimizer.init(params), params)
    with pytest.raises(TreeError, match="params is None, expected the parameters"):
        optimizer.update(params, optimizer.init(params))
