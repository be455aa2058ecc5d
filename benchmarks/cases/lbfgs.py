"""A step of L-BFGS with its line search, which asks for the objective, beside optax."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import on_jax
from benchmarks.cases.optimizers import SOME, draw
from benchmarks.turns import Rivals, Run
from purenn import optimizers, tree

_STEPS = 12  # until all ten pairs are remembered


def rivals(widths: tuple[int, ...]) -> Rivals:
    """The same step again and again, with all pairs remembered.

    The objective is Σ w·√(1 + p²) with w from 0.01 to 1: far enough from its minimum after so many
    steps.
    """
    params, _ = draw(widths)
    weights = tree.map(
        lambda p: np.geomspace(1e-2, 1, p.size, dtype=p.dtype).reshape(p.shape), params
    )
    return {
        "purenn": lambda: _ours(params, weights),
        **on_jax.rivals(partial(_jitted, params, weights)),
    }


def _ours(params: Any, weights: Any) -> Run:
    def value_and_grad(params: Any) -> Any:
        roots = tree.map(lambda p: np.sqrt(1 + p * p), params)
        value = sum(float(x.sum()) for x in tree.leaves(tree.map(np.multiply, weights, roots)))
        return value, tree.map(lambda w, p, root: w * p / root, weights, params, roots)

    optimizer = optimizers.lbfgs()

    def step(params: Any, state: Any) -> tuple[Any, Any]:
        value, grads = value_and_grad(params)
        more = {"value": value, "value_and_grad_fn": value_and_grad}
        return optimizers.apply_gradients(optimizer, grads, state, params, **more)

    now = params, optimizer.init(params)
    for _ in range(_STEPS):
        now = step(*now)
    return lambda: step(*now)


def _jitted(params: Any, weights: Any, device: Any) -> Run:
    import jax
    import optax

    weights = on_jax.put(weights, device)

    def value(params: Any) -> Any:
        terms = jax.tree.map(lambda w, p: w * jax.numpy.sqrt(1 + p * p), weights, params)
        return sum(its.sum() for its in jax.tree.leaves(terms))

    optimizer = optax.lbfgs()

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        its, grads = jax.value_and_grad(value)(params)
        updates, state = optimizer.update(
            grads, state, params, value=its, grad=grads, value_fn=value
        )
        return optax.apply_updates(params, updates), state

    now = on_jax.put((params, optimizer.init(params)), device)
    for _ in range(_STEPS):
        now = step(*now)
    return lambda: jax.block_until_ready(step(*now))


CASES = {"101,770 parameters": partial(rivals, SOME)}
