"""Objectives to be minimized, as ``params -> (value, grads)``, and trees of numbers."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np

from purenn import layers, random, regularizers, training, tree
from purenn.ops import losses

ValueAndGrad = Callable[[Any], tuple[Any, Any]]

SEEDS = st.integers(0, 2**32)


def frozen(x: Any) -> Any:
    """Read-only leaves: what writes to them fails."""
    for leaf in tree.leaves(x):
        leaf.setflags(write=False)
    return x


def bits(x: Any) -> list[Any]:
    """Paths, dtypes and bytes of all leaves."""
    return [(path, leaf.dtype, leaf.tobytes()) for path, leaf in tree.leaves_with_paths(x)]


def draw_tree(rng: Any, shapes: Any, dtype: Any = np.float64) -> Any:
    return {
        step: draw_tree(rng, its, dtype)
        if isinstance(its, dict)
        else np.asarray(rng.normal(size=its), dtype)
        for step, its in shapes.items()
    }


def convex(rng: Any, like: Any) -> ValueAndGrad:
    """½⟨x, A·x⟩ + Σlog cosh(x − c) over all leaves, with A's eigenvalues from 1 to 10."""
    x0, unravel = tree.ravel(like)
    q = np.linalg.qr(rng.normal(size=(x0.size, x0.size)))[0]
    a, c = q @ np.diag(np.geomspace(1, 10, x0.size)) @ q.T, rng.normal(size=x0.size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        x = tree.ravel(params)[0]
        grads = a @ x + np.tanh(x - c)
        return 0.5 * x @ a @ x + np.sum(np.log(np.cosh(x - c))), unravel(grads)

    return value_and_grad


def assert_close(got: Any, expected: Any, rtol: float) -> None:
    """Relative to the largest entry of the leaf, for entries that are differences."""
    tree.check_like("expected", jax.tree.map(np.asarray, expected), got)
    for (path, x), y in zip(tree.leaves_with_paths(got), jax.tree.leaves(expected), strict=True):
        atol = rtol * float(np.max(np.abs(y), initial=0))
        np.testing.assert_allclose(x, y, rtol=0, atol=atol, err_msg=tree.show(path))


def rosenbrock(size: int, seed: int) -> tuple[ValueAndGrad, Any]:
    start = np.resize([-1.2, 1.0], size) + 0.1 * np.random.default_rng(seed).normal(size=size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        x, y = params["x"][:-1], params["x"][1:]
        grads = np.zeros(size)
        grads[:-1] = -400 * x * (y - x * x) - 2 * (1 - x)
        grads[1:] += 200 * (y - x * x)
        return np.sum(100 * (y - x * x) ** 2 + (1 - x) ** 2), {"x": grads}

    return value_and_grad, {"x": start}


def quadratic(size: int, seed: int) -> tuple[ValueAndGrad, Any]:
    """½(x − c)ᵀA(x − c) + 1, condition 1e4."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(size, size)))[0]
    a, c = q @ np.diag(np.geomspace(1e-2, 1e2, size)) @ q.T, rng.normal(size=size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        grads = a @ (params["x"] - c)
        return 1 + 0.5 * (params["x"] - c) @ grads, {"x": grads}

    return value_and_grad, {"x": np.zeros(size)}


def classifier(hidden: int, seed: int, dtype: Any = np.float64) -> tuple[ValueAndGrad, Any]:
    """Softmax regression, or with tanh units before it, on 60 points."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 4)).astype(dtype)
    labels = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))).argmax(1)
    parts = {"hidden": layers.dense(hidden), "act": layers.tanh} if hidden else {}
    model = layers.serial(**parts, out=layers.dense(3))
    objective = training.objective(
        model, losses.softmax_cross_entropy_with_integer_labels, regularizers.l2(1e-2)
    )
    params, state, _ = model.init(random.key(seed % 2**31), (4,), dtype)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        (value, _), grads = objective.value_and_grad(params, state, (x, labels))
        return value, grads

    return value_and_grad, params
