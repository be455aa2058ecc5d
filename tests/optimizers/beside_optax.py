"""Fifty steps beside optax, compiled, from trees and hyperparameters that Hypothesis draws."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np
import optax
import pytest
from jaxtyping import config

from purenn import tree
from purenn.optimizers import GradientTransformation

STEPS = 50

SHAPES: Any = {
    "a": {"kernel": (3, 2), "bias": (2,)},
    "b": {"scale": (), "kernel": (2, 1, 2)},
    "empty": {"bias": (0,)},
}


def draw_trees(seed: int, dtype: Any, count: int, *, signed: bool) -> Any:
    """A tree of arrays with a first axis of ``count``, over four orders of magnitude.

    Unless ``signed``, an entry has one sign in all of them. So nothing cancels, and results can be
    compared relative to themselves.
    """
    rng = np.random.default_rng(seed)

    def leaf(shape: Any) -> Any:
        signs = rng.choice([-1, 1], (count, *shape) if signed else shape)
        return (signs * 10.0 ** rng.uniform(-2, 2, (count, *shape))).astype(dtype)

    return {layer: {name: leaf(s) for name, s in its.items()} for layer, its in SHAPES.items()}


def taken(stacked: Any, i: int) -> Any:
    """The i-th of the trees, read-only."""

    def leaf(values: Any) -> Any:
        value = values[i, ...]
        value.setflags(write=False)
        return value

    return tree.map(leaf, stacked)


@cache
def compiled(make: Callable[..., Any], names: tuple[str, ...], static: Any) -> Any:
    """All steps of optax in one program, for any values of the hyperparameters that are named."""

    @jax.jit
    def run(values: Any, params: Any, every_grads: Any) -> Any:
        optimizer = make(**dict(zip(names, values, strict=True)), **dict(static))

        def step(carry: Any, grads: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), (updates, state, params)

        return jax.lax.scan(step, (params, optimizer.init(params)), every_grads)[1]

    return run


@cache
def bound(make: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """``make`` with its first arguments: the same function for the same, to be compiled once."""
    return partial(make, *arguments)


def assert_agrees(
    ours: Callable[..., GradientTransformation],
    theirs: Callable[..., Any],
    hyperparams: dict[str, float],
    seed: int,
    dtype: Any = np.float64,
    rtol: float | None = None,
    *,
    signed: bool = False,
    static: dict[str, Any] | None = None,
    ours_static: dict[str, Any] | None = None,
    tiny: float = 0.0,
) -> None:
    """Take the same steps with both, and compare updates, states and parameters after each.

    Args:
        ours: Makes our transformation.
        theirs: Makes optax's, or that of a reference with the same contract.
        hyperparams: Numbers for both, by name.
        seed: Of the trees.
        dtype: Of the trees.
        rtol: What may differ, relative to each entry, or where entries cancel (parameters; all
            where ``signed``) to the largest that the leaf had so far; 1e-12 in float64 and
            rounding of some operations in float32.
        signed: Whether gradients change their signs.
        static: What else both are made with, and optax' program is compiled for.
        ours_static: The same for ours, where it is said otherwise there.
        tiny: What may differ in any case.
    """
    if rtol is None:
        rtol = 1e-12 if dtype == np.float64 else 64 * float(np.finfo(dtype).eps)
    static = static or {}
    # Hypothesis draws dicts in any order, each of which would be a program of its own.
    hyperparams = dict(sorted(hyperparams.items()))
    params = taken(draw_trees(seed, dtype, 1, signed=signed), 0)
    every_grads = draw_trees(seed + 1, dtype, STEPS, signed=signed)
    run = compiled(theirs, (*hyperparams,), (*static.items(),))
    expected = jax.device_get(run((*hyperparams.values(),), params, every_grads))
    optimizer = ours(**hyperparams, **(static if ours_static is None else ours_static))
    state = optimizer.init(params)
    for i in range(STEPS):
        with pytest.MonkeyPatch.context() as patch:
            # Annotations that hold in the first step hold in all, and enforcing them takes longer.
            patch.setattr(config, "jaxtyping_disable", i > 0)
            updates, state = optimizer.update(taken(every_grads, i), state, params)
            params = tree.map(lambda p, u: np.asarray(p + u), params, updates)
        for got, theirs_, what in zip(
            (updates, state, params), expected, ("update", "state", "params"), strict=True
        ):
            ours_is, theirs_is = (jax.tree.structure(_plain(x)) for x in (got, theirs_))
            assert bool(ours_is == theirs_is), what  # type: ignore[operator]
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(theirs_), strict=True):
                assert isinstance(a, np.ndarray), what
                assert (a.shape, a.dtype) == (b[i].shape, b.dtype), what
                cancels = signed or what == "params"
                scale = np.max(np.abs(b[: i + 1]), initial=0.0) if cancels else np.abs(b[i])
                assert np.all((np.abs(1 * a - b[i]) <= rtol * scale + tiny) | (a == b[i])), (
                    f"{what} after step {i + 1}: got {a}, expected {b[i]}"
                )


def _plain(state: Any) -> Any:
    """The same tree of tuples with the names of its types, whosoever's they are."""
    if isinstance(state, tuple) and hasattr(state, "_asdict"):
        return {type(state).__name__: {k: _plain(v) for k, v in state._asdict().items()}}
    if isinstance(state, tuple | list):
        return [_plain(child) for child in state]
    if isinstance(state, dict):
        plain = {key: _plain(child) for key, child in state.items()}
        # What is left alone as a whole, optax replaces as a whole.
        alone = all(isinstance(x, dict) and "MaskedNode" in x for x in plain.values())
        return {"MaskedNode": {}} if plain and alone else plain
    return state
