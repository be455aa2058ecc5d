"""Adagrad with ε outside the root (Duchi, Hazan & Singer, figure 1; PyTorch)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def adagrad(
    learning_rate: float, initial_accumulator_value: float, eps: float
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        start = jax.tree.map(lambda p: jnp.full_like(p, initial_accumulator_value), params)
        return optax.ScaleByRssState(start), optax.EmptyState()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        total = jax.tree.map(lambda a, g: a + g**2, state[0].sum_of_squares, grads)
        updates = jax.tree.map(lambda g, a: -learning_rate * g / (jnp.sqrt(a) + eps), grads, total)
        return updates, (optax.ScaleByRssState(total), optax.EmptyState())

    return optax.GradientTransformation(init, update)
