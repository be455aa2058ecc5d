"""What is remembered in a dtype of its own, and half precision beside optax in single."""

import inspect
from typing import Any

import hypothesis.strategies as st
import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import optimizers, tree
from purenn.errors import DtypeError
from tests.optimizers.beside_optax import STEPS, draw_trees, taken
from tests.optimizers.problems import bits

ARGUMENTS = {"mu_dtype", "accumulator_dtype"}
REMEMBERING = {
    name: argument
    for name in optimizers.__all__
    if inspect.isfunction(getattr(optimizers, name))
    for argument in ARGUMENTS & {*inspect.signature(getattr(optimizers, name)).parameters}
}
SEEDS = st.integers(0, 2**32)


def made(name: str, dtype: Any) -> Any:
    make = getattr(optimizers, name)
    options: dict[str, Any] = {REMEMBERING[name]: dtype}
    if name == "sgd":
        options["momentum"] = 0.9
    elif name == "scale_by_nadam":
        options["momentum_decay"] = 0.004
    needs = {"learning_rate": 0.1, "decay": 0.9}
    options |= {key: needs[key] for key in needs.keys() & {*inspect.signature(make).parameters}}
    return make(**options)


@pytest.mark.parametrize("name", REMEMBERING)
@pytest.mark.parametrize("dtype", [int, complex, object, ">f4", np.longdouble, "much"])
def test_other_dtypes_are_refused_when_it_is_made(name: str, dtype: Any) -> None:
    with pytest.raises(DtypeError, match=f": {REMEMBERING[name]} (is|has dtype) .*, expected "):
        made(name, dtype)


def wide(x: Any) -> Any:
    return tree.map(lambda leaf: leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf, x)


@pytest.mark.parametrize("name", REMEMBERING)
@given(seed=SEEDS)
def test_what_is_remembered_is_computed_in_its_own_dtype(name: str, seed: int) -> None:
    """In float64 it has the bits of a run in which all is."""
    params = taken(draw_trees(seed, np.float32, 1, signed=True), 0)
    every_grads = draw_trees(seed + 1, np.float32, 3, signed=True)
    optimizer, plain = made(name, np.float64), made(name, None)
    state, expected = optimizer.init(params), plain.init(wide(params))
    for i in range(3):
        grads = taken(every_grads, i)
        updates, state = optimizer.update(grads, state, params)
        _, expected = plain.update(wide(grads), expected, wide(params))
        tree.check_like("updates", updates, params)
        got, all_wide = (
            [leaf for leaf in bits(its) if {"mu", "trace", "ema"} & {*leaf[0]}]
            for its in (state, expected)
        )
        assert len(got) == len(tree.leaves(params))
        assert got == all_wide


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "lion", "rmsprop", "yogi"])
@given(seed=SEEDS, rate=st.floats(1e-3, 1))
def test_bfloat16_is_that_of_optax_in_float32_rounded(kind: str, seed: int, rate: float) -> None:
    """From one state to the next: what is remembered is rounded in each."""
    options: dict[str, Any] = {"momentum": 0.9} if kind in ("sgd", "rmsprop") else {}
    ours = getattr(optimizers, kind)(rate, **options)
    theirs = getattr(optax, kind)(rate, **options)
    params = taken(draw_trees(seed, ml_dtypes.bfloat16, 1, signed=True), 0)
    every_grads = draw_trees(seed + 1, ml_dtypes.bfloat16, STEPS, signed=True)
    state = ours.init(params)
    structure = jax.tree.structure(theirs.init(params))

    def single(x: Any) -> Any:
        return tree.map(lambda leaf: leaf.astype("f4") if leaf.dtype.kind == "V" else leaf, x)

    for i in range(3):
        grads = taken(every_grads, i)
        their_state = jax.tree.unflatten(structure, jax.tree.leaves(single(state)))
        expected = theirs.update(single(grads), their_state, single(params))
        updates, state = ours.update(grads, state, params)
        for got, wide_one in zip(
            jax.tree.leaves((updates, state)), jax.tree.leaves(expected), strict=True
        ):
            assert got.dtype in (ml_dtypes.bfloat16, np.int32)
            np.testing.assert_allclose(np.float32(got), wide_one, rtol=2**-8, atol=1e-37)
        params = optimizers.apply_updates(params, updates)
