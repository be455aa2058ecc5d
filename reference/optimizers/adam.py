"""Adam with ε added before the correction, as Keras has it (ε̂ of the paper's section 2)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def keras(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    init = optax.adam(learning_rate).init

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        t = state[0].count + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state[0].mu, grads)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state[0].nu, grads)
        rate = learning_rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)
        updates = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + eps), m, v)
        return updates, (optax.ScaleByAdamState(t, m, v), state[1])

    return optax.GradientTransformation(init, update)
