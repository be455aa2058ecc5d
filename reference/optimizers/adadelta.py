"""Adadelta with ε outside the roots."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def adadelta(learning_rate: float, rho: float, eps: float) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.EmptyState(), optax.ScaleByAdaDeltaState(zeros, zeros), optax.EmptyState()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        def average(old: Any, new: Any) -> Any:
            return jax.tree.map(lambda x, y: rho * x + (1 - rho) * y**2, old, new)

        e_g = average(state[1].e_g, grads)
        steps = jax.tree.map(
            lambda g, a, d: (jnp.sqrt(d) + eps) / (jnp.sqrt(a) + eps) * g, grads, e_g, state[1].e_x
        )
        after = optax.ScaleByAdaDeltaState(e_g, average(state[1].e_x, steps))
        updates = jax.tree.map(lambda step: -learning_rate * step, steps)
        return updates, (state[0], after, state[2])

    return optax.GradientTransformation(init, update)
