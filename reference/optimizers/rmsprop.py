"""Centered RMSProp as in PyTorch: ε outside the root, and the rate outside of the momentum."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def rmsprop(
    learning_rate: float, decay: float, eps: float, momentum: float
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByRStdDevState(zeros, zeros), optax.TraceState(zeros), optax.EmptyState()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        averages, buffers, empty = state
        mean = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, averages.mu, grads)
        square = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g**2, averages.nu, grads)
        buffer = jax.tree.map(
            lambda b, g, v, m: momentum * b + g / (jnp.sqrt(v - m**2) + eps),
            buffers.trace, grads, square, mean,
        )  # fmt: skip
        updates = jax.tree.map(lambda b: -learning_rate * b, buffer)
        return updates, (
            optax.ScaleByRStdDevState(mean, square), optax.TraceState(buffer), empty
        )  # fmt: skip

    return optax.GradientTransformation(init, update)
