"""Chains that Hypothesis draws, of transformations in each other, beside the same of optax."""

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings

import reference.optimizers.constraint
from purenn import optimizers, tree
from purenn.optimizers import apply_gradients, apply_updates
from tests.optimizers.beside_optax import STEPS, assert_agrees, draw_trees, taken

MASK: Any = {
    "a": {"kernel": True, "bias": False},
    "b": {"scale": True, "kernel": False},
    "empty": True,
}
MATRICES: Any = {
    "a": {"kernel": True, "bias": False},
    "b": {"scale": False, "kernel": True},
    "empty": False,
}
LABELS: Any = {"a": "one", "b": {"scale": "one", "kernel": "two"}, "empty": "two"}

LEAVES = [
    "sgd", "adam", "clip", "clip_by_block_rms", "clip_by_global_norm", "scale_by_trust_ratio",
    "lars", "lamb", "add_decayed_weights",
]  # fmt: skip
WRAPPERS = ["masked", "partition", "apply_if_finite", "multi_steps", "inject_hyperparams"]
KINDS = st.recursive(
    st.sampled_from(LEAVES), lambda inner: st.tuples(st.sampled_from(WRAPPERS), inner), max_leaves=2
)
# Max-norm leaves rounding where a step ends at the boundary, which Adam would divide by itself.
CHAINS = st.tuples(
    st.lists(KINDS, min_size=1, max_size=3).map(tuple), st.sampled_from(["adam", "keep_max_norm"])
).map(lambda parts: (*parts[0], parts[1]))


def made(of: Any, kind: Any, x: Any) -> Any:
    """A transformation of ours or of optax; ``x`` is the number that it takes."""
    if isinstance(kind, str):
        if kind == "keep_max_norm":
            if of is optimizers:
                return of.keep_max_norm(x, MATRICES)
            return of.masked(reference.optimizers.constraint.keep_max_norm(x), MATRICES)
        options = {"sgd": {"momentum": 0.9}, "lamb": {"weight_decay": 0.1}}
        return getattr(of, kind)(x, **options.get(kind, {}))
    wrapper, inner = kind
    if wrapper == "inject_hyperparams":
        wide = float if of is optimizers else lambda count: count.astype(float)
        return of.inject_hyperparams(lambda y: made(of, inner, y))(lambda n: x / (1 + wide(n)))
    within = made(of, inner, x)
    if wrapper == "masked":
        return of.masked(within, MASK)
    if wrapper == "partition":
        return of.partition({"one": within, "two": of.sgd(x)}, LABELS)
    if wrapper == "apply_if_finite":
        return of.apply_if_finite(within, 3)
    if of is optimizers:
        return of.multi_steps(within, 3)
    return of.MultiSteps(within, 3, accumulator_dtype=jnp.float64).gradient_transformation()


def ours(kinds: Any, **numbers: float) -> Any:
    parts = [made(optimizers, *part) for part in zip(kinds, numbers.values(), strict=True)]
    return optimizers.chain(*parts)


def theirs(kinds: Any, **numbers: Any) -> Any:
    return optax.chain(*[made(optax, *part) for part in zip(kinds, numbers.values(), strict=True)])


def numbered(kinds: Any, xs: list[float]) -> dict[str, float]:
    return {f"x{i}": x for i, x in zip(range(len(kinds)), xs, strict=False)}


NUMBERS = st.lists(st.floats(1e-3, 0.1), min_size=4, max_size=4)


@settings(max_examples=settings().max_examples // 2)  # each compiles a program
@given(kinds=CHAINS, xs=NUMBERS, seed=st.integers(0, 2**32))
def test_any_chain_is_that_of_optax(kinds: Any, xs: list[float], seed: int) -> None:
    rounding = 64 * float(np.finfo(np.float64).eps) * 1e2  # of a step that is the negative of p
    numbers = numbered(kinds, xs)
    static = {"kinds": kinds}
    assert_agrees(ours, theirs, numbers, seed, signed=True, static=static, tiny=rounding)


IN_PIECES = (("partition", "clip"), "scale_by_trust_ratio", "clip", "adam")


@example(kinds=IN_PIECES, xs=[0.1, 0.1, 0.1, 0.1], seed=0, dtype=np.float64)
@given(
    kinds=CHAINS,
    xs=NUMBERS,
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_chain_in_place_gives_the_same_bits(
    kinds: Any, xs: list[float], seed: int, dtype: Any
) -> None:
    optimizer = ours(kinds, **numbered(kinds, xs))
    params = taken(draw_trees(seed, dtype, 1, signed=True), 0)
    donated = tree.map(np.copy, params)
    every_grads = draw_trees(seed + 1, dtype, STEPS, signed=True)
    state, donated_state = optimizer.init(params), optimizer.init(params)
    for i in range(7):
        grads = taken(every_grads, i)
        updates, state = optimizer.update(grads, state, params)
        params = apply_updates(params, updates)
        donated, donated_state = apply_gradients(
            optimizer, tree.map(np.copy, grads), donated_state, donated, donate=True
        )
        for x, y in zip(
            tree.leaves((params, state)), tree.leaves((donated, donated_state)), strict=True
        ):
            np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize("kind", [
    "clip", "clip_by_block_rms", "clip_by_global_norm", "scale_by_trust_ratio", "lars", "lamb",
    "keep_max_norm", ("apply_if_finite", "lamb"), ("multi_steps", "adam"),
    ("inject_hyperparams", "lars"),
], ids=str)  # fmt: skip
def test_in_place_nothing_of_the_size_of_a_parameter_is_allocated(kind: Any) -> None:
    optimizer = optimizers.chain(optimizers.zero_nans(), made(optimizers, kind, 1e-3))
    params = taken(draw_trees(0, np.float64, 1, signed=True), 0)
    params = tree.map(
        np.copy, {**params, "a": {"kernel": np.ones((1024, 1024)), "bias": np.ones(2)}}
    )
    grads = tree.map(np.ones_like, params)
    state = optimizer.init(params)
    for _ in range(3):
        tracemalloc.start()
        params, state = apply_gradients(optimizer, grads, state, params, donate=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < params["a"]["kernel"].nbytes / 2
