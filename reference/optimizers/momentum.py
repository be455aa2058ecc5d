"""Momentum as a sum of steps, in which the rate is already."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def sutskever(
    learning_rate: Any, momentum: Any, nesterov: bool = False
) -> optax.GradientTransformation:
    """v ← μv − ηg; p ← p + v, or p ← p + μv − ηg, as in Keras and in Sutskever et al. 2013."""

    def init(params: Any) -> Any:
        return optax.EmptyState(), optax.TraceState(jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        v = jax.tree.map(lambda v, g: momentum * v - learning_rate * g, state[1].trace, grads)
        step = jax.tree.map(lambda v, g: momentum * v - learning_rate * g, v, grads)
        return step if nesterov else v, (state[0], optax.TraceState(v))

    return optax.GradientTransformation(init, update)
