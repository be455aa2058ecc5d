"""LARS, LAMB and their trust ratio beside optax."""

import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import example, given

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import apply_gradients, lamb, lars, scale_by_trust_ratio
from tests.optimizers.beside_optax import assert_agrees

NUMBERS = st.just(0.0) | st.floats(1e-3, 10)
PARTS = st.just(0.0) | st.floats(1e-3, 0.1)  # of its norm that a leaf moves by in each step
RATES = st.floats(1e-4, 0.1)
DECAYS = st.just(0.0) | st.floats(1e-3, 0.999)
SEEDS = st.integers(0, 2**32)


@given(least=PARTS, coefficient=PARTS, eps=NUMBERS, seed=SEEDS)
def test_the_trust_ratio_in_float32_is_that_of_optax(
    least: float, coefficient: float, eps: float, seed: int
) -> None:
    hyperparams = {"min_norm": least, "trust_coefficient": coefficient, "eps": eps}
    assert_agrees(scale_by_trust_ratio, optax.scale_by_trust_ratio, hyperparams, seed, np.float32)


def masked_lars(**hyperparams: float) -> Any:
    return lars(
        **hyperparams,
        weight_decay_mask=lambda path: path[-1] == "kernel",
        trust_ratio_mask={"a": True, "b": False, "empty": True},
        nesterov=True,
    )


def their_masked_lars(**hyperparams: Any) -> Any:
    return optax.lars(
        **hyperparams,
        weight_decay_mask=lambda params: {
            layer: {name: name == "kernel" for name in its} for layer, its in params.items()
        },
        trust_ratio_mask={"a": True, "b": False, "empty": True},
        nesterov=True,
    )


# Weight decay and the rest of a step have different signs, so no entry is compared with itself.
@given(rate=RATES, decay=PARTS, coefficient=PARTS, eps=NUMBERS, mu=DECAYS, seed=SEEDS)
def test_lars_is_that_of_optax(
    rate: float, decay: float, coefficient: float, eps: float, mu: float, seed: int
) -> None:
    hyperparams = {
        "learning_rate": rate, "weight_decay": decay, "trust_coefficient": coefficient,
        "eps": eps, "momentum": mu,
    }  # fmt: skip
    assert_agrees(masked_lars, their_masked_lars, hyperparams, seed, signed=True)


@given(rate=RATES, b1=DECAYS, b2=DECAYS, eps=NUMBERS, decay=NUMBERS, seed=SEEDS)
def test_lamb_is_that_of_optax(
    rate: float, b1: float, b2: float, eps: float, decay: float, seed: int
) -> None:
    hyperparams = {
        "learning_rate": rate, "b1": b1, "b2": b2, "eps": eps, "weight_decay": decay
    }  # fmt: skip
    assert_agrees(lamb, optax.lamb, hyperparams, seed, signed=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(p=st.integers(-37, 37), u=st.integers(-37, 37))
@example(p=-37, u=37)
@example(p=37, u=-37)
def test_norms_have_no_range(dtype: Any, p: int, u: int) -> None:
    """Squares overflow or vanish, and in float32 their ratio is no number."""
    sizes = (p, u) if dtype == np.float32 else (8 * p, 4 * (p + u))
    params = {"w": np.full((2, 8), 10.0 ** sizes[0], dtype)}
    grads = {"w": np.full((2, 8), 10.0 ** sizes[1], dtype)}
    optimizer = scale_by_trust_ratio()
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], params["w"], rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("nothing", ["params", "grads"])
def test_a_norm_of_0_leaves_the_step_as_it_is(nothing: str) -> None:
    trees = {"params": {"w": np.full(2, 3.0)}, "grads": {"w": np.full(2, 5.0)}}
    trees[nothing] = tree.zeros_like(trees[nothing])
    optimizer = scale_by_trust_ratio(eps=1.0)
    updates, _ = optimizer.update(trees["grads"], optimizer.init(trees["params"]), trees["params"])
    np.testing.assert_array_equal(updates["w"], trees["grads"]["w"])


@given(rate=RATES, seed=SEEDS)
def test_each_leaf_moves_in_proportion_to_its_norm(rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = {k: scale * rng.normal(size=(30, 3)) for k, scale in (("a", 1e-3), ("b", 1e3))}
    grads = {k: rng.normal(size=(30, 3)) for k in params}
    optimizer = lamb(rate)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for k in params:
        np.testing.assert_allclose(tree.norm(updates[k]), rate * tree.norm(params[k]), rtol=1e-12)


@given(
    st.sampled_from(["min_norm", "trust_coefficient", "eps"]),
    st.floats(max_value=-1e-300) | st.just(np.inf) | st.just(np.nan),
)
def test_numbers_out_of_their_domain_are_refused(argument: str, wrong: float) -> None:
    message = f"scale_by_trust_ratio: {argument} is {wrong}, expected a finite number ≥ 0"
    with pytest.raises(DomainError, match=re.escape(message)):
        scale_by_trust_ratio(**{argument: wrong})


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DtypeError, match="scale_by_trust_ratio: eps is '1', expected a number"):
        lars(0.1, eps="1")  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", [scale_by_trust_ratio(), lars(0.1), lamb(0.1)])
def test_parameters_are_needed(optimizer: Any) -> None:
    grads = {"w": np.ones(2)}
    with pytest.raises(TreeError, match="params is None, expected the parameters"):
        optimizer.update(grads, optimizer.init(grads))
    with pytest.raises(TreeError, match="grads: trees differ at the root"):
        apply_gradients(optimizer, grads, optimizer.init(grads), {"v": np.ones(2)})
