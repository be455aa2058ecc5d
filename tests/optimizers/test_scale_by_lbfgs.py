"""The product beside optax's, and beside the matrix that it is a product with."""

from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings

from purenn import tree
from purenn.optimizers.lbfgs import scale_by_lbfgs
from tests.optimizers.problems import SEEDS, assert_close, convex, draw_tree, frozen

SHAPES = st.dictionaries(
    st.sampled_from("abc"),
    st.dictionaries(
        st.sampled_from(["kernel", "bias"]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        min_size=1,
    ),
    min_size=1,
)


@settings(max_examples=4)
@given(SHAPES, SEEDS, st.integers(1, 12), st.booleans(), st.floats(-2, 2))
def test_50_products_are_those_of_optax(
    shapes: Any, seed: int, memory_size: int, scaled: bool, exponent: float
) -> None:
    rng = np.random.default_rng(seed)
    params = draw_tree(rng, shapes)
    value_and_grad = convex(rng, params)
    ours, theirs = scale_by_lbfgs(memory_size, scaled), optax.scale_by_lbfgs(memory_size, scaled)
    state, their_state = ours.init(params), theirs.init(params)
    their_update = jax.jit(theirs.update)
    for _ in range(50):
        params = frozen(tree.map(lambda x: np.asarray(10**exponent * x), draw_tree(rng, shapes)))
        grads = frozen(value_and_grad(params)[1])
        updates, state = ours.update(grads, frozen(state), params)
        their_updates, their_state = their_update(grads, their_state, params)
        assert_close(updates, their_updates, 1e-12)
        assert_close(state._asdict(), their_state._asdict(), 1e-12)
    assert type(state).__name__ == type(their_state).__name__
    assert state._fields == their_state._fields


def arbitrary(seed: int, size: int, count: int) -> list[Any]:
    """Points and gradients that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return [({"x": x}, {"x": g}) for x, g in rng.normal(size=(count, 2, size))]


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_the_product_descends_whatever_the_curvature(
    seed: int, size: int, memory_size: int, scaled: bool
) -> None:
    transformation = scale_by_lbfgs(memory_size, scaled)
    pairs = arbitrary(seed, size, 12)
    state = transformation.init(pairs[0][0])
    for (before, old), (params, grads) in zip([*pairs[:1], *pairs], pairs, strict=False):
        updates, state = transformation.update(grads, state, params)
        assert np.dot(updates["x"], grads["x"]) > 0
        s, y = params["x"] - before["x"], grads["x"] - old["x"]
        row = (int(state.count) - 2) % memory_size
        if s @ y > 0:
            assert state.weights_memory[row] == 1 / (s @ y)
        else:
            assert state.weights_memory[row] == 0


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_the_product_is_that_of_the_matrix(
    seed: int, size: int, memory_size: int, scaled: bool
) -> None:
    """H written out, from the pairs of positive curvature alone."""
    rng = np.random.default_rng(seed)
    a = np.diag(np.geomspace(1, 10, size))
    transformation = scale_by_lbfgs(memory_size, scaled)
    x, g = np.zeros(size), rng.normal(size=size)
    state = transformation.init({"x": x})
    pairs: list[Any] = []
    for _ in range(12):
        updates, state = transformation.update({"x": g}, state, {"x": x})
        kept = [(s, y) for s, y in pairs[-memory_size:] if s @ y > 0]
        h = np.eye(size)
        if scaled and kept:
            s, y = kept[-1]
            h *= (s @ y) / (y @ y)
        elif scaled:
            h /= max(1.0, float(np.linalg.norm(g)))
        for s, y in kept:
            rho = 1 / (s @ y)
            v = np.eye(size) - rho * np.outer(y, s)
            h = v.T @ h @ v + rho * np.outer(s, s)
        np.testing.assert_allclose(updates["x"], h @ g, rtol=0, atol=1e-12 * np.abs(h).sum())
        if kept:
            s, y = kept[-1]
            np.testing.assert_allclose(h @ y, s, rtol=0, atol=1e-12 * np.abs(h).sum() * 10)
        s = rng.normal(size=size)
        y = rng.choice([1, 1, -1]) * (a @ s)
        pairs.append((s, y))
        x, g = x + s, g + y


@pytest.mark.parametrize(
    ("s", "y", "weight"),
    [
        ([1.0, 0.0], [1e-17, 1.0], 0.0),
        ([1.0, 0.0], [1e-12, 1.0], 1e12),
        ([1e-155, 0.0], [1e-155, 0.0], 0.0),  # 1/⟨s, y⟩ overflows
    ],
)
def test_a_curvature_that_is_rounding_does_not_count(s: Any, y: Any, weight: float) -> None:
    transformation = scale_by_lbfgs(1)
    zeros = {"x": np.zeros(2)}
    _, state = transformation.update(zeros, transformation.init(zeros), zeros)
    _, state = transformation.update({"x": np.array(y)}, state, {"x": np.array(s)})
    np.testing.assert_allclose(state.weights_memory, weight, rtol=1e-15)


def test_a_state_keeps_its_own_arrays() -> None:
    transformation = scale_by_lbfgs()
    params, grads = {"x": np.ones(2)}, {"x": np.ones(2)}
    _, state = transformation.update(grads, transformation.init(params), params)
    params["x"][:], grads["x"][:] = 2, 3
    assert (state.params["x"] == 1).all()
    assert (state.updates["x"] == 1).all()


def test_long_leaves_are_summed_whole() -> None:
    """H·y = s for the newest pair, over more entries than one block has."""
    rng = np.random.default_rng(0)
    s, transformation = {"x": rng.normal(size=20_000)}, scale_by_lbfgs()
    y = {"x": s["x"] * rng.uniform(1, 3, 20_000)}
    zeros = tree.zeros_like(s)
    _, state = transformation.update(zeros, transformation.init(s), zeros)
    updates, _ = transformation.update(y, state, s)
    assert_close(updates, s, 1e-12)
