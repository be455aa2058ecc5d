"""AdaMax with ε beside the norm, as in Keras."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_adamax(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = state.count + 1
        m = jax.tree.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mu)
        u = jax.tree.map(lambda g, u: jnp.maximum(b2 * u, jnp.abs(g)), grads, state.nu)

        def step(m: jax.Array, u: jax.Array) -> Any:
            return m / ((1 - b1**t).astype(m.dtype) * (u + eps))

        return jax.tree.map(step, m, u), optax.ScaleByAdamState(t, m, u)

    return optax.GradientTransformation(init, update)
